//! Walks through every state that a machine and its children can reach together.

mod hasher;
mod lists;

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault},
    time::Duration,
};

use super::{Call, Machine};
use crate::{Action, Event, Exit, Incarnation, Index, Note, Outcome, Restart, Spec};
use hasher::QuickHasher;
pub(crate) use lists::{PERMANENT, TEMPORARY, TRANSIENT, at_least, lists};

/// A machine that can be walked through.
pub(crate) trait Walked: Machine {
    /// Its children have an order, in which new ones come last.
    const IS_ORDERED: bool;

    /// The children that are known, in their order.
    fn known(&self) -> Vec<Index>;

    fn restart(&self, child: Index) -> Restart;

    fn ending(&self) -> Option<Outcome>;

    /// What can be asked about one child.
    fn calls(child: Index) -> Vec<Call>;

    /// Forgets what decides nothing any more, and gives lives other numbers, so that fewer states
    /// are different.
    fn simplify(&mut self, renumber: impl Fn(Incarnation) -> Incarnation);

    /// Asserts what must hold of an action before it is performed, or of a machine that waits.
    fn check(world: &World<Self>, action: Option<Action>);
}

/// A machine, and what a driver has to do with it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct World<M> {
    pub(crate) machine: M,
    /// By slot: the latest incarnation's number, and what there is of it.
    pub(crate) lives: Vec<(u32, Life)>,
    /// Those that [`Event::Retry`] is due for.
    pub(crate) waits: Vec<Incarnation>,
    /// Those whose start (true) or end is waited for by somebody who called.
    pub(crate) pending: Vec<(Incarnation, bool)>,
    /// How many calls wait for their turn.
    pub(crate) queued: usize,
    calls_left: usize,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Life {
    Starting,
    Ready,
    /// On its way down because it was asked to be.
    Asked,
    Gone,
    /// As good as gone, and never to be replaced.
    Stuck,
}

impl Life {
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Asked)
    }
}

/// How far a walk goes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bounds<'a> {
    /// How many calls there are.
    pub(crate) calls: usize,
    /// How many children can be known.
    pub(crate) children: usize,
    /// What children are added.
    pub(crate) added: &'a [Spec],
}

impl Bounds<'_> {
    /// Walks from the boot on; says how many states there are.
    pub(crate) fn walk<M: Walked>(&self, machine: M) -> usize {
        let world = World {
            machine,
            lives: Vec::new(),
            waits: Vec::new(),
            pending: Vec::new(),
            queued: 0,
            calls_left: self.calls,
        };
        // The states themselves would fill the memory.
        let hasher = BuildHasherDefault::<QuickHasher>::new();
        let mut seen = HashSet::new();
        let mut todo = Vec::new();
        let mut reached = Vec::new();
        world.happens(Event::Boot, self, &mut reached);
        loop {
            for mut world in reached.drain(..) {
                world.simplify();
                if seen.insert(hasher.hash_one(&world)) {
                    todo.push(world);
                }
            }
            let Some(world) = todo.pop() else {
                break;
            };
            world.hears_late_words();
            for event in world.possible_events() {
                world.clone().happens(event, self, &mut reached);
            }
        }
        seen.len()
    }
}

impl<M: Walked> World<M> {
    pub(crate) fn is_up(&self, child: Index) -> bool {
        self.lives.get(child).is_some_and(|(_, life)| life.is_up())
    }

    pub(crate) fn count(&self, life: Life) -> usize {
        self.lives.iter().filter(|(_, it)| *it == life).count()
    }

    /// Everything that can happen now.
    fn possible_events(&self) -> Vec<Event> {
        let mut events = vec![Event::Shutdown];
        for (child, &(number, life)) in self.lives.iter().enumerate() {
            let it = Incarnation { child, number };
            match life {
                Life::Starting => events.extend([
                    Event::Started(it),
                    Event::Ignored(it),
                    Event::Exited(it, Exit::Abnormal),
                    Event::Stuck(it),
                ]),
                Life::Ready => {
                    events.push(Event::Stuck(it));
                    events.push(Event::Exited(it, Exit::Abnormal));
                    // For the others it decides nothing how they end.
                    if self.machine.restart(child) == Restart::Transient {
                        events.push(Event::Exited(it, Exit::Normal));
                    }
                }
                // A child can be ready, or done, just as it is told to stop.
                Life::Asked => events.extend([
                    Event::Started(it),
                    Event::Ignored(it),
                    Event::Exited(it, Exit::Shutdown),
                    Event::Stuck(it),
                ]),
                Life::Gone | Life::Stuck => {}
            }
        }
        if self.machine.ending().is_none() {
            events.extend(self.waits.iter().map(|&it| Event::Retry(it)));
            if self.calls_left > 0 {
                events.push(Event::Call);
            }
        }
        events
    }

    /// Tells the machine what happened, and does what it says until it waits; all the worlds that
    /// can be then are `reached`.
    fn happens(mut self, event: Event, bounds: &Bounds<'_>, reached: &mut Vec<Self>) {
        self.note(event);
        let before = self.machine.known();
        let action = self.machine.tell(event, Duration::ZERO, &mut |_| ());
        self.is_sound(&before);
        M::check(&self, action);
        match action {
            None => reached.push(self),
            Some(Action::Finish(outcome)) => self.is_over(outcome),
            Some(Action::Serve) => {
                self.queued -= 1;
                for call in self.possible_calls(bounds) {
                    self.clone().serves(call, bounds, reached);
                }
            }
            Some(action) => {
                self.perform(action);
                self.happens(Event::Done, bounds, reached);
            }
        }
    }

