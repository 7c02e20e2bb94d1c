//! What a machine is told and what it answers: the words that the two machines share.

use std::time::Duration;

use crate::{ChildType, Exit};

/// A child's slot: where it is kept, for as long as its supervisor knows it.
///
/// At first the slots are the start order; a child that is added takes a free one.
pub type Index = usize;

/// One life of a child: its slot, and a number.
///
/// Every event carries it, so that a late word from an earlier life counts for nothing: each life
/// of a child has the number after the one before, and a child that is added begins with one that
/// is greater than any that its slot has had, and than the first of any that was added before it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Incarnation {
    /// Which child.
    pub child: Index,
    /// Which of the lives in that slot: 0 at boot.
    pub number: u32,
}

impl Incarnation {
    /// The first life of one of the children that a supervisor begins with.
    pub fn first(child: Index) -> Self {
        Self { child, number: 0 }
    }

    /// The life after this one.
    pub fn next(self) -> Self {
        Self {
            number: self.number.wrapping_add(1),
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
    /// The time that [`Action::Wait`] asked for is over.
    Retry(Incarnation),
    /// Somebody calls; answered with [`Action::Serve`] when it is the call's turn.
    Call,
    /// What the last action asked for has been done, or begun.
    Done,
    /// Stop everything. May come at any moment, also again.
    Shutdown,
}

/// The one thing to do next; [`Event::Done`] tells that it is done, or begun, and asks for more.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Start this incarnation and report [`Event::Started`], [`Event::Ignored`] or
    /// [`Event::Exited`].
    Start(Incarnation),
    /// Stop this incarnation as its spec says, or call off its start, and report
    /// [`Event::Exited`] or [`Event::Stuck`].
    Stop(Incarnation),
    /// Report [`Event::Retry`] after this delay and its jitter; after none, once everything that
    /// waits to be reported by now has been.
    Wait(Incarnation, Duration),
    /// Serve the call that has waited longest, by the machine's own methods, and do what they
    /// answer with.
    Serve,
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
    /// This significant child ended.
    AutoShutdown(Index),
    /// This child was killed and is still there. Outranks the others.
    Stuck(Index),
}

impl Outcome {
    /// Keeps the first reason to end, unless a child is stuck: then the process cannot end well,
    /// and must say so. Says whether the end begins here.
    pub(crate) fn keep(self, ending: &mut Option<Self>) -> bool {
        let stuck = |it: &Self| matches!(it, Self::Stuck(_));
        let begins = ending.is_none();
        if begins || stuck(&self) && !ending.as_ref().is_some_and(stuck) {
            *ending = Some(self);
        }
        begins
    }
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
    /// This significant child's end ends the supervisor.
    AutoShutdown(Index),
    /// The supervisor knows this child no more: its slot is free for another.
    Forgotten(Index),
    /// Every child has been started for the first time.
    Booted,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The child runs.
    Running,
    /// The child's last restart failed, and it is tried again.
    Restarting,
    /// There are as many children as are allowed.
    MaxChildren,
    /// The child is significant where that cannot be.
    BadCombination,
    /// The supervisor ends.
    Ending,
}

/// What a supervisor says of a child when it is asked, as in OTP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// It has a process.
    Running,
    /// Its last restart failed, and it is tried again.
    Restarting,
    /// It is known and does not run.
    Undefined,
}

/// How many children there are.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Counts {
    /// Those that the supervisor knows, whether or not they run.
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those of `specs` that are supervisors.
    pub supervisors: usize,
    /// Those of `specs` that are workers.
    pub workers: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, child_type: ChildType) {
        self.specs += 1;
        *self.of_type(child_type) += 1;
    }

    pub(crate) fn remove(&mut self, child_type: ChildType) {
        self.specs -= 1;
        *self.of_type(child_type) -= 1;
    }

    fn of_type(&mut self, child_type: ChildType) -> &mut usize {
        match child_type {
            ChildType::Supervisor => &mut self.supervisors,
            ChildType::Worker => &mut self.workers,
        }
    }
}
