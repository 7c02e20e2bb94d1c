//! The other machine: what a supervisor of children without an order does next.
//!
//! Its children start, are restarted and stop each by itself, so there is no phase to be in the
//! middle of and nothing has to wait for its turn. The semantics are those of Elixir's
//! `DynamicSupervisor`, but for that.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Action, AutoShutdown, Backoff, Counts, Event, Exit, Incarnation, Index, Intensity, Note,
    Outcome, Refusal, Spec, Status,
    backoff::{Backoffs, Streak},
    child::place,
};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum State {
    Starting(Why),
    Running,
    Stopping,
    /// Its start is called off.
    CalledOff,
    /// Its last restart failed; it is tried again, which counts.
    Failed,
    /// Its restart, which was counted, waits for its backoff.
    BackingOff,
    /// Killed and still there.
    Stuck,
    /// There is no child in this slot.
    Free,
}

/// What a child is started for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Why {
    Boot,
    Call,
    Restart,
}

impl State {
    /// There is something of it that must be gone before the supervisor is.
    fn is_up(self) -> bool {
        matches!(self, Self::Starting(_) | Self::Running) || self.is_going()
    }

    fn is_going(self) -> bool {
        matches!(self, Self::Stopping | Self::CalledOff)
    }

    /// It can still end by itself, now or after a restart.
    fn is_on_its_own(self) -> bool {
        !self.is_going() && !matches!(self, Self::Stuck | Self::Free)
    }
}

type Child = crate::child::Child<State>;

/// What it goes through all children for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Sweep {
    None,
    /// Every slot from this one on is to be started.
    Boot(Index),
    /// Every slot from this one on is to be stopped.
    End(Index),
}

/// The state of one supervisor whose children have no order.
///
/// A step costs O(1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DynamicSupervisor {
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    max_children: usize,
    children: Vec<Child>,
    /// The least number of a first life.
    first: u32,
    free: Vec<Index>,
    counts: Counts,
    /// How many children are up in any way.
    up: usize,
    /// How many significant children there are that nobody stops.
    significant: usize,
    /// How many starts of the boot are under way, while it does not end.
    booting: usize,
    booted: bool,
    sweep: Sweep,
    ending: Option<Outcome>,
    backoffs: Backoffs,
    /// Of those children that failed.
    ///
    /// In an ordered supervisor the clock of the window stands still while a child starts:
    /// otherwise starts that are slow to fail would never be too many. Here the others go on
    /// meanwhile, and time with them; so restarts are counted for each child as well, however slow.
    streaks: BTreeMap<Index, Streak>,
    now: Duration,
}

impl DynamicSupervisor {
    /// A supervisor that starts with one child for each of `specs`, all at once: for Elixir's,
    /// none.
    pub fn new(intensity: Intensity, specs: impl IntoIterator<Item = Spec>) -> Self {
        let mut supervisor = Self {
            intensity,
            auto_shutdown: AutoShutdown::Never,
            max_children: usize::MAX,
            children: Vec::new(),
            first: 0,
            free: Vec::new(),
            counts: Counts::default(),
            up: 0,
            significant: 0,
            booting: 0,
            booted: false,
            sweep: Sweep::None,
            ending: None,
            backoffs: Backoffs::default(),
            streaks: BTreeMap::new(),
            now: Duration::ZERO,
        };
        for spec in specs {
            supervisor.add(spec, State::Starting(Why::Boot));
        }
        supervisor.booting = supervisor.children.len();
        supervisor
    }

    /// Allows so many children at once, those that are being restarted included. Defaults to any
    /// number.
    pub fn max_children(mut self, max_children: usize) -> Self {
        self.max_children = max_children;
        self
    }

    /// Sets whether it ends with its significant children. Defaults to never.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Sets how the restarts of those children are spaced that do not say so themselves. Defaults
    /// to `None`: at once.
    pub fn backoff(mut self, backoff: Option<Backoff>) -> Self {
        self.backoffs.default = backoff;
        self
    }

    /// Whether it ends with its significant children.
    pub fn heeds(&self) -> AutoShutdown {
        self.auto_shutdown
    }

    /// Sets how the restarts of one child are spaced.
    pub fn set_backoff(&mut self, child: Index, backoff: Backoff) {
        self.backoffs.set(child, backoff);
    }

    /// As [`Supervisor::step`](crate::Supervisor::step).
    ///
    /// # Panics
    ///
    /// If the event names a child that never existed.
    pub fn step(
        &mut self,
        event: Event,
        now: Duration,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        self.now = now;
        let action = match event {
            Event::Boot => {
                self.sweep = Sweep::Boot(0);
                None
            }
            Event::Started(it) => {
                self.on_started(it);
                None
            }
            Event::Ignored(it) => {
                self.on_ignored(it, out);
                None
            }
            Event::Exited(it, exit) => self.on_exited(it, exit, out),
            Event::Stuck(it) => {
                self.on_stuck(it);
                None
            }
            Event::Retry(it) => self.on_retry(it, out),
            Event::Call => Some(Action::Serve),
            Event::Done => None,
            Event::Shutdown => {
                self.end(Outcome::Shutdown);
                None
            }
        };
        action.or_else(|| self.advance(out))
    }

