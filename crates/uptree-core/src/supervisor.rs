//! The machine: what a supervisor of ordered children does next.
//!
//! Two ideas carry it. A strategy is a run of the start order, stopped backwards and then started
//! forwards. And a supervisor does one thing at a time: what happens meanwhile waits in a mailbox
//! and is looked at in order, as in OTP, where the mailbox is the process's own. Only a
//! [`Shutdown`](Event::Shutdown) does not wait.

mod calls;

use std::{collections::VecDeque, time::Duration};

use crate::{
    Action, Affected, AutoShutdown, Backoff, Counts, Event, Exit, Incarnation, Index, Intensity,
    Note, Outcome, Restart, Spec, Strategy, backoff::Backoffs, child::place, order::Order,
};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum State {
    /// Known and not running: not yet started, ignored, or ended for good (OTP's `undefined`).
    Down,
    Starting,
    Running,
    Stopping,
    /// Its start is called off.
    CalledOff,
    /// Gone by itself; the exit waits in the mailbox.
    Exited(Exit),
    /// Its last restart failed; the retry is in the mailbox.
    Restarting,
    /// Its restart, which was counted, waits for its backoff.
    BackingOff,
    /// Killed and still there.
    Stuck,
    /// There is no child in this slot.
    Free,
}

impl State {
    /// It is in flight on its way down.
    fn is_going(self) -> bool {
        matches!(self, Self::Stopping | Self::CalledOff)
    }
}

type Child = crate::child::Child<State>;

/// What the supervisor is in the middle of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Phase {
    /// Nothing: the mailbox is looked at.
    Idle,
    /// Going backwards from `next` to `first`, stopping what runs, then on to `then`.
    Stopping {
        next: Option<Index>,
        first: Option<Index>,
        then: Then,
    },
    /// Going forwards from `next` to `last`, starting what is down.
    Starting {
        next: Option<Index>,
        last: Option<Index>,
        boot: bool,
    },
    /// A call is served.
    Serving,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Then {
    /// Start those who share the fate of this child.
    Start(Index),
    /// Start them after a delay.
    Wait(Index, Duration),
    Finish,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum StartIsFor {
    /// The order: at boot, or at a restart.
    Order,
    /// A call, which has added the child.
    Added,
    /// A call for a child that was known.
    Known,
}

/// What waits until the supervisor is idle.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Message {
    Exited(Incarnation),
    /// A failed restart is tried again.
    Retry(Incarnation),
    /// A restart has waited for its backoff.
    Waited(Incarnation),
    Call,
}

/// The state of one supervisor.
///
/// A step costs O(1), amortised over the children that it starts or stops.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Supervisor {
    strategy: Strategy,
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    children: Vec<Child>,
    order: Order,
    /// The least number of a first life.
    first: u32,
    free: Vec<Index>,
    counts: Counts,
    /// How many significant children are running or restarting.
    significant: usize,
    phase: Phase,
    /// The child that is being waited for.
    in_flight: Option<Index>,
    /// What the latest start is for.
    start_is_for: StartIsFor,
    mailbox: VecDeque<Message>,
    ending: Option<Outcome>,
    backoffs: Backoffs,
    /// How many children are backing off.
    backing_off: usize,
    clock: Clock,
}

/// The clock that restarts are counted by. It stands still while the supervisor is busy: otherwise
/// a start that is slow to fail would never be one too many.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Clock {
    now: Duration,
    /// For how long it has stood still before.
    stood_still: Duration,
    /// Since when it stands still now.
    stands_since: Option<Duration>,
}

impl Clock {
    /// Stops it or lets it go on.
    fn stand_still(&mut self, busy: bool) {
        match self.stands_since {
            None if busy => self.stands_since = Some(self.now),
            Some(since) if !busy => {
                self.stood_still += self.now.saturating_sub(since);
                self.stands_since = None;
            }
            _ => {}
        }
    }

    fn time(self) -> Duration {
        let seen = self.stands_since.unwrap_or(self.now);
        seen.saturating_sub(self.stood_still)
    }
}

