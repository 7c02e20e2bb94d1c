//! The machine: what a supervisor of static children does next.
//!
//! Two ideas carry it. A strategy is a range of the start order, stopped backwards and then
//! started forwards. And a supervisor does one thing at a time: what happens meanwhile waits in a
//! mailbox and is looked at in order, as in OTP, where the mailbox is the process's own. Only a
//! [`Shutdown`](Event::Shutdown) does not wait.

use std::{collections::VecDeque, ops::Range, time::Duration};

use crate::{Exit, Intensity, Restart, Spec, Strategy};

/// Position of a child in the start order.
pub type Index = usize;

/// One life of a child: its place, and how many lives it had before.
///
/// Every event carries it, so that a late word from an earlier life counts for nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Incarnation {
    /// Which child.
    pub child: Index,
    /// How often it had been started before: 0 at boot.
    pub number: u64,
}

impl Incarnation {
    /// The first life of `child`.
    pub fn first(child: Index) -> Self {
        Self { child, number: 0 }
    }

    /// The life after this one.
    pub fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }
}

/// What happened since the last step.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// Begin; sent once, first.
    Boot,
    /// A child asked to start is ready.
    Started(Incarnation),
    /// A child asked to start did its work and left nothing to supervise (OTP's `ignore`).
    Ignored(Incarnation),
    /// A child is gone, for whatever reason; before it was ready this is a failed start.
    Exited(Incarnation, Exit),
    /// A child was killed and is still there, or something below it is: it will not be waited for.
    Stuck(Incarnation),
    /// Stop everything, last started first. May come at any moment, also again.
    Shutdown,
}

/// The one thing to do next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Start this incarnation and report [`Event::Started`], [`Event::Ignored`] or
    /// [`Event::Exited`].
    Start(Incarnation),
    /// Stop this incarnation as its spec says, or call off its start, and report
    /// [`Event::Exited`] or [`Event::Stuck`].
    Stop(Incarnation),
    /// Every child is down; the supervisor itself ends.
    Finish(Outcome),
}

/// Why the supervisor ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// It was asked to.
    Shutdown,
    /// This child could not be started at boot.
    StartFailed(Index),
    /// This child's restart was one more than the limit allows.
    MaxIntensity(Index),
    /// This child was killed and is still there. Outranks the others.
    Stuck(Index),
}

/// What explains a decision, in the order in which it was taken.
///
/// The first four are OTP's error reports; whoever drives the machine knows the reasons.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Note {
    /// OTP's `start_error`: a start at boot or at a restart failed.
    StartError(Index),
    /// OTP's `child_terminated`: a child ended by itself and that is worth a report.
    ChildTerminated(Index),
    /// OTP's `shutdown_error`: a child did not answer a stop as it should have.
    ShutdownError(Index),
    /// OTP's `shutdown` with `reached_max_restart_intensity`.
    MaxIntensity(Index),
    /// A restart begins with this child; so many more are allowed within the time.
    Restarting {
        /// The child that failed.
        child: Index,
        /// How many more restarts are allowed now.
        left: usize,
    },
    /// A child ended by itself and stays down.
    LeftDown(Index),
    /// Every child has been started for the first time.
    Booted,
}

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
    /// Its last restart failed; the retry waits in the mailbox.
    Restarting,
    /// A temporary child that is down: nothing starts it again.
    Forgotten,
    /// Killed and still there.
    Stuck,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Child {
    spec: Spec,
    state: State,
    /// The number of the current incarnation, or of the next one while it is down.
    number: u64,
}

/// What the supervisor is in the middle of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Phase {
    /// Nothing: the mailbox is looked at.
    Idle,
    /// Going backwards through `range`, stopping what runs, then on to `then`. The child at
    /// `range.end` may be the one in flight.
    Stopping { range: Range<Index>, then: Then },
    /// Going forwards through `range`, starting what is down. The child before `range.start` may
    /// be the one in flight.
    Starting { range: Range<Index>, boot: bool },
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Then {
    Start(Range<Index>),
    Finish,
}

/// What waits until the supervisor is idle.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Message {
    Exited(Incarnation),
    Retry(Index),
}

