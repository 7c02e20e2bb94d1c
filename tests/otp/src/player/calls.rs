//! The calls to a supervisor, and their answers in the words of the recordings.

use std::{future::Future, sync::Arc};

use serde_json::{Value, json};
use uptree_supervisor::{
    ChildSpec, ChildType, ControlError, Counts, DynamicSupervisor, Pause, Restart, Shutdown,
    Started, Status, Supervisor,
};

use super::{
    build,
    dynamic::{self, Before},
    reason,
    world::{Handle, World},
};
use crate::{
    scenario::{Call, Op},
    trace::Reason,
};

impl Handle {
    /// The supervisor takes nothing in while what is returned lives.
    pub(crate) fn pause(&self) -> Option<Pause> {
        match self {
            Self::Static(it) => it.pause(),
            Self::Dynamic(it, _) => it.pause(),
        }
    }

    /// Ends it from outside.
    pub(crate) async fn stop(&self, reason: &Reason) -> Result<(), ControlError> {
        let result = match reason {
            &Reason::NORMAL => Ok(()),
            reason => reason::result(reason),
        };
        match self {
            Self::Static(it) => it.stop(result).await,
            Self::Dynamic(it, _) => it.stop(result).await,
        }
    }
}

/// Makes a call, in a batch after what is in `before`. What is meant is looked up at once, as the
/// recorder does.
pub(crate) fn call(
    world: &Arc<World>,
    handle: &Handle,
    call: &Call,
    before: Before,
) -> impl Future<Output = Value> + Send + 'static {
    let (world, handle, call) = (world.clone(), handle.clone(), call.clone());
    let path = format!("{}/{}", call.sup, call.id());
    let meant = world.child_ref(&path);
    async move {
        let answer = match &handle {
            Handle::Static(it) => on_static(&world, it, &call).await,
            Handle::Dynamic(it, template) => match (call.op, template) {
                // Rule::OneTemplate
                (Op::RestartChild | Op::DeleteChild, Some(_)) => no_such_call(it).await,
                (Op::TerminateChild, Some(_)) if call.by.is_some() => no_such_call(it).await,
                (Op::StartChild, template) => {
                    let child = child(&world, &call, template.as_ref());
                    let started = dynamic::start_child(it, &world, child, &before).await;
                    started
                        .map(|started| keep(&world, &call, &started, template.is_some()))
                        .map_err(|error| start_error(&error, &call))
                }
                (Op::TerminateChild, template) => match meant {
                    None => Err(refused(it, "not_found").await),
                    Some(child) => match it.terminate_child(&child).await {
                        // Rule::OneTemplate
                        Err(ControlError::NotFound) if template.is_some() => Ok(json!("ok")),
                        done => done.map(|()| json!("ok")).map_err(|error| word(&error)),
                    },
                },
                (Op::WhichChildren, _) => dynamic::which_children(it, &world, &call, &before).await,
                (Op::CountChildren, template) => {
                    let counts = dynamic::count_children(it, &world, &before).await;
                    counts.map(|mut counts| {
                        if template.is_some() {
                            // Rule::OneTemplate
                            counts.specs = 1;
                        }
                        counted(&counts)
                    })
                }
                (op, _) => Err(format!("{op:?} on a dynamic supervisor").into()),
            },
        };
        answer.unwrap_or_else(|error| json!({ "error": error }))
    }
}

/// What the types do not allow: OTP refuses it.
async fn no_such_call(it: &DynamicSupervisor) -> Result<Value, Value> {
    Err(refused(it, "simple_one_for_one").await)
}

/// `why` in its turn, if there still is somebody to say so.
async fn refused(it: &DynamicSupervisor, why: &str) -> Value {
    match it.count_children().await {
        Ok(_) => why.into(),
        Err(error) => word(&error),
    }
}

