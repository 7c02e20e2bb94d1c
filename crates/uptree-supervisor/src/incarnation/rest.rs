//! What an incarnation keeps under a lock: how it ended, who waits for its stop, and what few need.

use std::{collections::HashMap, sync::Weak, task::Waker};

use tokio::{task::AbortHandle, time::Instant};

use crate::{BoxError, ExitReason, control::Info, scope::Scope};

/// Most incarnations have one waiter at a time, their own future, and no exit before that is gone:
/// so one of the two is enough room.
#[derive(Default)]
pub(super) enum Rest {
    #[default]
    Nothing,
    Waiter(Waker),
    Exit(ExitReason),
    More(Box<Extra>),
}

/// What few incarnations need.
#[derive(Default)]
pub(super) struct Extra {
    waiter: Option<Waker>,
    exit: Option<ExitReason>,
    pub(super) progress: Option<Instant>,
    pub(super) attempt: Option<BoxError>,
    /// For whoever called for the start.
    pub(super) info: Option<Info>,
    /// What is below it, if it is a supervisor.
    pub(super) below: Weak<Scope>,
    pub(super) tasks: HashMap<u64, Option<AbortHandle>>,
    pub(super) tasks_ever: u64,
    waiters: HashMap<u64, Waker>,
    waiters_ever: u64,
    /// Dropped when its end has been reported.
    pub(super) kept: Option<Box<dyn Send>>,
}

/// Where a waiter's waker is kept.
#[derive(Clone, Copy)]
pub(super) enum Place {
    First,
    Other(u64),
}

impl Rest {
    pub(super) fn extra(&mut self) -> &mut Extra {
        if !matches!(self, Self::More(_)) {
            let mut extra = Extra::default();
            match std::mem::take(self) {
                Self::Waiter(waiter) => extra.waiter = Some(waiter),
                Self::Exit(exit) => extra.exit = Some(exit),
                Self::Nothing | Self::More(_) => {}
            }
            *self = Self::More(Box::new(extra));
        }
        match self {
            Self::More(extra) => extra,
            _ => unreachable!("it has just been made"),
        }
    }

    /// What is there of it.
    pub(super) fn known(&self) -> Option<&Extra> {
        match self {
            Self::More(extra) => Some(extra),
            _ => None,
        }
    }

    pub(super) fn known_mut(&mut self) -> Option<&mut Extra> {
        match self {
            Self::More(extra) => Some(extra),
            _ => None,
        }
    }

    // ------------------------------------------------------------------ how it ended

    /// Keeps the first reason. Any other is given back, to be dropped under no lock: an error is
    /// a stranger's.
    pub(super) fn keep_exit(&mut self, reason: ExitReason) -> Option<ExitReason> {
        match self {
            _ if self.exit().is_some() => return Some(reason),
            Self::Nothing => *self = Self::Exit(reason),
            _ => self.extra().exit = Some(reason),
        }
        None
    }

    pub(super) fn exit(&self) -> Option<&ExitReason> {
        match self {
            Self::Exit(exit) => Some(exit),
            Self::More(extra) => extra.exit.as_ref(),
            Self::Nothing | Self::Waiter(_) => None,
        }
    }

    pub(super) fn take_exit(&mut self) -> Option<ExitReason> {
        match std::mem::take(self) {
            Self::Exit(exit) => Some(exit),
            other => {
                *self = other;
                self.known_mut()?.exit.take()
            }
        }
    }

    // ------------------------------------------------------------------ who waits

    /// Keeps the waker of one who waits, in the place that it has or in a new one.
    pub(super) fn wait(&mut self, place: Option<Place>, waker: &Waker) -> Place {
        let place = place.unwrap_or_else(|| self.free_place());
        match (place, &mut *self) {
            (Place::First, Self::Nothing) => *self = Self::Waiter(waker.clone()),
            (Place::First, Self::Waiter(known)) => known.clone_from(waker),
            (Place::First, _) => self.extra().waiter = Some(waker.clone()),
            (Place::Other(number), _) => {
                self.extra().waiters.insert(number, waker.clone());
            }
        }
        place
    }

    fn free_place(&mut self) -> Place {
        let taken = match self {
            Self::Waiter(_) => true,
            Self::More(extra) => extra.waiter.is_some(),
            Self::Nothing | Self::Exit(_) => false,
        };
        if !taken {
            return Place::First;
        }
        let extra = self.extra();
        extra.waiters_ever += 1;
        Place::Other(extra.waiters_ever)
    }

    /// Takes out the waker of one who no longer waits.
    pub(super) fn give_up(&mut self, place: Place) -> Option<Waker> {
        match place {
            Place::First => self.take_first(),
            Place::Other(number) => self.known_mut()?.waiters.remove(&number),
        }
    }

    /// Takes out everybody who waits.
    pub(super) fn take_waiters(&mut self) -> (Option<Waker>, HashMap<u64, Waker>) {
        let others = self.known_mut().map(|it| std::mem::take(&mut it.waiters));
        (self.take_first(), others.unwrap_or_default())
    }

    fn take_first(&mut self) -> Option<Waker> {
        match std::mem::take(self) {
            Self::Waiter(waiter) => Some(waiter),
            other => {
                *self = other;
                self.known_mut()?.waiter.take()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incarnation::Incarnation;

    #[test]
    fn an_incarnation_fits_what_the_alignment_of_a_task_leaves_over() {
        assert_eq!(size_of::<Rest>(), 24);
        assert_eq!(size_of::<Incarnation>(), 88);
    }

    #[test]
    fn the_first_reason_is_kept_beside_a_waiter() {
        let waker = Waker::noop();
        let mut rest = Rest::default();
        let place = rest.wait(None, waker);
        assert!(rest.keep_exit(ExitReason::Killed).is_none());
        assert!(rest.keep_exit(ExitReason::Normal).is_some());
        assert!(matches!(rest.exit(), Some(ExitReason::Killed)));
        let second = rest.wait(None, waker);
        assert!(matches!(second, Place::Other(_)));
        assert!(rest.give_up(place).is_some());
        let third = rest.wait(None, waker);
        assert!(matches!(third, Place::First), "it is free again");
        let (first, others) = rest.take_waiters();
        assert_eq!((first.is_some(), others.len()), (true, 1));
        assert!(matches!(rest.take_exit(), Some(ExitReason::Killed)));
        assert!(rest.take_exit().is_none());
    }
}
