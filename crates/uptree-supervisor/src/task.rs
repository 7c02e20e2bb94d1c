//! The futures that run an incarnation: the child's own, and the tasks that it spawned.
//!
//! They catch panics, say on whose behalf a thread polls, and make the end of whatever they run
//! known to the incarnation, after everything that they held has been dropped.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::task::JoinHandle;

use crate::{ExitReason, Result, incarnation::Incarnation, span, worker::enter};

pin_project_lite::pin_project! {
    /// The child's own future. When it is dropped `body` goes first; then the incarnation ends.
    struct Root<F> {
        #[pin]
        body: Option<F>,
        // Elsewhere only while `body` is polled or dropped.
        life: Option<Arc<Incarnation>>,
    }

    impl<F> PinnedDrop for Root<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_some() {
                // Whoever aborted it has no use for a panic in its drop.
                _ = enter(this.life, || drop_caught(this.body.as_mut()));
                end(this.life.as_ref(), ExitReason::Killed);
            }
        }
    }
}

/// Nothing is left of the body.
fn end(life: Option<&Arc<Incarnation>>, reason: ExitReason) {
    if let Some(life) = life {
        life.end(reason);
    }
}

/// Runs `body` as the incarnation's own future.
pub(crate) fn spawn_root<F>(life: Arc<Incarnation>, body: F) -> JoinHandle<()>
where
    F: Future<Output = Result> + Send + 'static,
{
    if life.tree().incarnation_spans {
        let body = Some(span::of_incarnation(&life, body));
        let life = Some(life);
        return tokio::spawn(Root { body, life });
    }
    tokio::spawn(Root {
        body: Some(body),
        life: Some(life),
    })
}

impl<F: Future<Output = Result>> Future for Root<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let polled = enter(this.life, || poll_caught(this.body.as_mut(), cx));
        let reason = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => this.life.as_ref().map(|life| life.reason_of(result)),
            Err(panic) => Some(panic),
        };
        let dropped = enter(this.life, || drop_caught(this.body.as_mut()));
        let reason = dropped.err().or(reason).unwrap_or(ExitReason::Killed);
        end(this.life.as_ref(), reason);
        Poll::Ready(())
    }
}

pin_project_lite::pin_project! {
    /// A task that an incarnation spawned.
    struct Task<F> {
        #[pin]
        body: Option<F>,
        current: Option<Arc<Incarnation>>,
        guard: TaskGuard,
    }

    impl<F> PinnedDrop for Task<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Whoever aborted it has no use for a panic in its drop.
            _ = enter(this.current, || drop_caught(this.body.as_mut()));
        }
    }
}

struct TaskGuard {
    life: Arc<Incarnation>,
    number: u64,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.life.close_task(self.number);
    }
}

/// Runs `body` as a task of the incarnation; drops it if the incarnation has ended.
pub(crate) fn spawn_task<F>(life: &Arc<Incarnation>, body: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(number) = life.open_task() else {
        return;
    };
    let current = Some(life.clone());
    let guard = TaskGuard {
        life: life.clone(),
        number,
    };
    // Under no lock: a runtime that shuts down drops the future here and now.
    let handle = if life.tree().incarnation_spans {
        let body = Some(span::of_task(body));
        tokio::spawn(Task {
            body,
            current,
            guard,
        })
    } else {
        let body = Some(body);
        tokio::spawn(Task {
            body,
            current,
            guard,
        })
    };
    life.keep_task(number, &handle);
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let ended = match enter(this.current, || poll_caught(this.body.as_mut(), cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => enter(this.current, || drop_caught(this.body.as_mut())),
            Err(panic) => Err(panic),
        };
        if let Err(panic) = ended {
            this.guard.life.task_failed(panic);
        }
        Poll::Ready(())
    }
}

pub(crate) fn poll_caught<F: Future>(
    body: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Result<Poll<F::Output>, ExitReason> {
    let body = body
        .as_pin_mut()
        .expect("a future is not polled after it is ready");
    catch_unwind(AssertUnwindSafe(|| body.poll(cx))).map_err(|panic| ExitReason::of_panic(&*panic))
}

pub(crate) fn drop_caught<F>(mut body: Pin<&mut Option<F>>) -> Result<(), ExitReason> {
    catch_unwind(AssertUnwindSafe(|| body.set(None))).map_err(|panic| ExitReason::of_panic(&*panic))
}
