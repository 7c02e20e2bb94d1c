//! A task that can be asked whether it is still polled.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use atomic_waker::AtomicWaker;

/// Counts how often its task was polled; anybody can have it polled.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    waker: AtomicWaker,
}

impl Pulse {
    /// Beats whenever the task is polled; never completes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn beats(&self) -> Infallible {
        poll_fn(|cx| {
            // Registered first: who asks after the beat wakes the task again.
            self.waker.register(cx.waker());
            self.beat();
            Poll::Pending
        })
        .await
    }

    /// Beats outside [`beats`](Self::beats): the task is plainly at work.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the task polled, which then beats. Waits for nothing.
    pub(crate) fn ask(&self) {
        self.waker.wake();
    }

    /// How often it has beaten.
    pub(crate) fn count(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_beats_once_each_time_it_is_asked() {
        let pulse = std::sync::Arc::new(Pulse::default());
        let task = tokio::spawn({
            let pulse = std::sync::Arc::clone(&pulse);
            async move { pulse.beats().await }
        });
        tokio::task::yield_now().await;
        for beats in 1..5 {
            assert_eq!(pulse.count(), beats);
            pulse.ask();
            tokio::task::yield_now().await;
        }
        task.abort();
        drop(task.await);
        pulse.ask();
        assert_eq!(pulse.count(), 5);
    }
}
