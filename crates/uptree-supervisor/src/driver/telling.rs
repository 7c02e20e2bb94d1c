//! What a driver tells: the core's notes as events, and its own end as an error.

use std::cmp::Reverse;

use uptree_core::{Action, Index, Note, Outcome};

use super::Driver;
use crate::{ChildState, EventKind, ExitReason, ExitWith, Result, Starting, TreeError};

impl Driver<'_> {
    /// Tells of a decision, with the reason that it was taken for.
    pub(super) fn explain(&mut self, note: Note, cx: &mut Option<Starting>) {
        self.tell_restarting(None);
        let (child, kind): (_, fn(&ExitReason) -> EventKind<'_>) = match note {
            Note::StartError(child) => (child, |reason| EventKind::StartFailed(reason)),
            Note::ChildTerminated(child) => (child, |reason| EventKind::Terminated(reason)),
            Note::ShutdownError(child) => (child, |reason| EventKind::ShutdownError(reason)),
            Note::LeftDown(child) => (child, |reason| EventKind::LeftDown(reason)),
            Note::MaxIntensity(child) => {
                return self.decide(child, |reason| EventKind::MaxIntensity { reason });
            }
            Note::AutoShutdown(child) => return self.tell(child, EventKind::AutoShutdown),
            Note::Restarting { child, left } => {
                self.restarting = Some((child, left));
                return;
            }
            Note::Forgotten(child) => return self.forgotten.push(child),
            Note::Booted => {
                if let Some(cx) = cx.take() {
                    // From here the incarnation is known through `own`.
                    _ = cx.ready();
                }
                return;
            }
        };
        if let Some(life) = &self.slots[child].life {
            life.with_exit(|reason| life.emit(kind(reason)));
        }
        if matches!(note, Note::ShutdownError(_)) {
            self.stopped = None;
        }
    }

    /// Tells of a restart that was decided on; `next` is what the core says is to be done now.
    pub(super) fn tell_restarting(&mut self, next: Option<Action>) {
        // A look costs less than a move: mostly there is none.
        if self.restarting.is_none() {
            return;
        }
        let Some((child, left)) = self.restarting.take() else {
            return;
        };
        let delay = match next {
            Some(Action::Wait(key, delay)) if key.child == child && !delay.is_zero() => Some(delay),
            _ => None,
        };
        self.wait_told_of = delay.map(|_| child);
        self.decide(child, |reason| EventKind::Restarting {
            reason,
            left,
            delay,
        });
    }

    /// Tells of a decision about a child that ended, or whose start failed, which was told before.
    fn decide(&self, child: Index, kind: impl FnOnce(Option<&ExitReason>) -> EventKind<'_>) {
        let Some(life) = &self.slots[child].life else {
            return;
        };
        if !life.is_ready() {
            return life.emit(kind(None));
        }
        life.with_exit(|reason| life.emit(kind(Some(reason))));
    }

    fn tell(&self, child: Index, kind: EventKind<'_>) {
        if let Some(life) = &self.slots[child].life {
            life.emit(kind);
        }
    }

    /// A child that stopped as it should is told of after the core has had its say.
    pub(super) fn tell_stopped(&mut self) {
        if let Some((child, took)) = self.stopped.take()
            && let Some(life) = &self.slots[child].life
        {
            life.with_exit(|reason| life.emit(EventKind::Stopped { reason, took }));
        }
    }

    /// Tells once that it begins to end without being asked to.
    pub(super) fn tell_ending(&mut self, ending: bool) {
        if ending && !self.ending {
            self.ending = true;
            for Reverse((_, child, number)) in self.waits.drain() {
                // It may have been called off, and be there again.
                if let Some(life) = &self.slots[child].life
                    && life.key().number.wrapping_add(1) == number
                {
                    life.show(ChildState::Down, self.at);
                }
            }
            if self.own.stop_cause().is_none() && self.stop.is_none() {
                self.own.emit(EventKind::Ending);
            }
        }
    }

    /// What the supervisor's own incarnation ends with.
    pub(super) fn finish(&mut self, outcome: Outcome) -> Result {
        if !matches!(outcome, Outcome::Stuck(_)) {
            for caller in self.stop_callers.drain(..) {
                _ = caller.send(Ok(()));
            }
        }
        let (Outcome::StartFailed(child) | Outcome::MaxIntensity(child) | Outcome::Stuck(child)) =
            outcome
        else {
            return match self.stop.take() {
                Some(reason) => reason,
                None if outcome == Outcome::Shutdown => Ok(()),
                None => Err(ExitWith(ExitReason::Shutdown).into()),
            };
        };
        let gave_up = matches!(outcome, Outcome::MaxIntensity(_));
        let life = self.slots[child].life.as_ref();
        let exit = match life.and_then(|life| life.take_exit()) {
            // The deepest path is the one that helps.
            Some(ExitReason::Error(error)) if !gave_up && error.is::<TreeError>() => {
                return Err(error);
            }
            exit => exit,
        };
        let path = life.map(|life| self.path(life).to_string());
        let path = path.unwrap_or_default();
        let error = match outcome {
            Outcome::MaxIntensity(_) => TreeError::GaveUp {
                path: self.own.path().to_string(),
                child: path,
                max_restarts: self.intensity.max_restarts(),
                max_seconds: self.intensity.max_seconds(),
                source: exit.and_then(ExitReason::into_error),
            },
            Outcome::Stuck(_) => self.stuck(path),
            _ => TreeError::DidNotStart {
                path,
                source: exit.unwrap_or(ExitReason::Killed).into_start_error(),
            },
        };
        Err(error.into())
    }

    fn stuck(&self, path: String) -> TreeError {
        let remedy = "it blocks its thread: await, use `spawn_blocking`, or a thread of its own";
        TreeError::Stuck {
            path,
            after: self.own.tree().abort_grace,
            source: Some(crate::help(
                "code that never awaits cannot be aborted",
                remedy,
            )),
        }
    }
}