/// The state of one supervisor.
///
/// A step costs O(1), amortised over the children that it starts or stops.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Supervisor {
    strategy: Strategy,
    intensity: Intensity,
    children: Vec<Child>,
    phase: Phase,
    mailbox: VecDeque<Message>,
    ending: Option<Outcome>,
}

impl Supervisor {
    /// A supervisor of one child for each of `specs`, in start order.
    pub fn new(
        strategy: Strategy,
        intensity: Intensity,
        specs: impl IntoIterator<Item = Spec>,
    ) -> Self {
        let child = |spec| Child {
            spec,
            state: State::Down,
            number: 0,
        };
        Self {
            strategy,
            intensity,
            children: specs.into_iter().map(child).collect(),
            phase: Phase::Idle,
            mailbox: VecDeque::new(),
            ending: None,
        }
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
        match event {
            Event::Boot => {
                let range = 0..self.children.len();
                self.phase = Phase::Starting { range, boot: true };
            }
            Event::Started(it) => self.on_started(it),
            Event::Ignored(it) => self.on_ignored(it),
            Event::Exited(it, exit) => self.on_exited(it, exit, out),
            Event::Stuck(it) => self.on_stuck(it),
            Event::Shutdown => self.end(Outcome::Shutdown),
        }
        self.advance(now, out)
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
        if self.is_current(it) && self.children[it.child].state == State::Starting {
            self.children[it.child].state = State::Running;
        }
    }

    fn on_ignored(&mut self, it: Incarnation) {
        let state = self.children[it.child].state;
        let ends = matches!(state, State::Starting | State::Stopping | State::CalledOff);
        if self.is_current(it) && ends {
            self.take_down(it.child);
        }
    }

    fn on_exited(&mut self, it: Incarnation, exit: Exit, out: &mut impl FnMut(Note)) {
        if !self.is_current(it) {
            return;
        }
        let child = &mut self.children[it.child];
        match child.state {
            State::Starting => self.on_start_failed(it.child, out),
            State::Stopping => self.on_stopped(it.child, exit, out),
            // However it ended: nobody has seen it start.
            State::CalledOff => self.take_down(it.child),
            State::Running => {
                child.state = State::Exited(exit);
                self.mailbox.push_back(Message::Exited(it));
            }
            State::Down
            | State::Exited(_)
            | State::Restarting
            | State::Forgotten
            | State::Stuck => {}
        }
    }

    /// A failed start ends the boot; at a restart it is tried again once the mailbox before it has
    /// been looked at, and each try counts.
    fn on_start_failed(&mut self, i: Index, out: &mut impl FnMut(Note)) {
        out(Note::StartError(i));
        self.take_down(i);
        match self.phase {
            Phase::Starting { boot: true, .. } => self.end(Outcome::StartFailed(i)),
            Phase::Starting { boot: false, .. } => {
                self.children[i].state = State::Restarting;
                self.mailbox.push_back(Message::Retry(i));
                self.phase = Phase::Idle;
            }
            // The start had been overtaken by a shutdown.
            Phase::Stopping { .. } | Phase::Idle => {}
        }
    }

    fn on_stopped(&mut self, i: Index, exit: Exit, out: &mut impl FnMut(Note)) {
        let Spec { restart, shutdown } = self.children[i].spec;
        if !restart.accepts_at_stop(shutdown, exit) {
            out(Note::ShutdownError(i));
        }
        self.take_down(i);
    }

    fn on_stuck(&mut self, it: Incarnation) {
        let state = self.children[it.child].state;
        let up = !matches!(
            state,
            State::Down | State::Exited(_) | State::Restarting | State::Forgotten | State::Stuck
        );
        if self.is_current(it) && up {
            self.children[it.child].state = State::Stuck;
            self.end(Outcome::Stuck(it.child));
        }
    }

    /// Marks a child that is gone as down, ready for its next incarnation.
    fn take_down(&mut self, i: Index) {
        let child = &mut self.children[i];
        child.number += 1;
        child.state = match child.spec.restart {
            Restart::Temporary => State::Forgotten,
            Restart::Permanent | Restart::Transient => State::Down,
        };
    }

