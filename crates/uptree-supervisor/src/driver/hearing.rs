//! What a driver makes of what is reported to it, and of a time that is over.

use std::cmp::Reverse;

use uptree_core::{Event, Incarnation as Key};

use super::{Driver, Slot, child_ref};
use crate::{
    ChildState, ControlError, EventKind, ExitReason, Started, TreeError,
    flight::{Flight, Stage},
    incarnation::{Incarnation, Report, StopCause},
};

impl Driver<'_> {
    pub(super) fn on_report(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::Ready(key) => self.on_ready(key),
            Report::TaskFailed(key) => {
                if let Slot {
                    life: Some(life),
                    task: Some(task),
                    ..
                } = &self.slots[key.child]
                    && life.key() == key
                {
                    task.abort();
                    self.lingers(key);
                }
                None
            }
            Report::Lingers(key) => {
                self.lingers(key);
                None
            }
            Report::Gone { key, done } => self.on_gone(key, done),
            Report::Retry(key) => Some(Event::Retry(key)),
            Report::Call(call) => self.on_call(call),
        }
    }

    pub(super) fn on_ready(&mut self, key: Key) -> Option<Event> {
        let slot = &mut self.slots[key.child];
        let life = slot.life.as_ref().filter(|life| life.key() == key)?;
        // It may be on its way down by now, told or killed; then its word comes too late.
        let id = slot.flight?;
        if !self.flights.get(id).is_some_and(Flight::is_starting) {
            return None;
        }
        slot.flight = None;
        let flight = self.flights.close(id);
        let took = self.at.saturating_sub(life.since());
        life.show(ChildState::Running, self.at);
        life.emit(EventKind::Ready { took });
        if let Some(caller) = flight.and_then(|flight| flight.started) {
            let child = child_ref(&self.scope, life);
            _ = caller.send(Ok(Started::new(child, life.take_info())));
        }
        Some(Event::Started(key))
    }

    pub(super) fn on_gone(&mut self, key: Key, done: bool) -> Option<Event> {
        let slot = &mut self.slots[key.child];
        let life = slot.life.as_ref().filter(|life| life.key() == key)?;
        slot.task = None;
        let flight = slot.flight.take().and_then(|id| self.flights.close(id));
        if let Some(flight) = flight {
            let took = self.now - flight.since;
            self.stopped = flight.stop.then_some((key.child, took));
            if flight.has_callers() {
                self.gone = Some((life.clone(), flight, done));
            }
        }
        if done {
            let took = self.at.saturating_sub(life.since());
            life.show(ChildState::Ignored, self.at);
            life.emit(EventKind::Ignored { took });
            return Some(Event::Ignored(key));
        }
        life.show(ChildState::Down, self.at);
        life.with_exit(|reason| {
            let exit = reason.kind();
            let again = life.options().restart.restarts_after(exit);
            life.emit(EventKind::Gone { again });
            match reason.tree_error() {
                Some(TreeError::Stuck { .. }) => Event::Stuck(key),
                _ => Event::Exited(key, exit),
            }
        })
    }

    /// Tells those who called for a child's start or its end that it is gone.
    pub(super) fn answer(&mut self) {
        // A look costs less than a move: mostly there is nobody.
        if self.gone.is_none() {
            return;
        }
        let Some((life, flight, done)) = self.gone.take() else {
            return;
        };
        if let Some(caller) = flight.started {
            _ = caller.send(match done {
                true => Ok(Started::ignored()),
                // It was called off with all the others.
                false if self.ending => Err(ControlError::NoProc),
                false => Err(ControlError::StartFailed {
                    path: life.path().to_string(),
                    source: life
                        .take_exit()
                        .unwrap_or(ExitReason::Killed)
                        .into_start_error(),
                }),
            });
        }
        for caller in flight.ended {
            _ = caller.send(Ok(()));
        }
    }

    /// It was killed, or has ended: it gets the grace of those, and is stuck then.
    pub(super) fn lingers(&mut self, key: Key) {
        // Most are gone at once; those that are make room here.
        while let Some(&(first, _)) = self.lingering.front()
            && !self.is_there(first)
        {
            self.lingering.pop_front();
        }
        let until = self.now.checked_add(self.own.tree().abort_grace);
        self.lingering.extend(until.map(|until| (key, until)));
    }

    pub(super) fn on_deadline(&mut self) -> Option<Event> {
        let now = self.now;
        if let Some((key, _)) = self.lingering.pop_front_if(|(_, until)| *until <= now) {
            let life = self.slots[key.child].life.as_ref();
            return self.give_up_on(life.filter(|_| self.is_there(key))?);
        }
        if let Some(&Reverse((until, child, number))) = self.waits.peek()
            && until <= now
        {
            self.waits.pop();
            return Some(Event::Retry(Key { child, number }));
        }
        let id = self.flights.take_due(now)?;
        let Flight {
            child,
            stage,
            shortened,
            ..
        } = *self.flights.get(id)?;
        let life = self.slots[child].life.clone()?;
        match stage {
            Stage::Starting => {
                let deadline = life.start_deadline();
                if deadline.is_none_or(|deadline| deadline > now) {
                    // It has made progress.
                    self.flights.enter(id, Stage::Starting, deadline);
                } else {
                    life.fail_start();
                    let grace = life.options().grace();
                    self.ask(child, &life, StopCause::Terminated, grace);
                }
                None
            }
            Stage::Asked => {
                life.emit(EventKind::Killing { shortened });
                self.kill(child);
                None
            }
            Stage::Killed => {
                self.slots[child].flight = None;
                self.flights.close(id);
                self.give_up_on(&life)
            }
        }
    }

    /// Whether this incarnation is not gone.
    pub(super) fn is_there(&self, key: Key) -> bool {
        let Slot { life, task, .. } = &self.slots[key.child];
        task.is_some() && life.as_ref().is_some_and(|life| life.key() == key)
    }

    /// It was killed and is still there: it is stuck.
    pub(super) fn give_up_on(&self, life: &Incarnation) -> Option<Event> {
        if !life.release_owner() {
            return None;
        }
        let after = life.tree().abort_grace;
        life.emit(EventKind::Stuck { after });
        life.show(ChildState::Stuck, self.at);
        Some(Event::Stuck(life.key()))
    }
}