async fn on_static(world: &Arc<World>, it: &Supervisor, call: &Call) -> Result<Value, Value> {
    let id = call.id();
    let done = |()| json!("ok");
    let failed = |error| start_error(&error, call);
    let refused = |error| word(&error);
    match call.op {
        Op::StartChild => {
            let started = it.start_child(child(world, call, None)).await;
            started.map(|it| answer(call, &it)).map_err(failed)
        }
        Op::RestartChild => {
            let started = it.restart_child(id).await;
            started.map(|it| answer(call, &it)).map_err(failed)
        }
        Op::TerminateChild => it.terminate_child(id).await.map(done).map_err(refused),
        Op::DeleteChild => it.delete_child(id).await.map(done).map_err(refused),
        Op::GetChildspec => {
            let spec = it.get_childspec(id).await;
            spec.map(|spec| json!({ "ok": described(&spec) }))
                .map_err(refused)
        }
        Op::WhichChildren => {
            let children = it.which_children().await.map_err(refused)?;
            let children = children
                .iter()
                .map(|it| json!([it.id(), status_word(it.status()), kind(it.child_type())]));
            Ok(children.collect())
        }
        Op::CountChildren => it
            .count_children()
            .await
            .map(|it| counted(&it))
            .map_err(refused),
    }
}

fn child(
    world: &Arc<World>,
    call: &Call,
    template: Option<&crate::scenario::Options>,
) -> ChildSpec {
    let node = call
        .child
        .as_ref()
        .expect("a child is started with its spec");
    build::child(world, node, template)
}

pub(super) fn child_path(call: &Call) -> String {
    let started = call.child.as_ref().map_or(call.id(), |child| child.id());
    format!("{}/{started}", call.sup)
}

fn answer(call: &Call, started: &Started) -> Value {
    if started.is_ignored() {
        return json!({ "ok": null });
    }
    let path = child_path(call);
    match started.info::<String>() {
        Some(info) => json!({ "ok": path, "info": info }),
        None => json!({ "ok": path }),
    }
}

fn keep(world: &World, call: &Call, started: &Started, simple: bool) -> Value {
    match started.child() {
        None if !simple => "ignore".into(),
        None => answer(call, started),
        Some(child) => {
            world.keep_ref(child_path(call), child.clone());
            answer(call, started)
        }
    }
}

fn start_error(error: &ControlError, call: &Call) -> Value {
    match error {
        ControlError::StartFailed { source, .. } => {
            json!({ "start": reason::of_error(&**source, &child_path(call)) })
        }
        ControlError::BadCombination => json!({ "spec": "bad_combination" }),
        error => word(error),
    }
}

pub(super) fn word(error: &ControlError) -> Value {
    match error {
        ControlError::NoProc => "noproc".into(),
        ControlError::NotFound => "not_found".into(),
        ControlError::Running => "running".into(),
        ControlError::Restarting => "restarting".into(),
        ControlError::AlreadyStarted => "already_started".into(),
        ControlError::AlreadyPresent => "already_present".into(),
        ControlError::MaxChildren => "max_children".into(),
        error => error.to_string().into(),
    }
}

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Restarting => "restarting",
        Status::Undefined => "undefined",
    }
}

pub(super) fn kind(kind: ChildType) -> &'static str {
    match kind {
        ChildType::Worker => "worker",
        ChildType::Supervisor => "supervisor",
    }
}

fn counted(counts: &Counts) -> Value {
    json!({
        "specs": counts.specs,
        "active": counts.active,
        "supervisors": counts.supervisors,
        "workers": counts.workers,
    })
}

fn described(spec: &ChildSpec) -> Value {
    let options = spec.options();
    let restart = match options.restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    };
    let shutdown = match options.shutdown {
        Shutdown::BrutalKill => json!("brutal_kill"),
        Shutdown::Timeout(limit) => json!(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        Shutdown::Infinity => json!("infinity"),
    };
    json!({
        "id": spec.id(),
        "restart": restart,
        "shutdown": shutdown,
        "type": kind(spec.child_type()),
        "significant": options.significant,
    })
}
