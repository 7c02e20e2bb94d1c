//! What a driver tells: the core's notes as events, and its own end as an error.

use uptree_core::{Note, Outcome};

use super::Driver;
use crate::{EventKind, ExitReason, Result, TreeError};

impl Driver<'_> {
    /// Tells of a decision, with the reason that it was taken for.
    pub(super) fn explain(&mut self, note: Note) {
        let (Note::StartError(child)
        | Note::ChildTerminated(child)
        | Note::ShutdownError(child)
        | Note::MaxIntensity(child)
        | Note::Restarting { child, .. }
        | Note::LeftDown(child)) = note
        else {
            return;
        };
        let Some(life) = &self.slots[child].life else {
            return;
        };
        match note {
            Note::MaxIntensity(_) => life.emit(EventKind::MaxIntensity),
            Note::Restarting { left, .. } => life.emit(EventKind::Restarting { left }),
            _ => {
                life.with_exit(|reason| {
                    life.emit(match note {
                        Note::StartError(_) => EventKind::StartFailed(reason),
                        Note::ChildTerminated(_) => EventKind::Terminated(reason),
                        Note::ShutdownError(_) => EventKind::ShutdownError(reason),
                        _ => EventKind::LeftDown(reason),
                    });
                });
            }
        }
        if matches!(note, Note::ShutdownError(_)) {
            self.stopped = None;
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
            if self.own.stop_cause().is_none() {
                self.own.emit(EventKind::Ending);
            }
        }
    }

    /// What the supervisor's own incarnation ends with.
    pub(super) fn finish(&mut self, outcome: Outcome) -> Result {
        let (Outcome::StartFailed(child) | Outcome::MaxIntensity(child) | Outcome::Stuck(child)) =
            outcome
        else {
            return Ok(());
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
        let limit = self.supervisor.limit();
        let path = self.path(child).to_string();
        let error = match outcome {
            Outcome::MaxIntensity(_) => TreeError::GaveUp {
                path: self.own.path().to_string(),
                child: path,
                max_restarts: limit.max_restarts(),
                max_seconds: limit.max_seconds(),
                source: exit.and_then(ExitReason::into_error),
            },
            Outcome::Stuck(_) => self.stuck(path),
            Outcome::StartFailed(_) | Outcome::Shutdown => TreeError::DidNotStart {
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