impl Supervisor {
    /// A supervisor of one child for each of `specs`, in start order.
    pub fn new(
        strategy: Strategy,
        intensity: Intensity,
        specs: impl IntoIterator<Item = Spec>,
    ) -> Self {
        let mut counts = Counts::default();
        let child = |spec: Spec| {
            counts.add(spec.child_type);
            Child::new(spec, State::Down, 0)
        };
        let children: Vec<_> = specs.into_iter().map(child).collect();
        Self {
            strategy,
            intensity,
            auto_shutdown: AutoShutdown::Never,
            order: Order::of(children.len()),
            children,
            first: 0,
            free: Vec::new(),
            counts,
            significant: 0,
            phase: Phase::Idle,
            in_flight: None,
            start_is_for: StartIsFor::Order,
            mailbox: VecDeque::new(),
            ending: None,
            backoffs: Backoffs::default(),
            backing_off: 0,
            clock: Clock::default(),
        }
    }

    /// Sets whether it ends with its significant children. Defaults to never.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Sets how the restarts of those children are spaced that do not say so themselves. Defaults
    /// to `None`: at once, as in OTP.
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

    /// Takes in `event`, which happened at `now` (counted from any fixed moment), hands the notes
    /// that explain the decision to `out`, and answers with the next thing to do, if any.
    ///
    /// # Panics
    ///
    /// If the event names a child that does not exist.
    pub fn step(
        &mut self,
        event: Event,
        now: Duration,
        out: &mut impl FnMut(Note),
    ) -> Option<Action> {
        self.clock.now = now;
        match event {
            Event::Boot => {
                let (next, last) = (self.order.first(), self.order.last());
                let boot = true;
                self.phase = Phase::Starting { next, last, boot };
            }
            Event::Started(it) => self.on_started(it),
            Event::Ignored(it) => self.on_ignored(it, out),
            Event::Exited(it, exit) => self.on_exited(it, exit, out),
            Event::Stuck(it) => self.on_stuck(it),
            Event::Retry(it) => self.mailbox.push_back(Message::Waited(it)),
            Event::Call => self.mailbox.push_back(Message::Call),
            Event::Done => {}
            Event::Shutdown => self.end(Outcome::Shutdown),
        }
        let action = self.advance(out);
        let busy = !matches!(self.phase, Phase::Idle) || self.backing_off > 0;
        self.clock.stand_still(busy);
        action
    }

    /// Whether it has begun to go down for good, asked or not.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether `it` is the current incarnation of its child.
    fn is_current(&self, it: Incarnation) -> bool {
        self.children[it.child].number == it.number
    }

    fn on_started(&mut self, it: Incarnation) {
        // A start that crossed with our request to stop is still being stopped.
        if self.is(it, State::Starting) {
            self.set(it.child, State::Running);
            self.backoffs.up(it.child, self.clock.now);
        }
    }

    fn on_ignored(&mut self, it: Incarnation, out: &mut impl FnMut(Note)) {
        let state = self.children[it.child].state;
        if self.is_current(it) && (state == State::Starting || state.is_going()) {
            self.take_down(it.child, out);
        }
    }

    fn on_exited(&mut self, it: Incarnation, exit: Exit, out: &mut impl FnMut(Note)) {
        if !self.is_current(it) {
            return;
        }
        match self.children[it.child].state {
            State::Starting => self.on_start_failed(it.child, out),
            State::Stopping => self.on_stopped(it.child, exit, out),
            // However it ended: nobody has seen it start.
            State::CalledOff => self.take_down(it.child, out),
            State::Running => {
                self.set(it.child, State::Exited(exit));
                self.mailbox.push_back(Message::Exited(it));
            }
            State::Down
            | State::Exited(_)
            | State::Restarting
            | State::BackingOff
            | State::Stuck
            | State::Free => {}
        }
    }

    /// A failed start ends the boot; at a restart it is tried again once the mailbox before it has
    /// been looked at, and each try counts. Whoever called for a start is told, and nobody else.
    fn on_start_failed(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        if self.start_is_for != StartIsFor::Order {
            return self.on_called_start_failed(i, out);
        }
        out(Note::StartError(i));
        self.take_down(i, out);
        match self.phase {
            Phase::Starting { boot: true, .. } => self.end(Outcome::StartFailed(i)),
            Phase::Starting { boot: false, .. } => {
                self.set(i, State::Restarting);
                self.mailbox.push_back(Message::Retry(self.incarnation(i)));
                self.phase = Phase::Idle;
            }
            // A shutdown had overtaken the start.
            Phase::Stopping { .. } | Phase::Serving | Phase::Idle => {}
        }
    }

