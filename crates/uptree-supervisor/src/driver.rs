//! The loop of a supervisor: it tells the core what happened, and does what the core says.
//!
//! It never waits for a child, so a stop is taken at any moment. A child that is starting or on its
//! way down is a flight with a deadline; the driver's one timer is for the earliest of them. (A
//! stop that overtakes a restart leaves that one starting, without a deadline, until its own turn
//! to stop has come.)

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    pin::{Pin, pin},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep},
};
use uptree_core::{Action, Event, Incarnation as Key, Index, Intensity, Shutdown};

use crate::{
    ChildSpec, ChildState, EventKind, Fault, Result, Started, Starting,
    budget::share,
    call::{Live, Reply},
    control::ChildRef,
    flight::{Flight, FlightId, Flights, Stage},
    incarnation::{Incarnation, Path, Report, StopCause},
    machine::Machine,
    scope::{Entry, Scope},
};

/// What a supervisor gives its driver.
pub(crate) struct Plan<'a> {
    pub(crate) machine: Machine,
    /// Those whom it starts with.
    pub(crate) children: &'a Arc<Vec<ChildSpec>>,
    pub(crate) intensity: &'a Intensity,
    /// Where its handles find it.
    pub(crate) live: &'a Live,
    /// What is wrong with its list, if nobody has looked yet.
    pub(crate) fault: Option<Fault>,
    /// No child may take longer to stop.
    pub(crate) max_shutdown: Duration,
}

/// Runs the children of a supervisor until it is asked to stop, gives up or cannot go on.
pub(crate) async fn run(plan: Plan<'_>, cx: Starting) -> Result {
    // Asked before it has begun, it need not begin.
    if cx.is_cancelled() {
        return Ok(());
    }
    if let Some(fault) = plan.fault {
        return Err(fault.into());
    }
    let own = cx.life().clone();
    let mut machine = plan.machine;
    let ordered = machine.is_ordered();
    let scope = Scope::new(
        own.tree().clone(),
        Some(own.clone()),
        plan.children,
        ordered,
    );
    own.keep_below(&scope);
    let _published = plan.live.publish(scope.clone())?;
    for (child, spec) in plan.children.iter().enumerate() {
        if let Some(backoff) = spec.options().own_backoff() {
            machine.set_backoff(child, backoff);
        }
    }
    let mut driver = Driver {
        now: Instant::now(),
        at: Duration::ZERO,
        own,
        scope,
        intensity: plan.intensity,
        max_shutdown: plan.max_shutdown,
        slots: plan.children.iter().map(|_| Slot::default()).collect(),
        flights: Flights::default(),
        calls: VecDeque::new(),
        ids: None,
        waits: BinaryHeap::new(),
        lingering: VecDeque::new(),
        timer: None,
        waker: None,
        read_all: false,
        asked: false,
        ending: false,
        stop: None,
        stop_callers: Vec::new(),
        stop_budgets: None,
        stopped: None,
        gone: None,
        forgotten: Vec::new(),
        restarting: None,
        wait_told_of: None,
    };
    driver.run(machine, cx).await
}

