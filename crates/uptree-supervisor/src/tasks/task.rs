//! A future that runs under a supervisor, from both sides: who waits for it, and the child.

use std::{
    borrow::Cow,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::oneshot;
use uptree_core::{Restart, Shutdown};

use crate::{
    Child, ControlError, ExitReason, ExitWith, IntoChild, Options, Result, Started, Starting,
    call::{Answer, Call, Live, post},
    incarnation::Incarnation,
    task::{drop_caught, poll_caught},
};

/// A future that runs under a [`TaskSupervisor`](crate::TaskSupervisor); awaited, its outcome. Dropped, it is cancelled:
/// its future is dropped at its next `.await`.
///
/// It may be polled in parts: `timeout(limit, &mut task)` is Elixir's `Task.yield`, and
/// `timeout(limit, task)` its `Task.await`, as the task is cancelled at the timeout.
///
/// # Cancel safety
///
/// `&mut task` is cancel safe.
///
/// # Examples
///
/// ```
/// use std::{future::pending, time::Duration};
/// use tokio::time::{sleep, timeout};
/// use uptree_supervisor::{Result, Supervisor, TaskSupervisor};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result {
/// let second = Duration::from_secs(1);
/// let tasks = TaskSupervisor::new("tasks");
/// let _tree = Supervisor::new("app").child(tasks.clone()).start().await?;
///
/// let mut slow = tasks.async_nolink(async move {
///     sleep(3 * second).await;
///     "done"
/// });
/// assert!(timeout(second, &mut slow).await.is_err());
/// assert_eq!(slow.await, Ok("done"));
///
/// let never = tasks.async_nolink(pending::<()>());
/// assert!(timeout(second, never).await.is_err());
/// # Ok(())
/// # }
/// ```
#[must_use = "a task is cancelled when this is dropped"]
pub struct Task<T> {
    /// Until the supervisor has answered.
    started: Option<Answer<Started>>,
    told: oneshot::Receiver<Result<T, TaskError>>,
}

impl<T: Send + 'static> Task<T> {
    /// Has the supervisor run `future`; `caller` fails with it.
    pub(super) fn begin(
        live: &Live,
        future: impl Future<Output = T> + Send + 'static,
        caller: Option<Arc<Incarnation>>,
    ) -> Self {
        let (tell, told) = oneshot::channel();
        let body = Box::pin(future);
        let job = Job { body, caller, tell };
        let spec = Once(Mutex::new(Some(job))).into_child();
        let started = Some(post(live, |reply| Call::Start(spec, reply)));
        Self { started, told }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(started) = &mut self.started {
            let answer = ready!(Pin::new(started).poll(cx));
            self.started = None;
            let refused = match answer {
                Ok(Ok(_)) => None,
                Ok(Err(ControlError::MaxChildren)) => Some(TaskError::MaxChildren),
                // Killed before it was first polled.
                Ok(Err(ControlError::StartFailed { .. })) => Some(TaskError::Stopped),
                Ok(Err(_)) | Err(_) => Some(TaskError::NoProc),
            };
            if let Some(refused) = refused {
                return Poll::Ready(self.told.try_recv().unwrap_or(Err(refused)));
            }
        }
        let told = ready!(Pin::new(&mut self.told).poll(cx));
        Poll::Ready(told.unwrap_or(Err(TaskError::Stopped)))
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// Why a [`Task`] has no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It panicked, with this message.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// It was stopped before its end: with its supervisor, or by
    /// [`terminate_child`](crate::TaskSupervisor::terminate_child).
    #[error("the task was stopped")]
    Stopped,
    /// The supervisor does not run, or ended before the task began.
    #[error("the supervisor of tasks is not running")]
    NoProc,
    /// There are as many tasks as are allowed.
    #[error("there are as many tasks as are allowed")]
    MaxChildren,
}

/// What a task runs, and for whom.
struct Job<T> {
    // So that there is one kind of child for each `T`, not for each future.
    body: Pin<Box<dyn Future<Output = T> + Send>>,
    /// Who fails with it.
    caller: Option<Arc<Incarnation>>,
    tell: oneshot::Sender<Result<T, TaskError>>,
}

/// A child that has one life.
struct Once<T>(Mutex<Option<Job<T>>>);

impl<T: Send + 'static> Child for Once<T> {
    fn id(&self) -> Cow<'static, str> {
        "task".into()
    }

    fn defaults(&self, options: Options) -> Options {
        options
            .restart(Restart::Temporary)
            .shutdown(Shutdown::BrutalKill)
            .start_timeout(Duration::MAX)
    }

    async fn run(&self, cx: Starting) -> Result {
        let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Job { body, caller, tell }) = job else {
            return cx.done();
        };
        // Dropped after the body, whichever way this ends.
        let mut outcome = Outcome {
            life: cx.life().clone(),
            telling: Some(Box::new(Telling {
                value: None,
                tell: Some(tell),
            })),
        };
        let mut body = Some(body);
        let _running = cx.ready();
        let ended = poll_fn(|cx| {
            if outcome.is_unwanted(cx) {
                return Poll::Ready(None);
            }
            match poll_caught(Pin::new(&mut body), cx) {
                Ok(polled) => polled.map(|value| Some(Ok(value))),
                Err(panic) => Poll::Ready(Some(Err(panic))),
            }
        });
        let ended = ended.await;
        let dropped = drop_caught(Pin::new(&mut body));
        let Some(ended) = ended else {
            return dropped.map_err(|panic| ExitWith(panic).into());
        };
        match ended.and_then(|value| dropped.map(|()| value)) {
            Ok(value) => {
                outcome.is(Ok(value));
                Ok(())
            }
            Err(panic) => {
                let message = match &panic {
                    ExitReason::Panic(message) => message.clone(),
                    other => other.to_string(),
                };
                if let Some(caller) = caller {
                    caller.task_failed(ExitReason::Panic(message.clone()));
                }
                outcome.is(Err(TaskError::Panicked(message)));
                Err(ExitWith(panic).into())
            }
        }
    }
}

/// Tells of a task once it is gone; without a value, that it was stopped.
struct Outcome<T: Send + 'static> {
    life: Arc<Incarnation>,
    telling: Option<Box<Telling<T>>>,
}

impl<T: Send + 'static> Outcome<T> {
    /// Whether its `Task` is dropped; wakes when that happens.
    fn is_unwanted(&mut self, cx: &mut Context<'_>) -> bool {
        let tell = self.telling.as_mut().and_then(|it| it.tell.as_mut());
        tell.is_some_and(|tell| tell.poll_closed(cx).is_ready())
    }

    fn is(&mut self, value: Result<T, TaskError>) {
        if let Some(telling) = &mut self.telling {
            telling.value = Some(value);
        }
    }
}

impl<T: Send + 'static> Drop for Outcome<T> {
    fn drop(&mut self) {
        if let Some(telling) = self.telling.take() {
            self.life.keep_until_gone(telling);
        }
    }
}

/// Tells when it is dropped.
struct Telling<T> {
    value: Option<Result<T, TaskError>>,
    tell: Option<oneshot::Sender<Result<T, TaskError>>>,
}

impl<T> Drop for Telling<T> {
    fn drop(&mut self) {
        if let (Some(value), Some(tell)) = (self.value.take(), self.tell.take()) {
            // If nobody wants it any more it is dropped here.
            _ = tell.send(value);
        }
    }
}