    fn on_stopped(&mut self, i: Index, exit: Exit, out: &mut impl FnMut(Note)) {
        let Child {
            restart,
            brutal_kill,
            ..
        } = self.children[i];
        if !restart.accepts_at_stop(brutal_kill, exit) {
            out(Note::ShutdownError(i));
        }
        self.take_down(i, out);
    }

    fn on_stuck(&mut self, it: Incarnation) {
        let state = self.children[it.child].state;
        let up = matches!(state, State::Starting | State::Running) || state.is_going();
        if self.is_current(it) && up {
            self.set(it.child, State::Stuck);
            self.end(Outcome::Stuck(it.child));
        }
    }

    /// Marks a child that is gone as down, ready for its next incarnation; a temporary one is
    /// forgotten.
    fn take_down(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        self.set(i, State::Down);
        self.children[i].pass();
        if self.children[i].restart == Restart::Temporary {
            self.forget(i, out);
        }
    }

    /// From here everything goes down, for good.
    fn end(&mut self, outcome: Outcome) {
        if outcome.keep(&mut self.ending) {
            self.phase = Phase::Stopping {
                next: self.order.last(),
                first: self.order.first(),
                then: Then::Finish,
            };
        }
    }

    /// Goes on with what it is in the middle of, until there is one thing to do or to wait for.
    fn advance(&mut self, out: &mut impl FnMut(Note)) -> Option<Action> {
        loop {
            let in_flight = self.in_flight.map(|i| self.children[i].state);
            match &mut self.phase {
                Phase::Stopping { next, first, then } => {
                    if in_flight.is_some_and(State::is_going) {
                        return None;
                    }
                    let Some(i) = *next else {
                        match *then {
                            Then::Start(failed) => self.start_affected(failed),
                            Then::Wait(failed, delay) => {
                                self.phase = Phase::Idle;
                                return Some(Action::Wait(self.incarnation(failed), delay));
                            }
                            Then::Finish => return self.ending.map(Action::Finish),
                        }
                        continue;
                    };
                    // Before anything is done to it: it may be taken out of the order.
                    *next = match *first == Some(i) {
                        true => None,
                        false => self.order.before(i),
                    };
                    match self.children[i].state {
                        State::Starting => return Some(self.stop(i, State::CalledOff)),
                        State::Running => return Some(self.stop(i, State::Stopping)),
                        State::Exited(exit) => self.on_stopped(i, exit, out),
                        State::Restarting => self.set(i, State::Down),
                        State::BackingOff if !self.is_waited_for(i) => self.set(i, State::Down),
                        State::Stopping
                        | State::CalledOff
                        | State::BackingOff
                        | State::Down
                        | State::Stuck
                        | State::Free => {}
                    }
                }
                Phase::Starting { next, last, boot } => {
                    if in_flight == Some(State::Starting) {
                        return None;
                    }
                    let Some(i) = *next else {
                        if *boot {
                            out(Note::Booted);
                        }
                        self.phase = Phase::Idle;
                        continue;
                    };
                    *next = match *last == Some(i) {
                        true => None,
                        false => self.order.after(i),
                    };
                    if self.children[i].state == State::Down {
                        return Some(self.start(i, StartIsFor::Order));
                    }
                }
                Phase::Serving => {
                    if in_flight.is_some_and(|it| it == State::Starting || it.is_going()) {
                        return None;
                    }
                    self.phase = Phase::Idle;
                }
                Phase::Idle => match self.mailbox.pop_front()? {
                    Message::Exited(it) => self.on_message_exited(it, out),
                    Message::Retry(it) => {
                        if self.is(it, State::Restarting) {
                            self.restart(it.child, out);
                        }
                    }
                    Message::Waited(it) => {
                        if self.is(it, State::BackingOff) {
                            self.stop_affected(it.child, Then::Start(it.child));
                        }
                    }
                    Message::Call => {
                        self.phase = Phase::Serving;
                        self.in_flight = None;
                        return Some(Action::Serve);
                    }
                },
            }
        }
    }