    /// Whether it has begun to go down for good, asked or not.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether the next step would go on with all children's start or stop.
    pub fn is_sweeping(&self) -> bool {
        self.sweep != Sweep::None
    }

    // ------------------------------------------------------------------ calls

    /// Adds a child and starts it.
    ///
    /// # Errors
    ///
    /// If there are as many as are allowed, or it is significant where that cannot be, or the
    /// supervisor ends.
    pub fn start_child(&mut self, spec: Spec) -> Result<Action, Refusal> {
        if !spec.fits(self.auto_shutdown) {
            return Err(Refusal::BadCombination);
        }
        if self.is_ending() {
            return Err(Refusal::Ending);
        }
        if self.counts.specs >= self.max_children {
            return Err(Refusal::MaxChildren);
        }
        let i = self.add(spec, State::Starting(Why::Call));
        self.first = self.children[i].number.wrapping_add(1);
        Ok(Action::Start(self.incarnation(i)))
    }

    /// Stops a child, or calls off its start or its restart. `None` if there is nothing to do:
    /// it is forgotten, or on its way down.
    pub fn terminate_child(&mut self, i: Index, out: &mut impl FnMut(Note)) -> Option<Action> {
        match self.children[i].state {
            State::Running => Some(self.stop(i, State::Stopping)),
            State::Starting(_) => Some(self.stop(i, State::CalledOff)),
            State::Failed | State::BackingOff => {
                self.forget(i, out);
                None
            }
            State::Stopping | State::CalledOff | State::Stuck | State::Free => None,
        }
    }

    /// What is said of a child.
    pub fn status(&self, i: Index) -> Status {
        match self.children[i].state {
            State::Failed | State::BackingOff => Status::Restarting,
            State::Free => Status::Undefined,
            _ => Status::Running,
        }
    }