    /// From here everything goes down, for good. The first reason to end is kept, unless a child
    /// is stuck: then the process cannot end well, and must say so.
    fn end(&mut self, outcome: Outcome) {
        let outranks = matches!(outcome, Outcome::Stuck(_));
        if self.ending.is_none() {
            let range = 0..self.children.len();
            let then = Then::Finish;
            self.phase = Phase::Stopping { range, then };
            self.ending = Some(outcome);
        } else if outranks && !matches!(self.ending, Some(Outcome::Stuck(_))) {
            self.ending = Some(outcome);
        }
    }

    /// Goes on with what it is in the middle of, until there is one thing to do or to wait for.
    fn advance(&mut self, now: Duration, out: &mut impl FnMut(Note)) -> Option<Action> {
        loop {
            match &mut self.phase {
                Phase::Stopping { range, then } => {
                    let in_flight = self.children.get(range.end);
                    let waited_for = [State::Stopping, State::CalledOff];
                    if in_flight.is_some_and(|child| waited_for.contains(&child.state)) {
                        return None;
                    }
                    let Some(i) = range.next_back() else {
                        match std::mem::replace(then, Then::Finish) {
                            Then::Start(range) => {
                                self.phase = Phase::Starting { range, boot: false };
                            }
                            Then::Finish => return self.ending.map(Action::Finish),
                        }
                        continue;
                    };
                    match self.children[i].state {
                        State::Starting => {
                            self.children[i].state = State::CalledOff;
                            return Some(Action::Stop(self.incarnation(i)));
                        }
                        State::Running => {
                            self.children[i].state = State::Stopping;
                            return Some(Action::Stop(self.incarnation(i)));
                        }
                        State::Exited(exit) => self.on_stopped(i, exit, out),
                        State::Restarting => self.children[i].state = State::Down,
                        State::Stopping
                        | State::CalledOff
                        | State::Down
                        | State::Forgotten
                        | State::Stuck => {}
                    }
                }
                Phase::Starting { range, boot } => {
                    let in_flight = range.start.checked_sub(1).map(|i| self.children[i].state);
                    if in_flight == Some(State::Starting) {
                        return None;
                    }
                    let Some(i) = range.next() else {
                        if *boot {
                            out(Note::Booted);
                        }
                        self.phase = Phase::Idle;
                        continue;
                    };
                    if self.children[i].state == State::Down {
                        self.children[i].state = State::Starting;
                        return Some(Action::Start(self.incarnation(i)));
                    }
                }
                Phase::Idle => match self.mailbox.pop_front()? {
                    Message::Exited(it) => self.on_message_exited(it, now, out),
                    Message::Retry(i) => {
                        if self.children[i].state == State::Restarting {
                            self.restart(i, now, out);
                        }
                    }
                },
            }
        }
    }

    fn on_message_exited(&mut self, it: Incarnation, now: Duration, out: &mut impl FnMut(Note)) {
        let i = it.child;
        // A group restart may have taken it down before its turn came.
        let State::Exited(exit) = self.children[i].state else {
            return;
        };
        if !self.is_current(it) {
            return;
        }
        let restart = self.children[i].spec.restart.restarts_after(exit);
        if restart || exit.is_abnormal() {
            out(Note::ChildTerminated(i));
        }
        self.take_down(i);
        if restart {
            self.restart(i, now, out);
        } else {
            out(Note::LeftDown(i));
        }
    }

    /// Recycles the children that share the fate of `failed`, or gives up.
    ///
    /// As in OTP every one of them is started, also those that had finished or been ignored, such
    /// as a migrator; temporary ones are forgotten.
    fn restart(&mut self, failed: Index, now: Duration, out: &mut impl FnMut(Note)) {
        let Some(left) = self.intensity.count(now) else {
            out(Note::MaxIntensity(failed));
            self.children[failed].state = State::Down;
            return self.end(Outcome::MaxIntensity(failed));
        };
        let child = failed;
        out(Note::Restarting { child, left });
        let range = self.strategy.affected(failed, self.children.len());
        let then = Then::Start(range.clone());
        self.phase = Phase::Stopping { range, then };
    }

    fn incarnation(&self, child: Index) -> Incarnation {
        let number = self.children[child].number;
        Incarnation { child, number }
    }
}

#[cfg(test)]
mod tests;
