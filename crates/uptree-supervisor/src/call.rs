//! Calls on their way to a supervisor.

use std::sync::Arc;

use tokio::sync::oneshot;
use uptree_core::Counts;

use crate::{
    ChildInfo, ChildRef, ChildSpec, ControlError, Result, Slot, Started, incarnation::Report,
    scope::Scope, worker,
};

/// Where the answer goes. Dropped, it says that the supervisor has ended.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// Where it arrives.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, ControlError>>;

/// What a supervisor is asked to do.
pub(crate) enum Call {
    Start(ChildSpec, Reply<Started>),
    Restart(Box<str>, Reply<Started>),
    Terminate(Target, Reply<()>),
    Delete(Box<str>, Reply<()>),
    Which(Reply<Vec<ChildInfo>>),
    Count(Reply<Counts>),
    Spec(Box<str>, Reply<ChildSpec>),
    /// Stop in order, and end with this.
    Stop(Result, Reply<()>),
}

/// Which child is meant.
pub(crate) enum Target {
    Id(Box<str>),
    Child(ChildRef),
}

/// A handle's way to the incarnation of its supervisor that runs.
pub(crate) type Live = Slot<Arc<Scope>>;

/// Makes a call and waits for its answer.
pub(crate) async fn call<T>(
    live: &Live,
    call: impl FnOnce(Reply<T>) -> Call,
) -> Result<T, ControlError> {
    let Ok(scope) = live.get() else {
        return Err(ControlError::NoProc);
    };
    if let Some(error) = deadlock(&scope) {
        return Err(error);
    }
    ask(&scope, call).await
}

/// The same where a start waits for nobody else: it may call its own supervisor.
pub(crate) async fn call_any_time<T>(
    live: &Live,
    call: impl FnOnce(Reply<T>) -> Call,
) -> Result<T, ControlError> {
    let scope = live.get().map_err(|_| ControlError::NoProc)?;
    ask(&scope, call).await
}

async fn ask<T>(scope: &Scope, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, ControlError> {
    let answer = send(scope, call);
    answer.await.unwrap_or(Err(ControlError::NoProc))
}

/// Makes a call here and now; its answer can be waited for, or not. No answer says that the
/// supervisor does not run.
pub(crate) fn post<T>(live: &Live, call: impl FnOnce(Reply<T>) -> Call) -> Answer<T> {
    match live.get() {
        Ok(scope) => send(&scope, call),
        Err(_) => oneshot::channel().1,
    }
}

fn send<T>(scope: &Scope, call: impl FnOnce(Reply<T>) -> Call) -> Answer<T> {
    let (reply, answer) = oneshot::channel();
    scope.inbox.send(Report::Call(call(reply)));
    answer
}

/// Whether the caller is part of a start that the supervisor of `scope` waits for.
fn deadlock(scope: &Arc<Scope>) -> Option<ControlError> {
    let caller = worker::current_life()?;
    let mut life = Some(&caller);
    while let Some(it) = life {
        if Arc::ptr_eq(it.scope(), scope) && !it.is_ready() {
            let supervisor = scope.owner.as_ref().map(|owner| owner.path().to_string());
            return Some(ControlError::Deadlock {
                child: caller.path().to_string(),
                supervisor: supervisor.unwrap_or_default(),
            });
        }
        life = it.scope().owner.as_ref();
    }
    None
}
