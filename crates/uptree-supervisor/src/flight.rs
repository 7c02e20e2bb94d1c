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
    /// `None`: for ever.
    deadline: Option<Instant>,
    /// The number under which that deadline was noted, if it was; 0 if not.
    noted: u32,
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
            noted: 0,
            started: None,
            ended: Vec::new(),
        }
    }

    /// Somebody is to be told when it is over.
    pub(crate) fn has_callers(&self) -> bool {
        self.started.is_some() || !self.ended.is_empty()
    }

    /// It has been neither asked to stop nor killed.
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
    noted_ever: u32,
}

/// When a flight is out of time, and the number of that deadline: the same moment may come twice.
type Deadline = (Instant, FlightId, u32);

/// So many flights are looked through: the children of an ordered supervisor start and stop one
/// at a time.
const FEW: usize = 3;
/// So many deadlines that mean nothing are always suffered.
const SLACK: usize = 64;

impl Flights {
    pub(crate) fn open(&mut self, flight: Flight) -> FlightId {
        let flight = Some(flight);
        if let Some(id) = self.free.pop() {
            self.all[id.slot()] = flight;
            return id;
        }
        self.all.push(flight);
        let id = u32::try_from(self.all.len() - 1);
        let id = FlightId(id.expect("a supervisor has fewer than four billion children"));
        if self.all.len() == FEW + 1 {
            // From here they are too many to look through.
            for slot in 0..id.0 {
                self.note(FlightId(slot));
            }
        }
        id
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
        flight.deadline = deadline;
        flight.noted = 0;
        if self.all.len() > FEW {
            self.note(id);
        }
    }

    /// Keeps in mind until when a flight is waited for.
    fn note(&mut self, id: FlightId) {
        let Some(flight) = self.all[id.slot()].as_mut() else {
            return;
        };
        let Some(deadline) = flight.deadline else {
            return;
        };
        self.noted_ever = self.noted_ever.checked_add(1).unwrap_or(1);
        flight.noted = self.noted_ever;
        self.fresh.push((deadline, id, self.noted_ever));
        if self.next_fresh.is_none_or(|next| deadline < next) {
            self.next_fresh = Some(deadline);
        }
        if self.fresh.len() > 2 * (self.all.len() - self.free.len()) + SLACK {
            self.fresh.retain(|&entry| is_meant(&self.all, entry));
        }
    }

    /// When to look for one that is out of time: not after the first deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        if self.all.len() <= FEW {
            return self.first_of_few().map(|(deadline, _)| deadline);
        }
        match (self.next_due(), self.next_fresh) {
            (Some(due), Some(fresh)) => Some(due.min(fresh)),
            (due, fresh) => due.or(fresh),
        }
    }

    fn first_of_few(&self) -> Option<(Instant, usize)> {
        let deadline = |flight: &Option<Flight>| flight.as_ref()?.deadline;
        let all = self.all.iter().enumerate();
        all.filter_map(|(slot, flight)| Some((deadline(flight)?, slot)))
            .min()
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
        if self.all.len() <= FEW {
            let (deadline, slot) = self.first_of_few()?;
            if deadline > now {
                return None;
            }
            self.all[slot].as_mut()?.deadline = None;
            return u32::try_from(slot).ok().map(FlightId);
        }
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

    /// How much there is of flights, those that are over included, and of deadlines.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.all.len(), self.due.len() + self.fresh.len())
    }
}

/// Whether this deadline is the flight's.
fn is_meant(flights: &[Option<Flight>], (_, id, number): Deadline) -> bool {
    let flight = flights[id.slot()].as_ref();
    flight.is_some_and(|flight| flight.noted == number && flight.deadline.is_some())
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

    /// Flights of which so many have no deadline.
    fn beside(others: usize, now: Instant) -> Flights {
        let mut flights = Flights::default();
        for child in 0..others {
            flights.open(Flight::new(child, now));
        }
        flights
    }

    #[test]
    fn the_earliest_deadline_that_is_meant_comes_first() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        for others in [0, FEW - 2, FEW - 1, FEW, 100] {
            let mut flights = beside(others, now);
            let [a, b] = [0, 1].map(|child| flights.open(Flight::new(child, now)));
            flights.enter(a, Stage::Starting, Some(at(3)));
            flights.enter(b, Stage::Starting, Some(at(1)));
            let c = flights.open(Flight::new(2, now));
            flights.enter(c, Stage::Starting, Some(at(2)));
            flights.enter(b, Stage::Asked, Some(at(4)));
            flights.close(c);
            // Maybe in vain: b has another one.
            assert!(flights.next_deadline() <= Some(at(3)), "{others} others");
            assert_eq!(flights.take_due(at(2)), None, "{others} others");
            assert_eq!(flights.next_deadline(), Some(at(3)), "{others} others");
            assert_eq!(flights.take_due(at(3)), Some(a), "{others} others");
            assert_eq!(flights.take_due(at(3)), None, "{others} others");
            flights.enter(c, Stage::Asked, Some(at(4)));
            flights.enter(b, Stage::Asked, None);
            // One is closed, the other has all the time.
            assert_eq!(flights.take_due(at(9)), None, "{others} others");
            assert_eq!(flights.next_deadline(), None, "{others} others");
        }
    }

    #[test]
    fn deadlines_that_mean_nothing_do_not_pile_up() {
        let now = Instant::now();
        let mut flights = beside(FEW, now);
        for n in 0..10_000 {
            let id = flights.open(Flight::new(0, now));
            // Where time is paused, or its clock is coarse, many are the same.
            let deadline = now + Duration::from_secs(60 + n / 5_000);
            flights.enter(id, Stage::Starting, Some(deadline));
            flights.close(id);
        }
        let most = SLACK + 2 * (FEW + 1);
        assert!(flights.fresh.len() <= most, "{}", flights.fresh.len());
        assert_eq!(flights.all.len(), FEW + 1);
    }
}
