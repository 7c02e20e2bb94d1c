//! What a tree tells of itself while it runs.

use std::{any::Any, error::Error, fmt, sync::OnceLock, time::Duration};

use uptree_core::{ChildType, Index};

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

    /// Whether it is a worker or a supervisor.
    pub fn child_type(&self) -> ChildType {
        self.life.spec().child_type()
    }

    /// Whether it, or a supervisor above it, was started by a call, or is one of many alike: below
    /// a supervisor whose children have no order.
    pub fn is_dynamic(&self) -> bool {
        self.life.is_dynamic()
    }

    /// When it happened, counted from when the tree began: the clock is read.
    pub fn at(&self) -> Duration {
        self.life.scope().now()
    }

    /// The child's place among those that its supervisor began with; a child that was added later
    /// has one after them, or that of one that was deleted.
    pub fn position(&self) -> Index {
        self.life.key().child
    }

    /// Whether the child has ever been ready in this incarnation.
    pub fn was_ready(&self) -> bool {
        self.life.is_ready()
    }

    /// Something of the observer's for the supervisor whose child this is, for as long as this
    /// incarnation of the supervisor lasts.
    pub fn kept(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.life.scope().kept
    }

    /// The place in the tree of the nearest supervisor above it that is not dynamic itself.
    pub fn counted_under(&self) -> impl fmt::Display + '_ {
        let mut owner = self.life.scope().owner.as_deref();
        while let Some(above) = owner.filter(|above| above.is_dynamic()) {
            owner = above.scope().owner.as_deref();
        }
        owner.unwrap_or(self.life).path()
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
    /// It is gone, whether it was asked to go or not, and its work was not done. What its
    /// supervisor makes of that is told next; if another child is starting, once that is over.
    Gone {
        /// Its restart type is to start it again after such an end.
        again: bool,
    },
    /// It ended by itself: OTP's `child_terminated`. One of the next three follows at once.
    Terminated(&'a ExitReason),
    /// It ended by itself, and stays down.
    LeftDown(&'a ExitReason),
    /// It and those who share its fate are restarted.
    Restarting {
        /// How it ended; `None` if what failed is its start.
        reason: Option<&'a ExitReason>,
        /// How many more restarts its supervisor allows now.
        left: usize,
        /// How long its restart waits first, with its jitter. If others are to stop before,
        /// [`BackingOff`](Self::BackingOff) tells it later.
        delay: Option<Duration>,
    },
    /// Its restart is one more than its supervisor allows: OTP's `reached_max_restart_intensity`.
    MaxIntensity {
        /// How it ended; `None` if what failed is its start.
        reason: Option<&'a ExitReason>,
    },
    /// The others are down, and its restart waits so long.
    BackingOff {
        /// How long, with its jitter.
        delay: Duration,
    },
    /// It is significant, and its end ends its supervisor.
    AutoShutdown,
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
/// It is called where the event happens, so it must be quick, must not block, and must not take a
/// [`Snapshot`](crate::Snapshot).
pub trait Observer: Send + Sync + 'static {
    /// Takes note of `event`.
    fn observe(&self, event: &Event<'_>);
}