    fn serves(mut self, call: Call, bounds: &Bounds<'_>, reached: &mut Vec<Self>) {
        let before = self.machine.known();
        let served = self.machine.serve(call, &mut |_: Note| ());
        self.is_sound(&before);
        if let Ok(Some(action)) = served {
            M::check(&self, Some(action));
            match action {
                Action::Start(it) => self.pending.push((it, true)),
                Action::Stop(it) => self.pending.push((it, false)),
                _ => panic!("a call that wants {action:?}"),
            }
            self.perform(action);
        }
        self.happens(Event::Done, bounds, reached);
    }

    fn possible_calls(&self, bounds: &Bounds<'_>) -> Vec<Call> {
        let known = self.machine.known();
        let mut calls = vec![Call::Ask];
        if known.len() < bounds.children {
            calls.extend(bounds.added.iter().map(|&spec| Call::Start(spec)));
        }
        calls.extend(known.into_iter().flat_map(M::calls));
        calls
    }

    /// What the driver knows from an event.
    fn note(&mut self, event: Event) {
        let (it, life) = match event {
            Event::Started(it) => (it, Life::Ready),
            Event::Ignored(it) | Event::Exited(it, _) => (it, Life::Gone),
            Event::Stuck(it) => (it, Life::Stuck),
            Event::Retry(it) => {
                let wait = self.waits.iter().position(|wait| *wait == it);
                self.waits.remove(wait.expect("it is due"));
                return;
            }
            Event::Call => {
                self.calls_left -= 1;
                self.queued += 1;
                return;
            }
            Event::Boot | Event::Done | Event::Shutdown => return,
        };
        let known = &mut self.lives[it.child].1;
        if (*known, life) != (Life::Asked, Life::Ready) {
            *known = life;
        }
        let over = |start: bool| start || life != Life::Ready;
        self.pending
            .retain(|&(pending, start)| pending != it || !over(start));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(it) => {
                assert!(
                    it.child <= self.lives.len(),
                    "a slot apart: {it:?}\n{self:#?}"
                );
                if let Some(&(number, life)) = self.lives.get(it.child) {
                    assert_eq!(life, Life::Gone, "two lives at once: {it:?}\n{self:#?}");
                    assert!(number < it.number, "not a new life: {it:?}\n{self:#?}");
                }
                match self.lives.get_mut(it.child) {
                    Some(life) => *life = (it.number, Life::Starting),
                    None => self.lives.push((it.number, Life::Starting)),
                }
                assert!(
                    self.machine.ending().is_none(),
                    "a start at the end\n{self:#?}"
                );
            }
            Action::Stop(it) => {
                let (number, life) = self.lives[it.child];
                let stoppable = matches!(life, Life::Starting | Life::Ready);
                assert!(
                    stoppable && number == it.number,
                    "a stop of {it:?}\n{self:#?}"
                );
                self.lives[it.child].1 = Life::Asked;
            }
            Action::Wait(it, _) => {
                assert!(
                    self.machine.ending().is_none(),
                    "a wait at the end\n{self:#?}"
                );
                assert!(
                    !self.waits.contains(&it),
                    "it waits already: {it:?}\n{self:#?}"
                );
                self.waits.push(it);
            }
            Action::Serve | Action::Finish(_) => unreachable!("dealt with elsewhere"),
        }
    }

    /// What always holds.
    fn is_sound(&self, before: &[Index]) {
        self.machine.audit();
        if !M::IS_ORDERED {
            return;
        }
        let after = self.machine.known();
        let mut kept = before.iter().filter(|i| after.contains(i));
        let unmoved = after
            .iter()
            .all(|i| kept.next().is_none_or(|kept| kept == i));
        assert!(unmoved, "{before:?} has become {after:?}\n{self:#?}");
    }

    fn is_over(&self, outcome: Outcome) {
        assert!(
            !self.lives.iter().any(|(_, life)| life.is_up()),
            "{self:#?}"
        );
        assert_eq!(self.pending, [], "not answered\n{self:#?}");
        let stuck = self.count(Life::Stuck) > 0;
        assert_eq!(stuck, matches!(outcome, Outcome::Stuck(_)), "{self:#?}");
    }

    /// Words about lives that are over change nothing.
    fn hears_late_words(&self) {
        let mut machine = self.machine.clone();
        for (child, &(number, life)) in self.lives.iter().enumerate() {
            let over = if life.is_up() { number - 1 } else { number };
            let it = Incarnation {
                child,
                number: over,
            };
            for event in [
                Event::Started(it),
                Event::Ignored(it),
                Event::Exited(it, Exit::Abnormal),
                Event::Stuck(it),
            ] {
                let action = machine.tell(event, Duration::ZERO, &mut |note| {
                    panic!("{event:?}: {note:?}\n{self:#?}");
                });
                assert_eq!(action, None, "{event:?}\n{self:#?}");
            }
        }
        assert_eq!(machine, self.machine);
    }

    /// Makes worlds alike that differ in nothing that decides anything.
    fn simplify(&mut self) {
        if self.machine.ending().is_some() {
            self.waits.clear();
            self.queued = 0;
            self.calls_left = 0;
        }
        let machine = self.machine.clone();
        let renumber = |it: Incarnation| {
            // Whether a number is the current one is all that is ever asked.
            let current = machine.incarnation(it.child).number;
            let number = 2_u32.saturating_sub(current - it.number);
            Incarnation { number, ..it }
        };
        for (child, (number, _)) in self.lives.iter_mut().enumerate() {
            let it = Incarnation {
                child,
                number: *number,
            };
            *number = renumber(it).number;
        }
        for it in &mut self.waits {
            *it = renumber(*it);
        }
        self.waits.sort_by_key(|it| (it.child, it.number));
        for (it, _) in &mut self.pending {
            *it = renumber(*it);
        }
        self.machine.simplify(renumber);
    }
}