struct Driver<'a> {
    /// The supervisor's own incarnation, one of its parent's.
    own: Arc<Incarnation>,
    scope: Arc<Scope>,
    intensity: &'a Intensity,
    max_shutdown: Duration,
    /// When what is dealt with now was noticed: read once for each event.
    now: Instant,
    /// The same, counted from when the tree began.
    at: Duration,
    slots: Vec<Slot>,
    flights: Flights,
    /// Calls that wait for their turn.
    calls: VecDeque<Call>,
    /// Which child has an id; made when it is first needed.
    ids: Option<HashMap<ById, Index, rustc_hash::FxBuildHasher>>,
    /// Restarts that wait for their backoff.
    waits: BinaryHeap<Reverse<(Instant, Index, u32)>>,
    /// Children that ended and are not gone, in the order of when they are stuck.
    lingering: VecDeque<(Key, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
    /// With whom the timer and the wish to stop are registered.
    waker: Option<Waker>,
    /// In this poll everything that was reported has been read, and the next report wakes it.
    read_all: bool,
    /// The core has been told that it is asked to stop.
    asked: bool,
    /// It has begun to end, asked or not.
    ending: bool,
    /// What it is to end with, if a call ends it.
    stop: Option<Result>,
    /// Who called for its end.
    stop_callers: Vec<Reply<()>>,
    /// For each child, what it and those before it may take to stop; made when it is needed.
    stop_budgets: Option<Vec<Option<Duration>>>,
    /// A child that has stopped, and how long that took, until the core has had its say.
    stopped: Option<(Index, Duration)>,
    /// A child that is gone, whether its work was done, and who waits for that; until the core has
    /// had its say.
    gone: Option<(Arc<Incarnation>, Flight, bool)>,
    /// Slots that the core has freed.
    forgotten: Vec<Index>,
    /// A restart that was decided on, with how many are left, until it is told of.
    restarting: Option<(Index, usize)>,
    /// A child of which it was told how long its restart waits, until it does.
    wait_told_of: Option<Index>,
}

/// The latest incarnation of one child.
#[derive(Default)]
struct Slot {
    life: Option<Arc<Incarnation>>,
    /// Its task, until that is gone.
    task: Option<JoinHandle<()>>,
    /// While it starts or stops.
    flight: Option<FlightId>,
}

