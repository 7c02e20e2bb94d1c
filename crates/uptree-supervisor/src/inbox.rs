//! Where the incarnations of one supervisor report to it, and where it is called.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::incarnation::Report;

/// A queue with many senders and one receiver: OTP's mailbox.
///
/// A channel of tokio's would do, and costs several times as much: it is made for many messages
/// on the way at once, here there is mostly one.
#[derive(Default)]
pub(crate) struct Inbox {
    // Incarnations report at most that they are ready, that a task of theirs failed, that they
    // linger and that they are gone; and a call waits for its answer. So it is bounded by those
    // who are there to write.
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    reports: VecDeque<Report>,
    /// How many of them say that a child is gone.
    gone: usize,
    /// The receiver's, while it waits.
    receiver: Option<Waker>,
    /// Nobody reads it any more.
    closed: bool,
    /// Nobody reads it for now: for tests.
    paused: bool,
}

impl Inbox {
    /// Adds a report. It is dropped if the supervisor has ended: nobody needs it then, and a call
    /// is answered by that.
    pub(crate) fn send(&self, report: Report) {
        let receiver = {
            let mut queue = self.queue();
            if queue.closed {
                drop(queue);
                return drop(report);
            }
            queue.gone += usize::from(matches!(report, Report::Gone { .. }));
            queue.reports.push_back(report);
            queue.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// The next report, in the order in which they were sent, and whether it was the last: then
    /// `cx` is woken by the next one, and there is nothing to look for before.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<(Report, bool)> {
        let mut queue = self.queue();
        let report = match queue.paused {
            true => None,
            false => queue.reports.pop_front(),
        };
        let last = queue.reports.is_empty();
        if last || report.is_none() {
            queue.receiver = Some(cx.waker().clone());
        }
        let Some(report) = report else {
            return Poll::Pending;
        };
        queue.gone -= usize::from(matches!(report, Report::Gone { .. }));
        Poll::Ready((report, last))
    }

    /// How many children are gone without the receiver knowing it yet.
    pub(crate) fn gone(&self) -> usize {
        self.queue().gone
    }

    /// Drops what is there and what will come.
    pub(crate) fn close(&self) {
        let reports = {
            let mut queue = self.queue();
            queue.closed = true;
            std::mem::take(&mut queue.reports)
        };
        drop(reports);
    }

    /// Stops or resumes the reading.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn pause(&self, paused: bool) {
        let receiver = {
            let mut queue = self.queue();
            queue.paused = paused;
            queue.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
