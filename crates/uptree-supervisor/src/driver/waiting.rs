//! How a driver waits: for the wish to stop, for what is reported, for the time to be over.

use std::{
    cmp::Reverse,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{task::coop, time::sleep_until};
use uptree_core::Event;

use super::Driver;
use crate::incarnation::StopCause;

impl Driver<'_> {
    /// The next thing that the core must know. Cancel safe, as the driver is dropped in it.
    pub(super) async fn next_event(
        &mut self,
        mut asked: Pin<&mut impl Future<Output = StopCause>>,
    ) -> Event {
        poll_fn(|cx| self.poll_event(asked.as_mut(), cx)).await
    }

    /// The wish to stop comes first, then what is reported, then the timer.
    pub(super) fn poll_event(
        &mut self,
        asked: Pin<&mut impl Future<Output = StopCause>>,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        // Both stay registered until they ring, so that with the same waker a look is enough.
        let known = self
            .waker
            .as_ref()
            .is_some_and(|it| it.will_wake(cx.waker()));
        if !known {
            self.waker = Some(cx.waker().clone());
            self.timer = None;
            _ = (!self.asked).then(|| asked.poll(cx));
        }
        loop {
            if !self.asked && self.own.stop_cause().is_some() {
                self.asked = true;
                self.look_at_the_clock();
                return Poll::Ready(Event::Shutdown);
            }
            // Many callers on other threads could keep it here for ever.
            let Poll::Ready(turn) = coop::poll_proceed(cx) else {
                self.read_all = false;
                return Poll::Pending;
            };
            let report = match self.read_all {
                true => Poll::Pending,
                false => self.scope.inbox.poll(cx),
            };
            let event = match report {
                Poll::Ready((report, last)) => {
                    self.read_all = last;
                    turn.made_progress();
                    self.look_at_the_clock();
                    self.on_report(report)
                }
                Poll::Pending => {
                    drop(turn);
                    if self.poll_deadline(cx).is_pending() {
                        self.read_all = false;
                        return Poll::Pending;
                    }
                    self.look_at_the_clock();
                    self.on_deadline()
                }
            };
            if let Some(event) = event {
                return Poll::Ready(event);
            }
        }
    }

    /// Ready when somebody is out of time.
    ///
    /// The timer is moved only when it would ring too late: one start follows another, each with a
    /// later deadline, and moving it for each of them would cost more than to be woken once in
    /// vain.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flight = self.flights.next_deadline();
        let lingers = self.lingering.front().map(|&(_, until)| until);
        let waits = self.waits.peek().map(|&Reverse((until, ..))| until);
        let Some(deadline) = flight.into_iter().chain(lingers).chain(waits).min() else {
            return Poll::Pending;
        };
        if let Some(timer) = &self.timer {
            match timer.is_elapsed() {
                true if timer.deadline() >= deadline => return Poll::Ready(()),
                // It rings in time.
                false if timer.deadline() <= deadline => return Poll::Pending,
                _ => {}
            }
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        timer.as_mut().poll(cx)
    }
}
