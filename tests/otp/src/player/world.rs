//! What the scripted children of one scenario share: who is there, and what has happened.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use uptree_supervisor::{ChildRef, DynamicSupervisor, Supervisor};

use super::worker::Starts;
use crate::{
    scenario::Options,
    trace::{Event, Reason, Row},
};

/// Longer than anything in a scenario takes: what is not over then never is.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3600);

/// The book of one scenario.
#[derive(Default)]
pub(crate) struct World {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    orphans: Vec<Event>,
    /// The latest incarnation of each path.
    latest: HashMap<String, Arc<Process>>,
    /// How often each path was started.
    starts: HashMap<String, usize>,
    /// The children that a dynamic supervisor was asked to start.
    started: HashMap<String, ChildRef>,
    /// How many workers take their time to stop.
    stopping: usize,
}

/// An incarnation.
pub(crate) struct Process {
    pub(crate) path: String,
    pub(crate) parent: Option<Arc<Process>>,
    /// A supervisor's.
    pub(crate) handle: Option<Handle>,
    /// How its starts end.
    pub(crate) script: Arc<Starts>,
    up: AtomicBool,
    dead: AtomicBool,
    ending: AtomicBool,
    stops_with: Mutex<Option<Reason>>,
    order: Mutex<Option<oneshot::Sender<Reason>>>,
}

/// What a supervisor is called by.
#[derive(Clone)]
pub(crate) enum Handle {
    Static(Supervisor),
    /// With a template, a `simple_one_for_one` is played.
    Dynamic(DynamicSupervisor, Option<Options>),
}

impl Handle {
    pub(crate) fn is_simple(&self) -> bool {
        matches!(self, Self::Dynamic(_, Some(_)))
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest incarnation at `path`.
    pub(crate) fn latest(&self, path: &str) -> Option<Arc<Process>> {
        self.state().latest.get(path).cloned()
    }

    /// The incarnation that runs at `path`.
    pub(crate) fn running(&self, path: &str) -> Option<Arc<Process>> {
        self.latest(path).filter(|process| process.is_running())
    }

    /// Writes down what `by` did, or what happened to a child of it.
    pub(crate) fn tell(&self, by: Option<&Arc<Process>>, event: Event) {
        let orphan = by.is_some_and(|by| by.is_dead_or_orphan());
        let mut state = self.state();
        match orphan {
            true => state.orphans.push(event),
            false => state.events.push(event),
        }
    }

    /// What has happened since the last time.
    pub(crate) fn take_row(&self, result: Value) -> Row {
        let mut state = self.state();
        Row {
            result,
            events: std::mem::take(&mut state.events),
            orphans: std::mem::take(&mut state.orphans),
        }
    }

    /// A start begins.
    pub(crate) fn starts(&self, path: &str) {
        *self.state().starts.entry(path.to_owned()).or_default() += 1;
    }

    /// How many starts have begun.
    pub(crate) fn number_of_starts(&self, path: &str) -> usize {
        self.state().starts.get(path).copied().unwrap_or_default()
    }

    pub(crate) fn keep_ref(&self, path: String, child: ChildRef) {
        self.state().started.insert(path, child);
    }

    pub(crate) fn child_ref(&self, path: &str) -> Option<ChildRef> {
        self.state().started.get(path).cloned()
    }

    /// Waits until nothing moves. Paused time goes on only when nobody has anything to do, so that
    /// one look is enough, unless a worker takes its time to stop: nothing else takes any.
    pub(crate) async fn settle(&self) {
        let moves = async {
            loop {
                sleep(Duration::from_millis(1)).await;
                if self.state().stopping == 0 {
                    break;
                }
            }
        };
        // Who still stops then is seen in the trace.
        _ = timeout(FOR_EVER, moves).await;
    }

    /// A worker takes its time to stop, until what is returned is dropped.
    pub(crate) fn stops(self: &Arc<Self>) -> Stops {
        self.state().stopping += 1;
        Stops(self.clone())
    }
}

pub(crate) struct Stops(Arc<World>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.state().stopping -= 1;
    }
}

impl Process {
    fn is_running(&self) -> bool {
        self.up.load(Ordering::Relaxed) && !self.dead.load(Ordering::Relaxed)
    }

    fn is_dead_or_orphan(&self) -> bool {
        let above = self.parent.as_ref();
        self.dead.load(Ordering::Relaxed) || above.is_some_and(|it| it.is_dead_or_orphan())
    }

    pub(crate) fn is_up(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// A supervisor is about to be ended from outside.
    pub(crate) fn stops_with(&self, reason: &Reason) {
        self.ends();
        *lock(&self.stops_with) = Some(reason.clone());
    }

    /// What it was ended with from outside, if it was.
    pub(crate) fn stopped_with(&self) -> Option<Reason> {
        lock(&self.stops_with).clone()
    }

    /// Has it end with this reason.
    pub(crate) fn order(&self, reason: Reason) {
        if let Some(order) = lock(&self.order).take() {
            _ = order.send(reason);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An incarnation from the inside. Dropped before it has said how it ends, it was killed.
pub(crate) struct Life {
    world: Arc<World>,
    process: Arc<Process>,
    over: bool,
}

impl Life {
    /// An incarnation begins; what comes with it is the order to end.
    pub(crate) fn begin(
        world: &Arc<World>,
        path: String,
        handle: Option<Handle>,
        script: &Arc<Starts>,
    ) -> (Self, oneshot::Receiver<Reason>) {
        let parent = path
            .rsplit_once('/')
            .and_then(|(above, _)| world.latest(above));
        let (order, orders) = oneshot::channel();
        let process = Arc::new(Process {
            path: path.clone(),
            parent,
            handle,
            script: script.clone(),
            up: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            stops_with: Mutex::new(None),
            order: Mutex::new(Some(order)),
        });
        world.state().latest.insert(path, process.clone());
        let life = Self {
            world: world.clone(),
            process,
            over: false,
        };
        (life, orders)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// It does not want to run.
    pub(crate) fn ignore(mut self) {
        self.over = true;
        self.process.dead.store(true, Ordering::Relaxed);
        if self.process.parent.is_none() {
            // Nobody is above the root to tell.
            let p = self.process.path.clone();
            self.world.tell(None, Event::Ignored { p });
        }
    }

    /// It ends: it fails if it was not up yet.
    pub(crate) fn end(mut self, reason: Reason) {
        self.over(reason);
    }

    fn over(&mut self, r: Reason) {
        self.over = true;
        let process = &self.process;
        let p = process.path.clone();
        let event = match process.up.load(Ordering::Relaxed) {
            true => Event::Down { p, r },
            false => Event::Fail { p, r },
        };
        self.world.tell(process.parent.as_ref(), event);
        process.dead.store(true, Ordering::Relaxed);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.over {
            self.over(Reason::KILLED);
        }
    }
}
