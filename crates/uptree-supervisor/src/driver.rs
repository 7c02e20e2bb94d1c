//! The loop of a supervisor: it tells the core what happened, and does what the core says.
//!
//! It never waits for a child, so a stop is taken at any moment. At most one child is in flight:
//! starting, or on its way down; that one has a deadline, and the driver's one timer is for it. (A
//! stop that overtakes a restart leaves that one starting, without a deadline, until its own turn
//! to stop has come.)

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};
use uptree_core::{Action, Event, Incarnation as Key, Index, Note, Shutdown};

use crate::{
    ChildState, EventKind, Result, Starting, Supervisor, TreeError,
    budget::share,
    incarnation::{Incarnation, Path, Report, StopCause},
    scope::Scope,
};

/// Runs the children of `supervisor` until it is asked to stop, gives up or cannot go on.
pub(crate) async fn run(supervisor: &Supervisor, cx: Starting) -> Result {
    let own = cx.life().clone();
    let specs = supervisor.specs().clone();
    let scope = Scope::new(own.tree().clone(), Some(own.clone()), specs);
    let slots = scope.specs.iter().map(|_| Slot::default()).collect();
    let mut driver = Driver {
        supervisor,
        now: Instant::now(),
        at: Duration::ZERO,
        own,
        scope,
        slots,
        in_flight: None,
        timer: None,
        waker: None,
        asked: false,
        ending: false,
        stop_budgets: None,
        lingering: VecDeque::new(),
        stopped: None,
    };
    driver.run(cx).await
}

struct Driver<'a> {
    supervisor: &'a Supervisor,
    /// The supervisor's own incarnation, one of its parent's.
    own: Arc<Incarnation>,
    scope: Arc<Scope>,
    /// When what is dealt with now was noticed: read once for each event.
    now: Instant,
    /// The same, counted from when the tree began.
    at: Duration,
    slots: Vec<Slot>,
    in_flight: Option<InFlight>,
    timer: Option<Pin<Box<Sleep>>>,
    /// With whom the timer and the wish to stop are registered.
    waker: Option<Waker>,
    /// The core has been told that it is asked to stop.
    asked: bool,
    /// It has begun to end, asked or not.
    ending: bool,
    /// For each child, what it and those before it may take to stop; made when it is needed.
    stop_budgets: Option<Vec<Option<Duration>>>,
    /// Children that ended and are not gone, in the order of when they are stuck.
    lingering: VecDeque<(Key, Instant)>,
    /// A child that has stopped, and how long that took, until the core has had its say.
    stopped: Option<(Index, Duration)>,
}

/// The latest incarnation of one child.
#[derive(Default)]
struct Slot {
    life: Option<Arc<Incarnation>>,
    /// Its task, until that is gone.
    task: Option<JoinHandle<()>>,
}

/// The one child that something is being waited for.
struct InFlight {
    child: Index,
    stage: Stage,
    /// The core asked for its stop; otherwise its start ran out of time.
    stop: bool,
    /// It gets less than its own time.
    shortened: bool,
    since: Instant,
    /// `None`: for ever.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Until it is ready; out of time it is called off.
    Starting,
    /// Until it has stopped; out of time it is killed.
    Asked,
    /// Until it is gone; out of time it is stuck.
    Killed,
}