impl Driver<'_> {
    async fn run(&mut self, mut machine: Machine, cx: Starting) -> Result {
        let mut cx = Some(cx);
        let own = self.own.clone();
        let mut asked = pin!(own.stopping());
        self.look_at_the_clock();
        let mut event = Event::Boot;
        loop {
            let mut action = self.step(&mut machine, event, &mut cx);
            while let Some(it) = action {
                match it {
                    Action::Start(key) => self.start(key, None, None),
                    Action::Stop(key) => self.stop(key.child, self.cause(), None),
                    Action::Wait(key, delay) => self.wait(key, delay),
                    Action::Serve => self.serve(&mut machine),
                    Action::Finish(outcome) => return self.finish(outcome),
                }
                action = match machine.may_go_on(&it) {
                    true => self.step(&mut machine, Event::Done, &mut cx),
                    false => None,
                };
            }
            event = self.next_event(asked.as_mut()).await;
        }
    }

    fn step(
        &mut self,
        machine: &mut Machine,
        event: Event,
        cx: &mut Option<Starting>,
    ) -> Option<Action> {
        let at = self.at;
        let action = machine.step(event, at, &mut |note| self.explain(note, cx));
        let action = action.map(jittered);
        self.tell_restarting(action);
        self.tell_stopped();
        self.answer();
        self.tell_ending(machine.is_ending());
        self.forget();
        #[cfg(test)]
        tests::weigh(self);
        action
    }

    // ------------------------------------------------------------------ doing

    /// Starts an incarnation; of a child that was never started before, `spec` if it was added.
    fn start(&mut self, key: Key, spec: Option<ChildSpec>, caller: Option<Reply<Started>>) {
        // Held until the lock is not: what it keeps, an error for one, is a stranger's, and so is
        // what happens when that is dropped.
        let before = std::mem::take(&mut self.slots[key.child]);
        let mut entries = self.scope.entries();
        let entry = &mut entries[key.child];
        let (spec, first) = match (spec, std::mem::replace(entry, Entry::Free)) {
            (Some(spec), _) => (spec, key.number),
            (None, Entry::Listed) => (self.scope.listed[key.child].clone(), key.number),
            (None, Entry::Started(life, first)) => (life.spec().clone(), first),
            (None, Entry::Free) => return,
        };
        let life = Incarnation::new(&self.scope, spec, key, self.at);
        *entry = Entry::Started(life.clone(), first);
        drop(entries);
        drop(before);
        life.emit(EventKind::Starting);
        let deadline = self.now.checked_add(life.start_timeout());
        let mut flight = Flight::new(key.child, self.now);
        flight.started = caller;
        let flight = self.flights.open(flight);
        self.flights.enter(flight, Stage::Starting, deadline);
        let task = life.spec().spawn(&life);
        self.slots[key.child] = Slot {
            life: Some(life),
            task: Some(task),
            flight: Some(flight),
        };
    }

    /// Stops a child by its spec; calls off its start if it is still starting.
    fn stop(&mut self, child: Index, cause: StopCause, caller: Option<Reply<()>>) {
        let Some(life) = self.slots[child].life.clone() else {
            return;
        };
        life.emit(EventKind::Stopping(cause));
        life.show(ChildState::Stopping, self.at);
        let options = life.options();
        let stage = self.flight(child).map(|flight| flight.stage);
        let limit = match options.shutdown {
            // Its start ran out of time: it is on its way down already.
            _ if matches!(stage, Some(Stage::Asked | Stage::Killed)) => None,
            _ if !life.is_ready() => Some(options.grace()),
            Shutdown::BrutalKill => {
                self.kill(child);
                None
            }
            Shutdown::Timeout(limit) => Some(limit),
            Shutdown::Infinity => Some(Duration::MAX),
        };
        if let Some(limit) = limit {
            self.ask(child, &life, cause, limit);
        }
        let now = self.now;
        if let Some(flight) = self.flight(child) {
            flight.stop = true;
            flight.since = now;
            flight.ended.extend(caller);
        }
    }

    /// Asks a child to stop within `limit`, or within less if the whole stop has too little time.
    fn ask(&mut self, child: Index, life: &Arc<Incarnation>, cause: StopCause, limit: Duration) {
        // A supervisor is not cut short: its children are.
        let kills = life.spec().children().is_none() || limit != Duration::MAX;
        let own = if kills {
            Some(limit)
        } else {
            life.time_to_stop()
        };
        let budget = self.own.stop_budget();
        let given = match budget {
            Some(end) => {
                let left = end.saturating_duration_since(self.now);
                let needed = self.stop_budget_to(child);
                Some(share(own.unwrap_or(Duration::MAX), needed, left))
            }
            None => own,
        };
        // Also where a supervisor goes on meanwhile, as its own turn to stop has not come.
        let given = match self.own.tree().stop_by.get() {
            Some(&end) => {
                let left = end.saturating_duration_since(self.now);
                Some(given.map_or(left, |given| given.min(left)))
            }
            None => given,
        };
        let deadline = given.and_then(|given| self.now.checked_add(given));
        // By more than what passes between the stop's beginning and this child's turn.
        let shortened = own
            .zip(given)
            .is_some_and(|(own, given)| given < own / 20 * 19);
        if let Some(deadline) = deadline.filter(|_| budget.is_some()) {
            life.limit_stop_budget(deadline);
        }
        life.ask_to_stop(cause, deadline);
        if kills && given == Some(Duration::ZERO) {
            if shortened {
                life.emit(EventKind::Killing { shortened });
            }
            self.kill(child);
            return;
        }
        self.wait_for(child, Stage::Asked, deadline.filter(|_| kills));
        if let Some(flight) = self.flight(child) {
            flight.shortened = shortened;
        }
    }

    /// What the children up to and including `child`, those who are still to stop, may take. If
    /// they stop together: what any of them may.
    fn stop_budget_to(&mut self, child: Index) -> Option<Duration> {
        let sums = self.stop_budgets.get_or_insert_with(|| {
            let entries = self.scope.in_order();
            let mut sums = vec![None; entries.len()];
            let mut sum = Some(Duration::ZERO);
            for (slot, entry) in entries {
                sum = sum
                    .zip(self.scope.time_to_stop_of(slot, &entry))
                    .and_then(|(sum, own)| {
                        if self.scope.ordered {
                            sum.checked_add(own)
                        } else {
                            Some(sum.max(own))
                        }
                    });
                sums[slot] = sum;
            }
            if !self.scope.ordered {
                sums.fill(sum);
            }
            sums
        });
        sums.get(child).copied().flatten()
    }

    fn kill(&mut self, child: Index) {
        let Some(task) = &self.slots[child].task else {
            return;
        };
        task.abort();
        let deadline = self.now.checked_add(self.own.tree().abort_grace);
        self.wait_for(child, Stage::Killed, deadline);
    }

    /// Has the core told of a restart's turn: after a delay, or when what is there by now has been
    /// looked at.
    fn wait(&mut self, key: Key, delay: Duration) {
        let is_told = self.wait_told_of.take() == Some(key.child);
        if delay.is_zero() {
            return self.scope.inbox.send(Report::Retry(key));
        }
        let Some(until) = self.now.checked_add(delay) else {
            return;
        };
        self.waits.push(Reverse((until, key.child, key.number)));
        if let Some(life) = &self.slots[key.child].life {
            life.show(ChildState::BackingOff, self.at);
            if !is_told {
                life.emit(EventKind::BackingOff { delay });
            }
        }
    }

    /// Drops what is known of children that the core has forgotten.
    fn forget(&mut self) {
        // A supervisor that ends may still have to say how they ended.
        if self.forgotten.is_empty() || self.ending {
            return;
        }
        for slot in std::mem::take(&mut self.forgotten) {
            let entry = std::mem::replace(&mut self.scope.entries()[slot], Entry::Free);
            if let (Some(ids), Some(spec)) = (&mut self.ids, self.scope.spec_of(slot, &entry)) {
                ids.remove(spec.id());
            }
            if let Entry::Started(life, _) = &entry {
                life.emit(EventKind::Forgotten);
            }
            self.slots[slot] = Slot::default();
        }
    }

    // ------------------------------------------------------------------ small things

    /// Why children stop now that nobody calls for it.
    fn cause(&self) -> StopCause {
        match self.own.stop_cause() {
            Some(cause) => cause,
            None if self.stop.is_some() => StopCause::Terminated,
            // The process goes: whoever uses it needs to be told, as at any shutdown.
            None if self.ending && self.own.is_root() => StopCause::Shutdown,
            None if self.ending => StopCause::Terminated,
            None => StopCause::GroupRestart,
        }
    }

    fn flight(&mut self, child: Index) -> Option<&mut Flight> {
        self.flights.get_mut(self.slots[child].flight?)
    }

    /// Waits for `child`, from now on or for something else than before.
    fn wait_for(&mut self, child: Index, stage: Stage, deadline: Option<Instant>) {
        let slot = &mut self.slots[child];
        let id = *slot
            .flight
            .get_or_insert_with(|| self.flights.open(Flight::new(child, self.now)));
        self.flights.enter(id, stage, deadline);
    }

    fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
        self.at = self.now - self.own.tree().began;
    }

    fn path<'a>(&'a self, life: &'a Incarnation) -> Path<'a> {
        Path::below(&self.own, life.id())
    }
}

/// A wait between half of its delay and all of it; the others as they are.
fn jittered(action: Action) -> Action {
    match action {
        Action::Wait(key, delay) if !delay.is_zero() => {
            Action::Wait(key, delay.mul_f64(0.5 + fastrand::f64() / 2.0))
        }
        action => action,
    }
}

/// What a child is called in other calls.
fn child_ref(scope: &Arc<Scope>, life: &Incarnation) -> ChildRef {
    let Key { child, number } = life.key();
    let number = scope.first_of(life.key()).unwrap_or(number);
    ChildRef::new(scope, Key { child, number })
}

/// A driver that is dropped was killed: it takes the children along. Their ends are waited for by
/// its incarnation's count, not here.
impl Drop for Driver<'_> {
    fn drop(&mut self) {
        for slot in self.slots.iter().rev() {
            if let Some(task) = &slot.task {
                task.abort();
            }
        }
        // Who still waits for an answer gets none.
        self.scope.inbox.close();
    }
}

mod calls;
mod hearing;
mod telling;
mod waiting;

use self::calls::ById;
use crate::call::Call;

#[cfg(test)]
pub(crate) mod tests;
