//! Where the incarnations of one supervisor report to it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::incarnation::Report;

/// A queue with many senders and one receiver.
///
/// A channel of tokio's would do, and costs several times as much: it is made for many messages
/// on the way at once, here there is mostly one.
#[derive(Default)]
pub(crate) struct Inbox {
    // Unbounded in name only: an incarnation reports at most that it is ready, that a task of it
    // failed and that it is gone, and a child has one incarnation at a time.
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    reports: VecDeque<Report>,
    /// The receiver's, while it waits.
    receiver: Option<Waker>,
}

impl Inbox {
    /// Adds a report; nobody reads it once the supervisor has ended, and nobody needs to.
    pub(crate) fn send(&self, report: Report) {
        let receiver = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.reports.push_back(report);
            queue.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// The next report, in the order in which they were sent.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Report> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = queue.reports.pop_front() {
            return Poll::Ready(report);
        }
        queue.receiver = Some(cx.waker().clone());
        Poll::Pending
    }
}