impl Driver<'_> {
    async fn run(&mut self, cx: Starting) -> Result {
        let mut core = self.supervisor.core();
        let mut cx = Some(cx);
        let own = self.own.clone();
        let mut asked = pin!(own.stopping());
        self.look_at_the_clock();
        let mut event = Event::Boot;
        loop {
            let now = self.now;
            let mut booted = false;
            let action = core.step(event, self.at, &mut |note| match note {
                Note::Booted => booted = true,
                note => self.explain(note),
            });
            if booted && let Some(cx) = cx.take() {
                // From here the incarnation is known through `own`.
                _ = cx.ready();
            }
            self.tell_stopped();
            self.tell_ending(core.is_ending());
            match action {
                Some(Action::Start(key)) => self.start(key, now),
                Some(Action::Stop(key)) => self.stop(key.child, now),
                Some(Action::Finish(outcome)) => return self.finish(outcome),
                None => {}
            }
            event = self.next_event(asked.as_mut()).await;
        }
    }

    // ------------------------------------------------------------------ doing

    fn start(&mut self, key: Key, now: Instant) {
        // The memory of the one before is there for this one.
        self.slots[key.child] = Slot::default();
        let life = Incarnation::new(&self.scope, key);
        self.scope.start(key.child, key.number, self.at);
        life.emit(EventKind::Starting);
        let deadline = now.checked_add(life.start_timeout());
        let task = self.scope.specs[key.child].spawn(&life);
        self.slots[key.child] = Slot {
            life: Some(life),
            task: Some(task),
        };
        self.wait_for(key.child, Stage::Starting, now, deadline);
    }

    /// Stops a child by its spec; calls off its start if it is still starting.
    fn stop(&mut self, child: Index, now: Instant) {
        let Some(life) = &self.slots[child].life else {
            return;
        };
        let cause = self.cause();
        life.emit(EventKind::Stopping(cause));
        self.show(child, ChildState::Stopping);
        let options = life.options();
        let in_flight = self.in_flight.as_ref().map(|it| (it.child, it.stage));
        let limit = match options.shutdown {
            // Its start ran out of time: it is on its way down already.
            _ if matches!(in_flight, Some((it, Stage::Asked | Stage::Killed)) if it == child) => {
                None
            }
            _ if !life.is_ready() => Some(options.cancel_grace),
            Shutdown::BrutalKill => {
                self.kill(child, now);
                None
            }
            Shutdown::Timeout(limit) => Some(limit),
            Shutdown::Infinity => Some(Duration::MAX),
        };
        if let Some(limit) = limit {
            self.ask(child, cause, limit, now);
        }
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.stop = true;
            in_flight.since = now;
        }
    }

    /// Asks a child to stop within `limit`, or within less if the whole stop has too little time.
    fn ask(&mut self, child: Index, cause: StopCause, limit: Duration, now: Instant) {
        let spec = &self.scope.specs[child];
        // A supervisor is not cut short: its children are.
        let kills = spec.children().is_none() || limit != Duration::MAX;
        let own = if kills {
            Some(limit)
        } else {
            spec.stop_budget()
        };
        let given = match self.own.stop_deadline() {
            Some(end) => {
                let left = end.saturating_duration_since(now);
                Some(share(
                    own.unwrap_or(Duration::MAX),
                    self.stop_budget_to(child),
                    left,
                ))
            }
            None => own,
        };
        let deadline = given.and_then(|given| now.checked_add(given));
        let Some(life) = &self.slots[child].life else {
            return;
        };
        // By more than what passes between the stop's beginning and this child's turn.
        let shortened = own
            .zip(given)
            .is_some_and(|(own, given)| given < own / 20 * 19);
        life.ask_to_stop(cause, deadline);
        if kills && given == Some(Duration::ZERO) {
            if shortened {
                life.emit(EventKind::Killing { shortened });
            }
            self.kill(child, now);
            return;
        }
        self.wait_for(child, Stage::Asked, now, deadline.filter(|_| kills));
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.shortened = shortened;
        }
    }

    /// What the children up to and including `child`, those who are still to stop, may take.
    fn stop_budget_to(&mut self, child: Index) -> Option<Duration> {
        let sums = self.stop_budgets.get_or_insert_with(|| {
            let mut sum = Some(Duration::ZERO);
            let budgets = self.scope.specs.iter().map(|spec| {
                sum = sum
                    .zip(spec.stop_budget())
                    .and_then(|(sum, own)| sum.checked_add(own));
                sum
            });
            budgets.collect()
        });
        sums[child]
    }

    fn kill(&mut self, child: Index, now: Instant) {
        let Some(task) = &self.slots[child].task else {
            return;
        };
        task.abort();
        let deadline = now.checked_add(self.own.tree().abort_grace);
        self.wait_for(child, Stage::Killed, now, deadline);
    }

    // ------------------------------------------------------------------ waiting

    /// The next thing that the core must know. Cancel safe, as the driver is dropped in it.
    async fn next_event(&mut self, mut asked: Pin<&mut impl Future<Output = StopCause>>) -> Event {
        poll_fn(|cx| self.poll_event(asked.as_mut(), cx)).await
    }

    /// The wish to stop comes first, then what is reported, then the timer.
    fn poll_event(
        &mut self,
        asked: Pin<&mut impl Future<Output = StopCause>>,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        // Both stay registered until they ring, so that with the same waker a look is enough.
        let known = self
            .waker
            .as_ref()
            .is_some_and(|it| it.will_wake(cx.waker()));
        if !known {
            self.waker = Some(cx.waker().clone());
            self.timer = None;
            _ = (!self.asked).then(|| asked.poll(cx));
        }
        loop {
            if !self.asked && self.own.stop_cause().is_some() {
                self.asked = true;
                self.look_at_the_clock();
                return Poll::Ready(Event::Shutdown);
            }
            let event = match self.scope.inbox.poll(cx) {
                Poll::Ready(report) => {
                    self.look_at_the_clock();
                    self.on_report(report)
                }
                Poll::Pending => {
                    ready!(self.poll_deadline(cx));
                    self.look_at_the_clock();
                    self.on_deadline()
                }
            };
            if let Some(event) = event {
                return Poll::Ready(event);
            }
        }
    }

    /// Ready when the one in flight is out of time.
    ///
    /// The timer is moved only when it would ring too late: one start follows another, each with a
    /// later deadline, and moving it for each of them would cost more than to be woken once in
    /// vain.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let in_flight = self.in_flight.as_ref().and_then(|it| it.deadline);
        let lingers = self.lingering.front().map(|&(_, until)| until);
        let Some(deadline) = in_flight.into_iter().chain(lingers).min() else {
            return Poll::Pending;
        };
        if let Some(timer) = &self.timer {
            match timer.is_elapsed() {
                true if timer.deadline() >= deadline => return Poll::Ready(()),
                // It rings in time.
                false if timer.deadline() <= deadline => return Poll::Pending,
                _ => {}
            }
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        timer.as_mut().poll(cx)
    }

    fn on_report(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::Ready(key) => self.on_ready(key),
            Report::TaskFailed(key) => {
                if let Slot {
                    life: Some(life),
                    task: Some(task),
                } = &self.slots[key.child]
                    && life.key() == key
                {
                    task.abort();
                    self.lingers(key);
                }
                None
            }
            Report::Lingers(key) => {
                self.lingers(key);
                None
            }
            Report::Gone { key, done } => self.on_gone(key, done),
        }
    }

    fn on_ready(&mut self, key: Key) -> Option<Event> {
        let life = self.slots[key.child].life.as_ref();
        let life = life.filter(|life| life.key() == key)?;
        // It may be on its way down by now; then the readiness comes too late to be told.
        if life.stop_cause().is_none() {
            let took = self.at.saturating_sub(life.started());
            self.show(key.child, ChildState::Running);
            life.emit(EventKind::Ready { took });
            self.in_flight.take_if(|it| it.child == key.child);
        }
        Some(Event::Started(key))
    }

    fn on_gone(&mut self, key: Key, done: bool) -> Option<Event> {
        let child = key.child;
        self.slots[child].task = None;
        let now = self.now;
        let in_flight = self.in_flight.take_if(|it| it.child == child);
        self.stopped = in_flight
            .as_ref()
            .filter(|it| it.stop)
            .map(|it| (child, now - it.since));
        let state = if done {
            ChildState::Ignored
        } else {
            ChildState::Down
        };
        self.show(child, state);
        let life = self.slots[child].life.as_ref()?;
        if done {
            let took = self.at.saturating_sub(life.started());
            life.emit(EventKind::Ignored { took });
            return Some(Event::Ignored(key));
        }
        life.with_exit(|reason| match reason.tree_error() {
            Some(TreeError::Stuck { .. }) => Event::Stuck(key),
            _ => Event::Exited(key, reason.kind()),
        })
    }

    /// It was killed, or has ended: it gets the grace of those, and is stuck then.
    fn lingers(&mut self, key: Key) {
        // Most are gone at once; those that are make room here.
        while let Some(&(first, _)) = self.lingering.front()
            && !self.is_there(first)
        {
            self.lingering.pop_front();
        }
        let until = self.now.checked_add(self.own.tree().abort_grace);
        self.lingering.extend(until.map(|until| (key, until)));
    }

    fn on_deadline(&mut self) -> Option<Event> {
        let now = self.now;
        if let Some((key, _)) = self.lingering.pop_front_if(|(_, until)| *until <= now) {
            let life = self.slots[key.child].life.as_ref();
            return self.give_up_on(life.filter(|_| self.is_there(key))?);
        }
        let InFlight {
            child,
            stage,
            shortened,
            deadline,
            ..
        } = *self.in_flight.as_ref()?;
        if deadline.is_none_or(|deadline| deadline > now) {
            return None;
        }
        let life = self.slots[child].life.as_ref()?;
        match stage {
            Stage::Starting => {
                let deadline = life.start_deadline();
                if deadline.is_none_or(|deadline| deadline > now) {
                    // It has made progress.
                    self.wait_for(child, Stage::Starting, now, deadline);
                } else {
                    life.fail_start();
                    let grace = life.options().cancel_grace;
                    self.ask(child, StopCause::Terminated, grace, now);
                }
                None
            }
            Stage::Asked => {
                life.emit(EventKind::Killing { shortened });
                self.kill(child, now);
                None
            }
            Stage::Killed => {
                self.in_flight = None;
                self.give_up_on(life)
            }
        }
    }

    /// Whether this incarnation is not gone.
    fn is_there(&self, key: Key) -> bool {
        let Slot { life, task } = &self.slots[key.child];
        task.is_some() && life.as_ref().is_some_and(|life| life.key() == key)
    }

    /// It was killed and is still there: it is stuck.
    fn give_up_on(&self, life: &Incarnation) -> Option<Event> {
        if !life.release_owner() {
            return None;
        }
        let after = life.tree().abort_grace;
        life.emit(EventKind::Stuck { after });
        self.show(life.child(), ChildState::Stuck);
        Some(Event::Stuck(life.key()))
    }

    // ------------------------------------------------------------------ small things

    /// Why children stop now.
    fn cause(&self) -> StopCause {
        match self.own.stop_cause() {
            Some(cause) => cause,
            // The process goes: whoever uses it needs to be told, as at any shutdown.
            None if self.ending && self.own.is_root() => StopCause::Shutdown,
            None if self.ending => StopCause::Terminated,
            None => StopCause::GroupRestart,
        }
    }

    /// Waits for `child`, the one in flight.
    fn wait_for(&mut self, child: Index, stage: Stage, now: Instant, deadline: Option<Instant>) {
        let before = self.in_flight.take().filter(|it| it.child == child);
        self.in_flight = Some(InFlight {
            child,
            stage,
            stop: before.as_ref().is_some_and(|it| it.stop),
            shortened: before.as_ref().is_some_and(|it| it.shortened),
            since: before.map_or(now, |it| it.since),
            deadline,
        });
    }

    fn show(&self, child: Index, state: ChildState) {
        self.scope.set(child, state, self.at);
    }

    fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
        self.at = self.now - self.own.tree().began;
    }

    fn path(&self, child: Index) -> Path<'_> {
        Path::below(&self.own, self.scope.specs[child].id())
    }
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
    }
}

mod telling;

#[cfg(test)]
mod tests;
