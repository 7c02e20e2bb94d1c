//! What the watchdog has found, for whoever tells of it.

use std::{
    fmt,
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    guard::{Guard, Guards},
    stalls,
};
use crate::Monitor;

/// A child whose code blocks a worker thread of the runtime.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Blocked {
    /// The child, such as `service/repo`.
    pub path: String,
    /// For how long.
    pub age: Duration,
}

/// A process that does not serve, although it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// What does not work.
    pub cause: StallCause,
    /// For how long.
    pub age: Duration,
    /// Those who are known to block the runtime.
    pub blocked: Vec<Blocked>,
}

/// What does not work in a [`Stall`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StallCause {
    /// The runtime runs nothing: all its threads are blocked.
    Runtime,
    /// A server's accept loop has ended, and the server has not.
    AcceptEnded,
    /// A server cannot accept connections.
    AcceptFails,
    /// A server's accept loop is not polled, though the runtime polls others.
    AcceptSilent,
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime => "the runtime does not answer",
            Self::AcceptEnded => "the accept loop has ended",
            Self::AcceptFails => "no connection can be accepted",
            Self::AcceptSilent => "the accept loop does not answer",
        })
    }
}

impl fmt::Display for Stall {
    /// The reason in a line: what does not work, for how long, and who is to blame if that is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, for {}", self.cause, seconds(self.age))?;
        for (n, Blocked { path, age }) in self.blocked.iter().enumerate() {
            let before = if n == 0 { ": " } else { ", " };
            write!(
                f,
                "{before}{path} blocks a worker thread for {}",
                seconds(*age)
            )?;
        }
        Ok(())
    }
}

/// Shown as in `4.2 s`.
pub(crate) fn seconds(time: Duration) -> impl fmt::Display {
    struct Seconds(Duration);
    impl fmt::Display for Seconds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
    Seconds(time)
}

/// What the watchdog and whoever reads of it share.
#[derive(Default)]
pub(crate) struct Watched {
    pub(super) guards: Arc<Guards>,
    found: Mutex<Found>,
    times_blocked: AtomicU64,
    times_stalled: AtomicU64,
}

/// What is so now, each since when.
#[derive(Default)]
struct Found {
    blocked: Vec<(String, Instant)>,
    /// For how long the runtime had not answered at the last look.
    silent: Duration,
    stall: Option<(StallCause, Instant)>,
}

impl Found {
    fn blocked(&self) -> Vec<Blocked> {
        let blocked = self.blocked.iter().map(|(path, since)| Blocked {
            path: path.clone(),
            age: since.elapsed(),
        });
        blocked.collect()
    }
}

impl Watched {
    /// Says what is so now, and for how long; answers whether there is a stall that was not there
    /// before, or one has ended.
    pub(super) fn publish(
        &self,
        blocked: impl Iterator<Item = (String, Duration)>,
        found: &stalls::Found,
    ) -> bool {
        let now = Instant::now();
        let since = |age| now.checked_sub(age).unwrap_or(now);
        let blocked: Vec<_> = blocked.map(|(path, age)| (path, since(age))).collect();
        let stall = found.stall.map(|(cause, age)| (cause, since(age)));
        let mut known = self.found();
        let is_new = known.stall.map(|it| it.0) != stall.map(|it| it.0);
        *known = Found {
            blocked,
            silent: found.silent,
            stall,
        };
        if is_new && stall.is_some() {
            self.times_stalled.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    pub(super) fn count_blocked(&self) {
        self.times_blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// For how long the runtime had not answered at the last look; nothing if it had.
    pub(crate) fn silent(&self) -> Option<Duration> {
        Some(self.found().silent).filter(|silent| !silent.is_zero())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// The children whose code has been blocking a worker thread for a second or more, by a poll
    /// that does not return. Found by the watchdog of [`main`](crate::main), some of a second later;
    /// empty without it.
    pub fn blocked(&self) -> Vec<Blocked> {
        self.watched().found().blocked()
    }

    /// How often a child has blocked a worker thread for a second or more.
    pub fn times_blocked(&self) -> u64 {
        self.watched().times_blocked.load(Ordering::Relaxed)
    }

    /// Why the process does not serve, while that lasts: for longer than `STALL_LIMIT` for a runtime
    /// that does not answer. Found by the watchdog of [`main`](crate::main); `None` without it.
    pub fn stall(&self) -> Option<Stall> {
        let found = self.watched().found();
        let (cause, since) = found.stall?;
        Some(Stall {
            cause,
            age: since.elapsed(),
            blocked: found.blocked(),
        })
    }

    /// How often the process has [stalled](Self::stall).
    pub fn times_stalled(&self) -> u64 {
        self.watched().times_stalled.load(Ordering::Relaxed)
    }

    /// Has the watchdog look after a server. `listener` is a duplicate of the server's own, as
    /// [`TcpListener::try_clone`] makes it, and nonblocking as that is.
    ///
    /// Without a watchdog, which only [`main`](crate::main) has, nothing comes of it.
    pub fn guard(&self, listener: TcpListener) -> Guard {
        self.watched().guards.add(listener)
    }
}
