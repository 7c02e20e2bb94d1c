//! Calls from outside.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    super::Answer,
    actor,
    case::{Deed, Ending},
    world::{Either, Handle, World},
};
use crate::{Started, Stopper};

/// Does one after the other, and waits for no answer; completes with the last one's.
pub(super) async fn all(deeds: Vec<(u8, Deed)>, world: World, stopper: Stopper) {
    let mut calls = Vec::new();
    for (after, deed) in deeds {
        sleep(Duration::from_millis(after.into())).await;
        world.note(&format!("< {}", name(&deed)));
        let (world, stopper) = (world.clone(), stopper.clone());
        calls.push(tokio::spawn(
            async move { begin(deed, &world, &stopper).await },
        ));
    }
    for call in calls {
        _ = call.await;
    }
}

fn name(deed: &Deed) -> String {
    match deed {
        Deed::Start(to, _) => format!("start_child of {to}"),
        Deed::Abandoned(deed, after) => format!("{} for {after} ms", name(deed)),
        deed => format!("{deed:?}"),
    }
}

async fn begin(deed: Deed, world: &World, stopper: &Stopper) {
    world.call_begins();
    let answer = match deed {
        Deed::Abandoned(deed, after) => {
            let call = call(&deed, world, stopper);
            let answer = timeout(Duration::from_millis(after.into()), call).await;
            answer.unwrap_or_else(|_| "abandoned".into())
        }
        deed => call(&deed, world, stopper).await,
    };
    world.call_ends(&answer);
}

async fn call(deed: &Deed, world: &World, stopper: &Stopper) -> String {
    let (&Deed::Start(to, _)
    | &Deed::Terminate(to, _)
    | &Deed::Restart(to, _)
    | &Deed::Delete(to, _)
    | &Deed::Spec(to, _)
    | &Deed::Which(to)
    | &Deed::Count(to)
    | &Deed::Stop(to, _)
    | &Deed::Pause(to, _)) = deed
    else {
        return format!("look: {} are up", stopper.snapshot().up().len());
    };
    let handle = world.handle(to);
    let answer = match &handle.supervisor {
        Either::Ordered(_) => ordered(deed, world, &handle).await,
        Either::Dynamic(_) => dynamic(deed, world, &handle).await,
        Either::Together(group) => match deed {
            Deed::Which(_) => group.which_children().await.line(),
            _ => group.count_children().await.line(),
        },
    };
    format!("{} of {}", answer, handle.place.path)
}

async fn ordered(deed: &Deed, world: &World, handle: &Handle) -> String {
    let Either::Ordered(supervisor) = &handle.supervisor else {
        return String::new();
    };
    let id = |child| world.child_of(handle, child);
    match *deed {
        Deed::Start(_, ref node) => {
            let child = world.build(node, Some(&handle.place));
            world.may_start(&handle.place, child.id());
            format!(
                "start {}: {}",
                child.id().to_owned(),
                supervisor.start_child(child).await.line()
            )
        }
        Deed::Terminate(_, child) => {
            let id = id(child);
            format!(
                "terminate {id}: {}",
                supervisor.terminate_child(&id).await.line()
            )
        }
        Deed::Restart(_, child) => {
            let id = id(child);
            world.may_start(&handle.place, &id);
            format!(
                "restart {id}: {}",
                supervisor.restart_child(&id).await.line()
            )
        }
        Deed::Delete(_, child) => {
            let id = id(child);
            format!("delete {id}: {}", supervisor.delete_child(&id).await.line())
        }
        Deed::Spec(_, child) => supervisor.get_childspec(&id(child)).await.line(),
        Deed::Which(_) => supervisor.which_children().await.line(),
        Deed::Count(_) => supervisor.count_children().await.line(),
        Deed::Stop(_, ending) => {
            let stopped = supervisor.stop(reason(ending).await).await;
            format!("stop: {}", stopped.line())
        }
        Deed::Pause(_, long) => pause(world, supervisor.pause(), long).await,
        Deed::Look | Deed::Abandoned(..) => String::new(),
    }
}

async fn dynamic(deed: &Deed, world: &World, handle: &Handle) -> String {
    let Either::Dynamic(crew) = &handle.supervisor else {
        return String::new();
    };
    match *deed {
        Deed::Start(_, ref node) => {
            let child = world.build(node, Some(&handle.place));
            let started = crew.start_child(child.clone()).await;
            let known = started.as_ref().ok().and_then(Started::child);
            if let Some(it) = known {
                world.keep_ref(&handle.place, it.clone());
            }
            format!("start {}: {}", child.id(), started.line())
        }
        Deed::Terminate(_, child) => match world.ref_of(&handle.place, child) {
            Some(it) => format!(
                "terminate {it:?}: {}",
                crew.terminate_child(&it).await.line()
            ),
            None => "terminate nobody".into(),
        },
        Deed::Restart(..) | Deed::Delete(..) | Deed::Spec(..) | Deed::Which(_) => {
            let children = crew.which_children().await;
            for it in children.iter().flatten() {
                world.keep_ref(&handle.place, it.child().clone());
            }
            children.line()
        }
        Deed::Count(_) => crew.count_children().await.line(),
        Deed::Stop(_, ending) => {
            let stopped = crew.stop(reason(ending).await).await;
            format!("stop: {}", stopped.line())
        }
        Deed::Pause(_, long) => pause(world, crew.pause(), long).await,
        Deed::Look | Deed::Abandoned(..) => String::new(),
    }
}

async fn pause(world: &World, pause: Option<crate::Pause>, long: u8) -> String {
    let long = Duration::from_millis(long.into());
    let paused = pause.is_some();
    if paused {
        world.pauses(long);
        sleep(long).await;
    }
    drop(pause);
    format!("pause: {paused}")
}

/// What a supervisor is to end with.
async fn reason(ending: Ending) -> crate::Result {
    match ending {
        // It can neither panic nor hang by being told to.
        Ending::Panic | Ending::Hang => Ok(()),
        ending => actor::end(ending).await,
    }
}
