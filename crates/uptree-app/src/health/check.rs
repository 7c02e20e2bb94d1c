//! Checks that a child registers, and that are run for it.

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use uptree_supervisor::{Context, ExitReason, Result};

use super::Check;
use crate::Monitor;

/// The shortest time between two runs of a check.
const SHORTEST: Duration = Duration::from_millis(10);

/// Something that a child looks at from time to time, so that whoever asks how the service is gets
/// an answer at once, and nobody's asking makes work.
///
/// It belongs to the incarnation that registers it: it is run in a task of that one, has its path
/// (`service/ingestion/queue`), and is gone when the child is asked to stop or ends. A change is
/// logged once, with the error; the error is nowhere else.
///
/// By default a check is informative: `/ready` shows that it does not pass, and is 200 all the
/// same. A [`critical`](Self::critical) one that does not pass makes the service unready, so make
/// it critical only if another replica would do better: what all of them depend on takes all of
/// them out of traffic at once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tokio::net::TcpStream;
/// use uptree_app::{App, Context, HealthCheck, Monitor, Result, worker};
///
/// async fn fetch(addr: &'static str, cx: Context) -> Result {
///     HealthCheck::new("upstream")
///         .critical()
///         .every(Duration::from_secs(5))
///         .register(&cx, move || async move {
///             TcpStream::connect(addr).await?;
///             Ok(())
///         });
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// async fn tell((): (), cx: Context) -> Result {
///     let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
///     let mut watch = monitor.watch_readiness();
///     while watch.readiness().missing.is_empty() {
///         watch.changed().await;
///     }
///     let missing = watch.readiness().missing;
///     assert_eq!(missing[0].path(), "shop/prices/upstream");
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use uptree_app::{AutoShutdown, IntoChild, Restart};
/// let app = App::new("shop")
///     .child(worker("prices", "127.0.0.1:1", fetch))
///     .child(worker("teller", (), tell).restart(Restart::Transient).significant())
///     .auto_shutdown(AutoShutdown::AnySignificant);
/// # assert_eq!(app.run_until(std::future::pending()).await.code(), 0);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is registered"]
pub struct HealthCheck {
    name: Cow<'static, str>,
    critical: bool,
    every: Duration,
    timeout: Duration,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CheckState {
    /// It has not had a result yet.
    Unknown,
    /// It returned `Ok`.
    Passing,
    /// It returned an error.
    Failing,
    /// It had no result within its time.
    TimedOut,
    /// It panicked.
    Panicked,
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
            Self::TimedOut => "timed out",
            Self::Panicked => "panicked",
        })
    }
}

