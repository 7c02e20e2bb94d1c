//! What a supervisor of ordered children answers when it is called, by OTP's table.
//!
//! A call has its turn when the machine says [`Action::Serve`].

use super::{Child, Phase, StartIsFor, State, Supervisor};
use crate::{Action, Counts, Index, Note, Refusal, Spec, Status};

impl Supervisor {
    /// Adds a child at the end of the order and starts it. A start that fails, or a temporary
    /// child that is ignored, leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadCombination`], or [`Refusal::Ending`].
    pub fn start_child(&mut self, spec: Spec) -> Result<Action, Refusal> {
        if !spec.fits(self.auto_shutdown) {
            return Err(Refusal::BadCombination);
        }
        self.is_served()?;
        let i = self.add(spec);
        self.first = self.children[i].number.wrapping_add(1);
        Ok(self.start(i, StartIsFor::Added))
    }

    /// Starts a child that is known and down. It is not a restart: it does not count, and the
    /// siblings are left alone.
    ///
    /// # Errors
    ///
    /// If it runs, or is being restarted, or the supervisor ends.
    pub fn restart_child(&mut self, i: Index) -> Result<Action, Refusal> {
        self.is_served()?;
        self.is_down(i)?;
        Ok(self.start(i, StartIsFor::Known))
    }

    /// Stops a child and keeps its spec, unless it is temporary. A restart that was to be tried
    /// again is called off. `None` if there is nothing to wait for.
    pub fn terminate_child(&mut self, i: Index, out: &mut impl FnMut(Note)) -> Option<Action> {
        if self.is_served().is_err() {
            return None;
        }
        match self.children[i].state {
            State::Running => return Some(self.stop(i, State::Stopping)),
            // It had ended before its turn came.
            State::Exited(exit) => self.on_stopped(i, exit, out),
            State::Restarting | State::BackingOff => self.set(i, State::Down),
            State::Down
            | State::Starting
            | State::Stopping
            | State::CalledOff
            | State::Stuck
            | State::Free => {}
        }
        None
    }

    /// Forgets a child that is down.
    ///
    /// # Errors
    ///
    /// If it runs, or is being restarted, or the supervisor ends.
    pub fn delete_child(&mut self, i: Index, out: &mut impl FnMut(Note)) -> Result<(), Refusal> {
        self.is_served()?;
        self.is_down(i)?;
        self.forget(i, out);
        Ok(())
    }

    /// What is said of a child.
    pub fn status(&self, i: Index) -> Status {
        match self.children[i].state {
            State::Restarting | State::BackingOff => Status::Restarting,
            State::Down | State::Free => Status::Undefined,
            _ => Status::Running,
        }
    }

    /// Every child, as OTP lists them: the one started last comes first.
    pub fn newest_first(&self) -> impl Iterator<Item = (Index, Status)> + '_ {
        let slots = std::iter::successors(self.order.last(), |&i| self.order.before(i));
        slots.map(|i| (i, self.status(i)))
    }

    /// How many children there are. O(1).
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Who called is told by the driver, from how the start ended.
    pub(super) fn on_called_start_failed(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        self.take_down(i, out);
        if self.start_is_for == StartIsFor::Added && self.children[i].state != State::Free {
            self.forget(i, out);
        }
    }

    /// Whether a call has its turn: a shutdown may have overtaken it.
    fn is_served(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Serving => Ok(()),
            _ => Err(Refusal::Ending),
        }
    }

    fn is_down(&self, i: Index) -> Result<(), Refusal> {
        let Child { state, .. } = self.children[i];
        match state {
            State::Down => Ok(()),
            State::Restarting | State::BackingOff => Err(Refusal::Restarting),
            _ => Err(Refusal::Running),
        }
    }
}