    /// Every child, in no order that means anything.
    pub fn children(&self) -> impl Iterator<Item = (Index, Status)> + '_ {
        let known = |i: &Index| self.children[*i].state != State::Free;
        let slots = (0..self.children.len()).filter(known);
        slots.map(|i| (i, self.status(i)))
    }

    /// How many children there are. O(1).
    pub fn counts(&self) -> Counts {
        self.counts
    }

    // ------------------------------------------------------------------ what happened

    fn on_started(&mut self, it: Incarnation) {
        // A start that crossed with our request to stop is still being stopped.
        if let State::Starting(why) = self.children[it.child].state
            && self.is_current(it)
        {
            self.booting -= usize::from(why == Why::Boot);
            self.set(it.child, State::Running);
            self.backoffs.up(it.child, self.now);
            if let Some(streak) = self.streaks.get_mut(&it.child) {
                streak.up(self.now);
            }
        }
    }

    fn on_ignored(&mut self, it: Incarnation, out: &mut impl FnMut(Note)) {
        let state = self.children[it.child].state;
        if !self.is_current(it) {
            return;
        }
        if let State::Starting(why) = state {
            self.booting -= usize::from(why == Why::Boot);
            self.forget(it.child, out);
        } else if state.is_going() {
            self.forget(it.child, out);
        }
    }

    fn on_exited(
        &mut self,
        it: Incarnation,
        exit: Exit,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        let i = it.child;
        if !self.is_current(it) {
            return None;
        }
        match self.children[i].state {
            State::Starting(why) => return self.on_start_failed(i, why, out),
            State::Running if !self.is_ending() => return self.on_ended(i, exit, out),
            State::Running | State::Stopping => {
                let Child {
                    restart,
                    brutal_kill,
                    ..
                } = self.children[i];
                if !restart.accepts_at_dynamic_stop(brutal_kill, exit) {
                    out(Note::ShutdownError(i));
                }
                self.forget(i, out);
            }
            // However it ended: nobody has seen it start.
            State::CalledOff => self.forget(i, out),
            State::Failed | State::BackingOff | State::Stuck | State::Free => {}
        }
        None
    }

    fn on_start_failed(
        &mut self,
        i: Index,
        why: Why,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        match why {
            // Who called is told by the driver.
            Why::Call => self.forget(i, out),
            Why::Boot => {
                out(Note::StartError(i));
                // Its slot is kept for the one who asks how it ended.
                self.set(i, State::Failed);
                self.end(Outcome::StartFailed(i));
            }
            Why::Restart => {
                out(Note::StartError(i));
                self.children[i].pass();
                self.set(i, State::Failed);
                if !self.is_ending() {
                    return Some(Action::Wait(self.incarnation(i), Duration::ZERO));
                }
            }
        }
        None
    }

    /// It ended by itself.
    fn on_ended(&mut self, i: Index, exit: Exit, out: &mut impl FnMut(Note)) -> Option<Action> {
        let Child {
            restart,
            significant,
            ..
        } = self.children[i];
        let restarts = restart.restarts_after(exit);
        if restarts || exit.is_abnormal() {
            out(Note::ChildTerminated(i));
        }
        if restarts {
            self.children[i].pass();
            return self.restart(i, out);
        }
        out(Note::LeftDown(i));
        let ends = self.auto_shutdown.ends(significant, self.significant);
        if ends {
            out(Note::AutoShutdown(i));
        }
        self.forget(i, out);
        if ends {
            self.end(Outcome::AutoShutdown(i));
        }
        None
    }

    fn on_retry(&mut self, it: Incarnation, out: &mut impl FnMut(Note)) -> Option<Action> {
        let i = it.child;
        if !self.is_current(it) || self.is_ending() {
            return None;
        }
        match self.children[i].state {
            State::Failed => self.restart(i, out),
            State::BackingOff => Some(self.start_again(i)),
            _ => None,
        }
    }

    fn on_stuck(&mut self, it: Incarnation) {
        if self.is_current(it) && self.children[it.child].state.is_up() {
            self.set(it.child, State::Stuck);
            self.end(Outcome::Stuck(it.child));
        }
    }

    /// Counts a restart, and begins it, now or later, or gives up.
    fn restart(&mut self, i: Index, out: &mut impl FnMut(Note)) -> Option<Action> {
        let allowed = self.is_allowed_in_a_row(i);
        let left = allowed.then(|| self.intensity.count(self.now)).flatten();
        let Some(left) = left else {
            out(Note::MaxIntensity(i));
            self.set(i, State::Failed);
            self.end(Outcome::MaxIntensity(i));
            return None;
        };
        out(Note::Restarting { child: i, left });
        let delay = self.backoffs.failed(i, self.now);
        if delay.is_zero() {
            return Some(self.start_again(i));
        }
        self.set(i, State::BackingOff);
        Some(Action::Wait(self.incarnation(i), delay))
    }

    /// Counts a restart of one child among those without a long run between them.
    fn is_allowed_in_a_row(&mut self, i: Index) -> bool {
        let streak = self.streaks.entry(i).or_default();
        let window = self.intensity.max_seconds();
        let before = streak.failed(self.now, |run| run > window);
        (before as usize) < self.intensity.max_restarts()
    }

    fn start_again(&mut self, i: Index) -> Action {
        self.set(i, State::Starting(Why::Restart));
        Action::Start(self.incarnation(i))
    }

    /// From here everything goes down, for good.
    fn end(&mut self, outcome: Outcome) {
        if outcome.keep(&mut self.ending) {
            self.sweep = Sweep::End(0);
        }
    }

    /// Goes on with its way through all children.
    fn advance(&mut self, out: &mut impl FnMut(Note)) -> Option<Action> {
        loop {
            match self.sweep {
                Sweep::Boot(i) if i < self.children.len() => {
                    self.sweep = Sweep::Boot(i + 1);
                    if self.children[i].state == State::Starting(Why::Boot) {
                        return Some(Action::Start(self.incarnation(i)));
                    }
                }
                Sweep::End(i) if i < self.children.len() => {
                    self.sweep = Sweep::End(i + 1);
                    match self.children[i].state {
                        State::Running => return Some(self.stop(i, State::Stopping)),
                        State::Starting(_) => return Some(self.stop(i, State::CalledOff)),
                        _ => {}
                    }
                }
                Sweep::Boot(_) if self.booting == 0 && !self.booted => {
                    self.booted = true;
                    self.sweep = Sweep::None;
                    out(Note::Booted);
                }
                Sweep::End(_) if self.up == 0 => return self.ending.map(Action::Finish),
                Sweep::None | Sweep::Boot(_) | Sweep::End(_) => return None,
            }
        }
    }

    // ------------------------------------------------------------------ small things

    fn is_current(&self, it: Incarnation) -> bool {
        self.children[it.child].number == it.number
    }

    fn stop(&mut self, i: Index, state: State) -> Action {
        if self.children[i].state == State::Starting(Why::Boot) {
            self.booting -= 1;
        }
        self.set(i, state);
        Action::Stop(self.incarnation(i))
    }

    /// Changes a child's state, and what is counted with it.
    fn set(&mut self, i: Index, state: State) {
        let before = std::mem::replace(&mut self.children[i].state, state);
        let active = |state| usize::from(state == State::Running);
        let up = |state: State| usize::from(state.is_up());
        self.counts.active = self.counts.active + active(state) - active(before);
        self.up = self.up + up(state) - up(before);
        if self.children[i].significant {
            let counts = |state: State| usize::from(state.is_on_its_own());
            self.significant = self.significant + counts(state) - counts(before);
        }
    }

    fn add(&mut self, spec: Spec, state: State) -> Index {
        let child = Child::new(spec, State::Free, self.first);
        let i = place(&mut self.children, &mut self.free, child);
        self.counts.add(spec.child_type);
        self.set(i, state);
        i
    }

    fn forget(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        self.set(i, State::Free);
        let child = &mut self.children[i];
        child.pass();
        self.counts.remove(child.kind);
        self.free.push(i);
        self.backoffs.forget(i);
        self.streaks.remove(&i);
        out(Note::Forgotten(i));
    }

    fn incarnation(&self, child: Index) -> Incarnation {
        let number = self.children[child].number;
        Incarnation { child, number }
    }
}

#[cfg(test)]
mod tests;
