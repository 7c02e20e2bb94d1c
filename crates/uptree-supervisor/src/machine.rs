//! The two machines of the core, as the one driver sees them.

use std::time::Duration;

use uptree_core::{
    Action, Backoff, Counts, DynamicSupervisor, Event, Index, Note, Refusal, Spec, Status,
    Supervisor,
};

/// What decides for a supervisor.
pub(crate) enum Machine {
    /// One thing at a time, in order.
    Ordered(Supervisor),
    /// Each child by itself.
    Dynamic(DynamicSupervisor),
}

/// The same question to either of them.
macro_rules! either {
    ($self:ident, $machine:ident => $answer:expr) => {
        match $self {
            Self::Ordered($machine) => $answer,
            Self::Dynamic($machine) => $answer,
        }
    };
}

impl Machine {
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }

    pub(crate) fn step(
        &mut self,
        event: Event,
        now: Duration,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        either!(self, machine => machine.step(event, now, out))
    }

    pub(crate) fn is_ending(&self) -> bool {
        either!(self, machine => machine.is_ending())
    }

    /// Whether there may be more to do once `action` has been done, or begun.
    pub(crate) fn may_go_on(&self, action: &Action) -> bool {
        match self {
            // It waits for whomever it starts or stops.
            Self::Ordered(_) => !matches!(action, Action::Start(_) | Action::Stop(_)),
            Self::Dynamic(machine) => machine.is_sweeping(),
        }
    }

    pub(crate) fn set_backoff(&mut self, child: Index, backoff: Backoff) {
        either!(self, machine => machine.set_backoff(child, backoff));
    }

    /// Whether it may have such a child.
    pub(crate) fn fits(&self, spec: Spec) -> bool {
        either!(self, machine => spec.fits(machine.heeds()))
    }

    pub(crate) fn start_child(&mut self, spec: Spec) -> Result<Action, Refusal> {
        either!(self, machine => machine.start_child(spec))
    }

    pub(crate) fn terminate_child(
        &mut self,
        child: Index,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        either!(self, machine => machine.terminate_child(child, out))
    }

    pub(crate) fn status(&self, child: Index) -> Status {
        either!(self, machine => machine.status(child))
    }

    pub(crate) fn counts(&self) -> Counts {
        either!(self, machine => machine.counts())
    }

    /// Calls `f` with every child that is known: of the ordered ones with the newest first.
    pub(crate) fn each_child(&self, f: impl FnMut((Index, Status))) {
        match self {
            Self::Ordered(machine) => machine.newest_first().for_each(f),
            Self::Dynamic(machine) => machine.children().for_each(f),
        }
    }

    /// The ordered machine, for what only that one can do.
    pub(crate) fn ordered(&mut self) -> Option<&mut Supervisor> {
        match self {
            Self::Ordered(machine) => Some(machine),
            Self::Dynamic(_) => None,
        }
    }
}
