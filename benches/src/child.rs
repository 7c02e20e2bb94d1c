//! What the children do once they are ready: the same for every peer.
//!
//! The children that crash take the times themselves. Nobody else has to be told that a child is
//! ready, so that a peer is not charged for an onlooker.

use std::{
    future::{pending, poll_fn},
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Instant,
};

use tokio::sync::Notify;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a child does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Waits to be stopped.
    Idle,
    /// Crashes as soon as its supervisor knows that it is ready.
    Crash(How),
    /// Crashes by an error whenever a `Last` child is ready.
    Bomb,
    /// Waits to be stopped; it is the last to be restarted when the `Bomb` crashes.
    Last,
}

/// How a child crashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// It returns an error.
    Error,
    /// It panics.
    Panic,
}

/// What a child panics with.
pub const CRASH: &str = "crash";

/// The moments at which a child crashed or was ready, in turn.
static MARKS: Mutex<Marks> = Mutex::new(Marks {
    taken: Vec::new(),
    wanted: 0,
});
/// Sets off the `Bomb`.
static SET_OFF: Notify = Notify::const_new();
/// All marks are taken.
static DONE: Notify = Notify::const_new();

struct Marks {
    taken: Vec<Instant>,
    wanted: usize,
}

/// Makes the children crash until `wanted` marks are taken.
pub(crate) fn arm(wanted: usize) {
    let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    marks.wanted = wanted;
    marks.taken = Vec::with_capacity(wanted);
}

/// Completes when all marks are taken.
pub async fn done() {
    DONE.notified().await;
}

/// The marks that were taken.
pub(crate) fn marks() -> Vec<Instant> {
    let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut marks.taken)
}

/// Makes the [`Role::Bomb`] crash.
pub fn set_off() {
    SET_OFF.notify_one();
}

/// Takes a mark; says whether more are wanted.
pub fn mark() -> bool {
    let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    marks.taken.push(Instant::now());
    let more = marks.taken.len() < marks.wanted;
    if !more {
        DONE.notify_one();
    }
    more
}

/// The rest of a [`Role::Crash`]: one mark is both the end of a restart and the next crash.
pub async fn crash(how: How) -> Result<(), BoxError> {
    requeue().await;
    if mark() {
        match how {
            How::Error => return Err(CRASH.into()),
            How::Panic => panic!("{CRASH}"),
        }
    }
    pending().await
}

/// The rest of a [`Role::Bomb`].
pub async fn bomb<T>(stop: impl Future<Output = T>) -> Result<(), BoxError> {
    tokio::select! {
        _ = stop => Ok(()),
        () = SET_OFF.notified() => {
            mark();
            Err(CRASH.into())
        }
    }
}

/// The rest of a [`Role::Last`].
pub async fn last<T>(stop: impl Future<Output = T>) -> Result<(), BoxError> {
    requeue().await;
    if mark() {
        set_off();
    }
    stop.await;
    Ok(())
}

/// Lets everyone run who was woken before: the supervisor, which was just told that the child is
/// ready. (`yield_now` would also look for I/O.)
async fn requeue() {
    let mut requeued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut requeued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
