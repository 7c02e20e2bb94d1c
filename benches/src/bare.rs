//! Bare tokio: what one writes without a supervisor. Its driver is the task that is measured;
//! there are no names, no limits, no reports, no timeouts.

mod dynamic;
mod list;

pub use dynamic::Dynamic;
pub use list::List;

use tokio::{
    sync::oneshot,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::child::{self, BoxError, How, Role};

type Result = std::result::Result<(), BoxError>;

/// Spawns a child with a `CancellationToken` and an acknowledgement by `oneshot`; completes when it
/// is ready.
async fn start_child(tasks: &mut JoinSet<Result>, role: Role) -> (Id, CancellationToken) {
    let (ack, acked) = oneshot::channel();
    let stop = CancellationToken::new();
    let task = match role {
        Role::Idle => tasks.spawn(idle(ack, stop.clone())),
        Role::Crash(how) => tasks.spawn(crash(ack, how)),
        Role::Bomb => tasks.spawn(bomb(ack, stop.clone())),
        Role::Last => tasks.spawn(last(ack, stop.clone())),
    };
    acked.await.expect("every child says that it is ready");
    (task.id(), stop)
}

/// The task that ended next, whichever way.
async fn ended(tasks: &mut JoinSet<Result>) -> Option<Id> {
    match tasks.join_next_with_id().await? {
        Ok((id, _)) => Some(id),
        Err(error) => Some(error.id()),
    }
}

async fn idle(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    stop.cancelled().await;
    Ok(())
}

async fn crash(ack: oneshot::Sender<()>, how: How) -> Result {
    _ = ack.send(());
    child::crash(how).await
}

async fn bomb(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    child::bomb(stop.cancelled()).await
}

async fn last(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    child::last(stop.cancelled()).await
}
