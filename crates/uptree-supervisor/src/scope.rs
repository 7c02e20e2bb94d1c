//! One incarnation of a supervisor, as its children and its onlookers see it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use uptree_core::{ChildType, Index};

use crate::{ChildSpec, inbox::Inbox, incarnation::Incarnation, state::TreeState};

/// What the children of one supervisor share.
pub(crate) struct Scope {
    pub(crate) tree: Arc<TreeState>,
    /// The supervisor's own incarnation; `None` above the root.
    pub(crate) owner: Option<Arc<Incarnation>>,
    pub(crate) specs: Arc<Vec<ChildSpec>>,
    pub(crate) inbox: Inbox,
    children: Vec<Shown>,
    /// What is below those that are supervisors.
    below: Mutex<HashMap<Index, Weak<Scope>>>,
}

/// What is shown of a child: written by its supervisor alone, read by anybody, without a lock.
/// Times are in nanoseconds since the tree began.
#[derive(Default)]
struct Shown {
    /// The state in the lowest bits, and above them since when.
    state: AtomicU64,
    incarnation: AtomicU64,
    /// When this incarnation was started.
    started: AtomicU64,
    /// When it is killed if it is still there, plus 1; 0 if that is not known, or never.
    stop_deadline: AtomicU64,
}

const STATE_BITS: u32 = 3;
const STATES: [ChildState; 6] = [
    ChildState::Down,
    ChildState::Starting,
    ChildState::Running,
    ChildState::Ignored,
    ChildState::Stopping,
    ChildState::Stuck,
];

impl Scope {
    pub(crate) fn new(
        tree: Arc<TreeState>,
        owner: Option<Arc<Incarnation>>,
        specs: Arc<Vec<ChildSpec>>,
    ) -> Arc<Self> {
        let now = tree.began.elapsed();
        let scope = Arc::new(Self {
            tree,
            owner,
            children: specs.iter().map(|_| Shown::default()).collect(),
            specs,
            inbox: Inbox::default(),
            below: Mutex::default(),
        });
        for child in 0..scope.children.len() {
            scope.set(child, ChildState::Down, now);
        }
        if let Some(owner) = &scope.owner {
            let below = Arc::downgrade(&scope);
            owner.scope().below().insert(owner.child(), below);
        }
        scope
    }

    /// The time since the tree began.
    pub(crate) fn now(&self) -> Duration {
        self.tree.began.elapsed()
    }

    /// Publishes that an incarnation of `child` starts.
    pub(crate) fn start(&self, child: Index, incarnation: u64, now: Duration) {
        let shown = &self.children[child];
        shown.incarnation.store(incarnation, Ordering::Relaxed);
        shown.started.store(nanos(now), Ordering::Relaxed);
        shown.stop_deadline.store(0, Ordering::Relaxed);
        self.set(child, ChildState::Starting, now);
    }

    /// Publishes that `child` is in `state` since `since`.
    pub(crate) fn set(&self, child: Index, state: ChildState, since: Duration) {
        let state = nanos(since) << STATE_BITS | state as u64;
        self.children[child].state.store(state, Ordering::Release);
    }

    /// When the incarnation of `child` was started.
    pub(crate) fn started(&self, child: Index) -> Duration {
        Duration::from_nanos(self.children[child].started.load(Ordering::Relaxed))
    }

    /// Sets when the stop of `child` is to be over; the first word counts.
    pub(crate) fn limit_stop(&self, child: Index, deadline: Instant) {
        let deadline = nanos(deadline - self.tree.began).saturating_add(1);
        let shown = &self.children[child].stop_deadline;
        _ = shown.compare_exchange(0, deadline, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn stop_deadline(&self, child: Index) -> Option<Instant> {
        let deadline = self.children[child].stop_deadline.load(Ordering::Relaxed);
        let since = Duration::from_nanos(deadline.checked_sub(1)?);
        Some(self.tree.began + since)
    }

    /// The child and what is below it, as they are now.
    pub(crate) fn snapshot_of(&self, child: Index) -> Snapshot {
        let spec = &self.specs[child];
        let shown = &self.children[child];
        let state = shown.state.load(Ordering::Acquire);
        let code = state & ((1 << STATE_BITS) - 1);
        let since = Duration::from_nanos(state >> STATE_BITS);
        let below = self.below().get(&child).and_then(Weak::upgrade);
        let below = below.iter().flat_map(|scope| {
            let children = 0..scope.specs.len();
            children.map(|child| scope.snapshot_of(child))
        });
        Snapshot {
            id: spec.id().to_owned(),
            child_type: spec.child_type(),
            state: STATES[usize::try_from(code).unwrap_or_default()],
            age: self.now().saturating_sub(since),
            incarnation: shown.incarnation.load(Ordering::Relaxed),
            children: below.collect(),
        }
    }

    fn below(&self) -> MutexGuard<'_, HashMap<Index, Weak<Scope>>> {
        self.below.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Five centuries fit; a deadline beyond them is as good as the last of them.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChildState {
    /// Not running: not yet started, ended for good, or waiting for its turn.
    Down,
    /// Its start is under way.
    Starting,
    /// It is ready.
    Running,
    /// It did its work and left nothing to supervise.
    Ignored,
    /// It has been asked to stop, or killed, and is not gone.
    Stopping,
    /// It was killed and is still there.
    Stuck,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ignored => "done",
            Self::Stopping => "stopping",
            Self::Stuck => "stuck",
        })
    }
}

/// A child and what is below it, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name among its siblings.
    pub id: String,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// Where it is in its life.
    pub state: ChildState,
    /// For how long.
    pub age: Duration,
    /// How often it had been started before.
    pub incarnation: u64,
    /// What is below it, in start order.
    pub children: Vec<Snapshot>,
}

impl Snapshot {
    /// The paths of the workers that are not down, with their state and its age.
    pub fn up(&self) -> Vec<(String, ChildState, Duration)> {
        let mut up = Vec::new();
        self.up_below("", &mut up);
        up
    }

    fn up_below(&self, above: &str, up: &mut Vec<(String, ChildState, Duration)>) {
        if matches!(self.state, ChildState::Down | ChildState::Ignored) {
            return;
        }
        let path = format!("{above}{}", self.id);
        let before = up.len();
        for child in &self.children {
            child.up_below(&format!("{path}/"), up);
        }
        if up.len() == before {
            up.push((path, self.state, self.age));
        }
    }
}
