//! What the tests of both machines share: a player of scripts, and a walk through every state.
//!
//! Scripts say what a machine does, the walk says what it never does; both are needed.

pub(crate) mod player;
pub(crate) mod walk;

use std::{fmt::Debug, hash::Hash, time::Duration};

use crate::{Action, Event, Incarnation, Index, Note, Refusal, Spec};

/// A machine, as its driver sees it.
pub(crate) trait Machine: Clone + Debug + Eq + Hash {
    fn tell(&mut self, event: Event, now: Duration, out: &mut impl FnMut(Note)) -> Option<Action>;

    /// Serves a call; `None` is an answer without anything to wait for.
    fn serve(&mut self, call: Call, out: &mut impl FnMut(Note)) -> Result<Option<Action>, Refusal>;

    /// The current incarnation of a child, or its next one.
    fn incarnation(&self, child: Index) -> Incarnation;

    /// Counts by brute force what the machine keeps count of, and compares.
    fn audit(&self);
}

/// A call that the machine serves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Call {
    Start(Spec),
    Restart(Index),
    Terminate(Index),
    Delete(Index),
    /// Any question: it changes nothing.
    Ask,
}
