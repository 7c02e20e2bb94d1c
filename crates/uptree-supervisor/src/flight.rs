//! Children that something is being waited for, and until when.

use std::{cmp::Reverse, collections::BinaryHeap};

use tokio::time::Instant;
use uptree_core::Index;

use crate::{Started, call::Reply};

/// A child that is starting, or on its way down.
pub(crate) struct Flight {
    pub(crate) child: Index,
    pub(crate) stage: Stage,
    /// The core asked for its stop; otherwise its start ran out of time.
    pub(crate) stop: bool,
    /// It gets less than its own time.
    pub(crate) shortened: bool,
    pub(crate) since: Instant,
    /// The number of its deadline; `None`: for ever.
    deadline: Option<u32>,
    /// Who called for its start.
    pub(crate) started: Option<Reply<Started>>,
    /// Who called for its end.
    pub(crate) ended: Vec<Reply<()>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Until it is ready; out of time it is called off.
    Starting,
    /// Until it has stopped; out of time it is killed.
    Asked,
    /// Until it is gone; out of time it is stuck.
    Killed,
}

impl Flight {
    pub(crate) fn new(child: Index, since: Instant) -> Self {
        Self {
            child,
            stage: Stage::Starting,
            stop: false,
            shortened: false,
            since,
            deadline: None,
            started: None,
            ended: Vec::new(),
        }
    }

    /// It has been neither asked to stop nor killed.
    /// Somebody is to be told when it is over.
    pub(crate) fn has_callers(&self) -> bool {
        self.started.is_some() || !self.ended.is_empty()
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.stage == Stage::Starting
    }
}

/// A flight's place among the others.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FlightId(u32);

/// All flights of one supervisor. Opening and closing one costs O(1), and one that gets as far as
/// its deadline O(log n) in the number of flights; amortised.
#[derive(Default)]
pub(crate) struct Flights {
    all: Vec<Option<Flight>>,
    free: Vec<FlightId>,
    /// Deadlines in order. One that is no longer its flight's is left in until it comes up.
    due: BinaryHeap<Reverse<Deadline>>,
    /// Deadlines that were set since the last of them came up, in no order: most flights are over
    /// long before that.
    fresh: Vec<Deadline>,
    /// Not after the first of those.
    next_fresh: Option<Instant>,
    deadlines_ever: u32,
}

/// When a flight is out of time, and the number of that deadline: the same moment may come twice.
type Deadline = (Instant, FlightId, u32);

/// So many deadlines that mean nothing are always suffered.
const SLACK: usize = 64;

impl Flights {
    pub(crate) fn open(&mut self, flight: Flight) -> FlightId {
        let flight = Some(flight);
        match self.free.pop() {
            Some(id) => {
                self.all[id.slot()] = flight;
                id
            }
            None => {
                self.all.push(flight);
                let id = u32::try_from(self.all.len() - 1);
                FlightId(id.expect("a supervisor has fewer than four billion children"))
            }
        }
    }

    pub(crate) fn get(&self, id: FlightId) -> Option<&Flight> {
        self.all[id.slot()].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.all[id.slot()].as_mut()
    }

    pub(crate) fn close(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.all[id.slot()].take()?;
        self.free.push(id);
        Some(flight)
    }

    /// Sets what a flight waits for, and until when.
    pub(crate) fn enter(&mut self, id: FlightId, stage: Stage, deadline: Option<Instant>) {
        let Some(flight) = self.all[id.slot()].as_mut() else {
            return;
        };
        flight.stage = stage;
        flight.deadline = None;
        let Some(deadline) = deadline else { return };
        self.deadlines_ever = self.deadlines_ever.wrapping_add(1);
        flight.deadline = Some(self.deadlines_ever);
        self.fresh.push((deadline, id, self.deadlines_ever));
        if self.next_fresh.is_none_or(|next| deadline < next) {
            self.next_fresh = Some(deadline);
        }
        if self.fresh.len() > 2 * (self.all.len() - self.free.len()) + SLACK {
            self.fresh.retain(|&entry| is_meant(&self.all, entry));
        }
    }

    /// How much there is of flights, those that are over included, and of deadlines.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.all.len(), self.due.len() + self.fresh.len())
    }

    /// When to look for one that is out of time: not after the first deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        match (self.next_due(), self.next_fresh) {
            (Some(due), Some(fresh)) => Some(due.min(fresh)),
            (due, fresh) => due.or(fresh),
        }
    }

    fn next_due(&mut self) -> Option<Instant> {
        while let Some(&Reverse(entry)) = self.due.peek() {
            if is_meant(&self.all, entry) {
                return Some(entry.0);
            }
            self.due.pop();
        }
        None
    }

    /// One that is out of time. It has no deadline from here.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<FlightId> {
        if self.next_fresh.is_some_and(|next| next <= now) {
            self.next_fresh = None;
            let meant = self
                .fresh
                .drain(..)
                .filter(|&entry| is_meant(&self.all, entry));
            self.due.extend(meant.map(Reverse));
        }
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, id, _)) = self.due.pop()?;
        self.all[id.slot()].as_mut()?.deadline = None;
        Some(id)
    }
}

/// Whether this deadline is the flight's.
fn is_meant(flights: &[Option<Flight>], (_, id, number): Deadline) -> bool {
    let flight = flights[id.slot()].as_ref();
    flight.is_some_and(|flight| flight.deadline == Some(number))
}

impl FlightId {
    fn slot(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_deadline_that_is_meant_comes_first() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let mut flights = Flights::default();
        let [a, b, c] = [0, 1, 2].map(|child| flights.open(Flight::new(child, now)));
        flights.enter(a, Stage::Starting, Some(at(3)));
        flights.enter(b, Stage::Starting, Some(at(1)));
        flights.enter(c, Stage::Starting, Some(at(2)));
        flights.enter(b, Stage::Asked, Some(at(4)));
        flights.close(c);
        assert_eq!(
            flights.next_deadline(),
            Some(at(1)),
            "in vain: b has another"
        );
        assert_eq!(flights.take_due(at(2)), None);
        assert_eq!(flights.next_deadline(), Some(at(3)));
        assert_eq!(flights.take_due(at(3)), Some(a));
        assert_eq!(flights.take_due(at(3)), None);
        flights.enter(c, Stage::Asked, Some(at(4)));
        flights.enter(b, Stage::Asked, None);
        assert_eq!(
            flights.take_due(at(9)),
            None,
            "one is closed, the other has all the time"
        );
        assert_eq!(flights.next_deadline(), None);
    }

    #[test]
    fn deadlines_that_mean_nothing_do_not_pile_up() {
        let now = Instant::now();
        let mut flights = Flights::default();
        for n in 0..10_000 {
            let id = flights.open(Flight::new(0, now));
            // Where time is paused, or its clock is coarse, many are the same.
            let deadline = now + Duration::from_secs(60 + n / 5_000);
            flights.enter(id, Stage::Starting, Some(deadline));
            flights.close(id);
        }
        assert!(flights.fresh.len() <= SLACK + 2, "{}", flights.fresh.len());
        assert_eq!(flights.all.len(), 1);
    }
}
