//! What a tree tells of itself while it runs.

use std::{error::Error, fmt, time::Duration};

use crate::{
    ExitReason, Options,
    incarnation::{Incarnation, StopCause},
};

/// Something that happened to a child.
#[derive(Debug)]
pub struct Event<'a> {
    pub(crate) life: &'a Incarnation,
    /// What.
    pub kind: EventKind<'a>,
}

impl Event<'_> {
    /// The child's place in the tree, such as `service/repo`. Put together when it is shown.
    pub fn path(&self) -> impl fmt::Display + '_ {
        self.life.path()
    }

    /// The child's own part of the path.
    pub fn id(&self) -> &str {
        self.life.id()
    }

    /// How often the child had been started before.
    pub fn incarnation(&self) -> u64 {
        self.life.restarts().into()
    }

    /// How it is supervised.
    pub fn options(&self) -> &Options {
        self.life.options()
    }

    /// Whether it was started by a call, or is one of many alike: below a supervisor whose
    /// children have no order.
    pub fn is_dynamic(&self) -> bool {
        !self.life.scope().ordered
    }

    /// Whether it is the root of its tree.
    pub fn is_root(&self) -> bool {
        self.life.is_root()
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// Its start begins.
    Starting,
    /// Its start goes on to this step.
    Step(&'a str),
    /// Its start waits for this.
    Waiting(&'a str),
    /// Its start makes progress.
    Progress {
        /// So much is done,
        done: u64,
        /// of so much,
        total: u64,
        /// and this is worked on.
        what: &'a str,
    },
    /// An attempt failed and will be made again.
    AttemptFailed(&'a (dyn Error + 'static)),
    /// It is ready.
    Ready {
        /// How long its start took.
        took: Duration,
    },
    /// Its start did all its work; nothing is left to supervise.
    Ignored {
        /// How long its start took.
        took: Duration,
    },
    /// Its start failed: OTP's `start_error`.
    StartFailed(&'a ExitReason),
    /// It ended by itself: OTP's `child_terminated`.
    Terminated(&'a ExitReason),
    /// It ended by itself, and stays down.
    LeftDown(&'a ExitReason),
    /// It and those who share its fate are restarted.
    Restarting {
        /// How many more restarts its supervisor allows now.
        left: usize,
    },
    /// Its restart waits so long first.
    BackingOff {
        /// How long, with its jitter.
        delay: Duration,
    },
    /// It is significant, and its end ends its supervisor.
    AutoShutdown,
    /// Its restart is one more than its supervisor allows: OTP's `reached_max_restart_intensity`.
    MaxIntensity,
    /// This supervisor begins to end, though nobody asked it to.
    Ending,
    /// It is asked to stop, or its start is called off, or it is killed as its spec says.
    Stopping(StopCause),
    /// Its time to stop, or to start, is over: it is killed.
    Killing {
        /// The time was less than its own, because the whole stop had too little.
        shortened: bool,
    },
    /// It is gone, as it was asked.
    Stopped {
        /// How it ended.
        reason: &'a ExitReason,
        /// How long that took.
        took: Duration,
    },
    /// It did not answer its stop as it should have: OTP's `shutdown_error`.
    ShutdownError(&'a ExitReason),
    /// It was killed and is still there.
    Stuck {
        /// How long it was waited for.
        after: Duration,
    },
    /// Its supervisor knows it no more: it was deleted, or ended for good where that forgets it, or
    /// was added by a call to a supervisor that is gone.
    Forgotten,
}

/// Whoever wants to know: one for each tree, told of every event in order, for each child.
///
/// It is called where the event happens, in part under a lock of the child's, so it must be quick,
/// must not block, and must not take a [`Snapshot`](crate::Snapshot).
pub trait Observer: Send + Sync + 'static {
    /// Takes note of `event`.
    fn observe(&self, event: &Event<'_>);
}

/// The observer that logs, with `tracing`: reports as warnings and errors, the rest as info and
/// debug. The field `child` has the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        use tracing::{debug, error, info, warn};
        macro_rules! log {
            ($level:ident, $($rest:tt)*) => { $level!(child = %event.path(), $($rest)*) };
        }
        match &event.kind {
            EventKind::Starting => log!(debug, incarnation = event.incarnation(), "starting"),
            EventKind::Step(step) => log!(debug, "{step}"),
            EventKind::Waiting(what) => log!(debug, "waits for {what}"),
            EventKind::Progress { done, total, what } => log!(info, done, total, "{what}"),
            EventKind::AttemptFailed(error) => log!(debug, %error, "attempt failed"),
            EventKind::Ready { took } => log!(info, took = ?took, "ready"),
            EventKind::Ignored { took } => log!(info, took = ?took, "done"),
            EventKind::StartFailed(reason) => log!(error, %reason, "start failed"),
            EventKind::Terminated(reason) => log!(error, %reason, "terminated"),
            EventKind::LeftDown(reason) => log!(info, %reason, "ended, and stays down"),
            EventKind::Restarting { left } => log!(warn, restarts_left = left, "restarting"),
            EventKind::BackingOff { delay } => log!(info, delay = ?delay, "waits to be restarted"),
            EventKind::AutoShutdown => log!(info, "significant: its supervisor ends with it"),
            EventKind::MaxIntensity => log!(error, "failed too often: its supervisor gives up"),
            EventKind::Ending => log!(warn, "ending"),
            EventKind::Stopping(cause) => log!(debug, ?cause, "stopping"),
            EventKind::Killing { shortened: false } => log!(warn, "out of time: killed"),
            EventKind::Killing { shortened: true } => {
                log!(warn, "the stop budget leaves it no more time: killed");
            }
            EventKind::Stopped { reason, took } => match reason {
                ExitReason::Shutdown => log!(info, took = ?took, "stopped"),
                reason => log!(info, %reason, took = ?took, "stopped"),
            },
            EventKind::ShutdownError(reason) => log!(error, %reason, "did not stop in order"),
            EventKind::Stuck { after } => log!(
                error,
                "still running {after:?} after it was killed: does it block without awaiting?"
            ),
            EventKind::Forgotten => log!(debug, "forgotten"),
        }
    }
}