impl HealthCheck {
    /// An informative check: each 10 s, with 1 s to answer.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            critical: false,
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
        }
    }

    /// Lets the service be ready only while the check passes. Defaults to not.
    ///
    /// One that is registered during boot has to pass for the service to become ready. One that is
    /// registered later, as by a child that was restarted, counts from its first result on.
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// Sets the time from the end of a run to the next. Defaults to 10 s; no less than 10 ms.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every.max(SHORTEST);
        self
    }

    /// Sets how long a run may take; then it is dropped, and counts as timed out. Defaults to 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs `check` now, and again and again until the child is asked to stop.
    ///
    /// Runs do not overlap: one that cannot be dropped, because it blocks its thread, counts as
    /// timed out until it is gone. Several checks of one name all count.
    ///
    /// Outside of an [`App`](crate::App) nobody would be told, and nothing is run.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. A panic of the check is one of its results.
    pub fn register<F, Fut>(self, cx: &Context, check: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        let Some(monitor) = cx.extension::<Monitor>() else {
            return;
        };
        let entry = self.enter(monitor, format!("{}/{}", cx.path(), self.name));
        let child = cx.clone();
        cx.spawn(async move {
            _ = child.until_shutdown(self.run(&child, &entry, check)).await;
        });
    }

    /// Enters it in the table.
    pub(super) fn enter(&self, monitor: &Monitor, path: String) -> Entry {
        let awaited = !monitor.is_booted();
        let mut key = (path, 0);
        monitor.change_health(|table| {
            table.next += 1;
            key.1 = table.next;
            let check = Check {
                critical: self.critical,
                awaited,
                state: CheckState::Unknown,
                since: Instant::now(),
            };
            table.checks.insert(key.clone(), check);
            true
        });
        Entry {
            monitor: monitor.clone(),
            key,
        }
    }

    async fn run<F, Fut>(&self, cx: &Context, entry: &Entry, mut check: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        loop {
            // In a task of its own: so its time runs also while it blocks.
            let (tell, told) = oneshot::channel();
            let (alive, gone) = oneshot::channel::<()>();
            let result = match catch_unwind(AssertUnwindSafe(&mut check)) {
                Err(panic) => {
                    drop(alive);
                    Some(Err(panicked(&*panic)))
                }
                Ok(future) => {
                    cx.spawn(async move {
                        let _alive = alive;
                        answer(future, tell).await;
                    });
                    timeout(self.timeout, told).await.map_or(None, Result::ok)
                }
            };
            self.settle(entry, result);
            _ = gone.await;
            sleep(self.every).await;
        }
    }

    /// Takes note of a result, `None` if there was none in time.
    fn settle(&self, entry: &Entry, result: Option<Result<(), ExitReason>>) {
        let (state, reason) = match result {
            None => (CheckState::TimedOut, None),
            Some(Ok(())) => (CheckState::Passing, None),
            Some(Err(reason @ ExitReason::Panic(_))) => (CheckState::Panicked, Some(reason)),
            Some(Err(reason)) => (CheckState::Failing, Some(reason)),
        };
        let Some((before, after)) = entry.set(state) else {
            return;
        };
        let (check, critical) = (&*self.name, self.critical);
        match (state, reason) {
            (CheckState::Passing, _) if before == CheckState::Unknown => {
                tracing::debug!(check, "a health check passes");
            }
            (CheckState::Passing, _) => {
                tracing::info!(check, critical, after = ?after, "a health check passes again");
            }
            (_, Some(reason)) => {
                tracing::warn!(check, critical, %reason, "a health check does not pass");
            }
            (_, None) => {
                let timeout = self.timeout;
                tracing::warn!(check, critical, ?timeout, "a health check does not answer");
            }
        }
    }
}

/// Runs a check to its result, unless nobody waits for it any longer.
async fn answer(
    future: impl Future<Output = Result>,
    mut tell: oneshot::Sender<Result<(), ExitReason>>,
) {
    let mut future = pin!(future);
    let result = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(|result| result.map_err(ExitReason::Error)),
            Err(panic) => std::task::Poll::Ready(Err(panicked(&*panic))),
        },
    );
    let result = tokio::select! {
        biased;
        () = tell.closed() => return,
        result = result => result,
    };
    // Whoever does not wait any longer has said so itself.
    _ = tell.send(result);
}

fn panicked(panic: &(dyn Any + Send)) -> ExitReason {
    let text = panic.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ExitReason::Panic(text.unwrap_or("no message").to_owned())
}

/// A check's place in the table, for as long as this lives.
pub(super) struct Entry {
    monitor: Monitor,
    key: (String, u64),
}

impl Entry {
    /// Sets the state; if it is another one, says which it was, and for how long.
    pub(super) fn set(&self, state: CheckState) -> Option<(CheckState, Duration)> {
        let mut before = None;
        self.monitor.change_health(|table| {
            let Some(check) = table.checks.get_mut(&self.key) else {
                return false;
            };
            let changed = check.state != state;
            if changed {
                before = Some((check.state, check.since.elapsed()));
                (check.state, check.since) = (state, Instant::now());
            }
            changed
        });
        before
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let removed = |table: &mut super::Table| table.checks.remove(&self.key).is_some();
        self.monitor.change_health(removed);
    }
}