    fn on_message_exited(&mut self, it: Incarnation, out: &mut impl FnMut(Note)) {
        let i = it.child;
        // A group restart may have taken it down before its turn came.
        let Child {
            state: State::Exited(exit),
            restart,
            significant,
            ..
        } = self.children[i]
        else {
            return;
        };
        if !self.is_current(it) {
            return;
        }
        let restarts = restart.restarts_after(exit);
        if restarts || exit.is_abnormal() {
            out(Note::ChildTerminated(i));
        }
        if restarts {
            self.take_down(i, out);
            return self.restart(i, out);
        }
        out(Note::LeftDown(i));
        let ends = self.auto_shutdown.ends(significant, self.significant);
        if ends {
            out(Note::AutoShutdown(i));
        }
        self.take_down(i, out);
        if ends {
            self.end(Outcome::AutoShutdown(i));
        }
    }

    /// Recycles the children that share the fate of `failed`, or gives up.
    ///
    /// As in OTP every one of them is started, also those that had finished or been ignored, such
    /// as a migrator; temporary ones are forgotten.
    fn restart(&mut self, failed: Index, out: &mut impl FnMut(Note)) {
        let Some(left) = self.intensity.count(self.clock.time()) else {
            out(Note::MaxIntensity(failed));
            self.set(failed, State::Down);
            return self.end(Outcome::MaxIntensity(failed));
        };
        let child = failed;
        out(Note::Restarting { child, left });
        let delay = self.backoffs.failed(failed, self.clock.now);
        if delay.is_zero() {
            self.stop_affected(failed, Then::Start(failed));
        } else {
            // The others go down now: they need it.
            self.set(failed, State::BackingOff);
            self.stop_affected(failed, Then::Wait(failed, delay));
        }
    }

    fn stop_affected(&mut self, failed: Index, then: Then) {
        let (first, next) = self.affected(failed);
        self.phase = Phase::Stopping { next, first, then };
    }

    fn start_affected(&mut self, failed: Index) {
        let (next, last) = self.affected(failed);
        let boot = false;
        self.phase = Phase::Starting { next, last, boot };
    }

    /// The first and the last of those who share the fate of `failed`.
    fn affected(&self, failed: Index) -> (Option<Index>, Option<Index>) {
        match self.strategy.affected() {
            Affected::Itself => (Some(failed), Some(failed)),
            Affected::ItselfAndLater => (Some(failed), self.order.last()),
            Affected::All => (self.order.first(), self.order.last()),
        }
    }

    /// Whether `i` is the one whose restart the group is being stopped for.
    fn is_waited_for(&self, i: Index) -> bool {
        matches!(self.phase, Phase::Stopping { then: Then::Wait(failed, _), .. } if failed == i)
    }

    fn is(&self, it: Incarnation, state: State) -> bool {
        self.is_current(it) && self.children[it.child].state == state
    }

    // ------------------------------------------------------------------ small things

    fn start(&mut self, i: Index, start_is_for: StartIsFor) -> Action {
        self.set(i, State::Starting);
        self.start_is_for = start_is_for;
        self.in_flight = Some(i);
        Action::Start(self.incarnation(i))
    }

    fn stop(&mut self, i: Index, state: State) -> Action {
        self.set(i, state);
        self.in_flight = Some(i);
        Action::Stop(self.incarnation(i))
    }

    /// Changes a child's state, and what is counted with it.
    fn set(&mut self, i: Index, state: State) {
        let child = &mut self.children[i];
        let before = std::mem::replace(&mut child.state, state);
        let active = |state| usize::from(state == State::Running);
        self.counts.active = self.counts.active + active(state) - active(before);
        let backing_off = |state| usize::from(state == State::BackingOff);
        self.backing_off = self.backing_off + backing_off(state) - backing_off(before);
        if child.significant {
            let counts = |state| usize::from(!matches!(state, State::Down | State::Free));
            self.significant = self.significant + counts(state) - counts(before);
        }
    }

    /// Takes a free slot for a child, the last in the order.
    fn add(&mut self, spec: Spec) -> Index {
        let child = Child::new(spec, State::Down, self.first);
        let i = place(&mut self.children, &mut self.free, child);
        self.order.push(i);
        self.counts.add(spec.child_type);
        i
    }

    /// Frees the slot of a child that is down.
    fn forget(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        self.set(i, State::Free);
        self.order.remove(i);
        self.counts.remove(self.children[i].kind);
        self.free.push(i);
        self.backoffs.forget(i);
        out(Note::Forgotten(i));
    }

    fn incarnation(&self, child: Index) -> Incarnation {
        let number = self.children[child].number;
        Incarnation { child, number }
    }
}

#[cfg(test)]
mod tests;
