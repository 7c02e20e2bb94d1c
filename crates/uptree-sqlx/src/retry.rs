//! Connecting until the database answers.

use std::{fmt, future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use uptree_app::Starting;

use crate::{ConnectError, error::Chain};

/// How long the first attempt may take: a packet that is dropped in silence must not take the whole
/// start. Each that is not answered in time gives the next one twice as long, up to [`LONGEST`]: where
/// a herd has more to ask than the server can answer, those who leave after 5 s ask again and again,
/// and it answers only those who have left.
const ATTEMPT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

/// How long a child that is restarted tries. While it starts, its supervisor can restart nobody
/// else: to fail hands the wait to the supervisor, which spaces its attempts. At boot there is
/// nobody else, and only the start timeout counts.
const PATIENCE_AT_RESTART: Duration = Duration::from_secs(5);

/// A connection, and what it took to get it.
pub(crate) struct Connected<C> {
    pub(crate) connection: C,
    /// Whether the server had no room for one more on the way.
    pub(crate) crowded: bool,
}

/// Makes attempts until one succeeds, fails for good, or the start is called off.
///
/// Each that fails is told to the supervisor, which ends the start at its timeout with the last of
/// them as the cause.
pub(crate) async fn connect<C, F>(
    cx: &Starting,
    target: &impl fmt::Display,
    attempt: impl Fn() -> F,
) -> Result<Connected<C>, ConnectError>
where
    F: Future<Output = Result<C, ConnectError>>,
{
    let since = Instant::now();
    // A start that may take less than an attempt should still end by saying what was attempted.
    let most = match cx.deadline() {
        Some(deadline) => LONGEST.min((deadline - since).mul_f64(0.9)),
        None => LONGEST,
    };
    let mut limit = ATTEMPT.min(most);
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut reminder = Reminder::new();
    let mut crowded = false;
    for number in 1_u64.. {
        let outcome = tokio::select! {
            () = cx.cancelled() => return Err(ConnectError::Cancelled),
            outcome = timeout(limit, attempt()) => outcome,
        };
        let error = match outcome {
            Ok(Ok(connection)) => {
                if number > 1 {
                    cx.step("connect");
                    tracing::info!(attempts = number, "connected to {target}");
                }
                return Ok(Connected {
                    connection,
                    crowded,
                });
            }
            Ok(Err(error)) => error,
            Err(_) => {
                let what = format!("cannot connect to {target}");
                let error = ConnectError::TimedOut { what, limit };
                limit = most.min(limit * 2);
                error
            }
        };
        crowded |= error.is_crowded();
        let patient = cx.incarnation() == 0 || since.elapsed() < PATIENCE_AT_RESTART;
        if !error.may_pass() || !patient {
            return Err(error);
        }
        if reminder.is_due() {
            tracing::warn!(attempts = number, "{}; trying again", Chain(&error));
        }
        cx.attempt_failed(error.with_help());
        cx.waiting("the database");
        backoff.wait(cx).await;
    }
    unreachable!("the numbers do not run out")
}

/// Pauses that grow, with jitter: those who were refused together do not come back together.
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    last: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            next: first,
            last,
        }
    }

    /// Begins with short pauses again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits; not at all once the start is called off.
    pub(crate) async fn wait(&mut self, cx: &Starting) {
        // From next to nothing: those who come at once leave at once, and must not come at once again.
        let pause = self.next.mul_f64(0.1 + 0.9 * fastrand::f64());
        self.next = self.last.min(self.next * 2);
        tokio::select! {
            () = cx.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

/// When to log what goes on: at once, then at growing intervals.
pub(crate) struct Reminder {
    next: Option<Instant>,
    interval: Duration,
}

impl Reminder {
    const LONGEST: Duration = Duration::from_secs(60);

    pub(crate) fn new() -> Self {
        Self {
            next: None,
            interval: Duration::from_secs(1),
        }
    }

    /// Whether [`is_due`](Self::is_due) would say so.
    pub(crate) fn would_be_due(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    pub(crate) fn is_due(&mut self) -> bool {
        if !self.would_be_due() {
            return false;
        }
        self.next = Some(Instant::now() + self.interval);
        self.interval = Self::LONGEST.min(self.interval * 2);
        true
    }
}
