//! One incarnation of a supervisor, as its children and its onlookers see it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use uptree_core::{ChildType, Index};

use crate::{
    ChildSpec,
    incarnation::{Incarnation, Report},
    state::TreeState,
};

/// What the children of one supervisor share.
pub(crate) struct Scope {
    pub(crate) tree: Arc<TreeState>,
    /// The supervisor's own incarnation; `None` above the root.
    pub(crate) owner: Option<Arc<Incarnation>>,
    pub(crate) specs: Arc<Vec<ChildSpec>>,
    pub(crate) inbox: mpsc::UnboundedSender<Report>,
    table: Mutex<Vec<Entry>>,
}

/// What is shown of a child.
struct Entry {
    state: ChildState,
    since: Instant,
    incarnation: u64,
    /// What is below, if it is a supervisor.
    scope: Weak<Scope>,
}

impl Scope {
    pub(crate) fn new(
        tree: Arc<TreeState>,
        owner: Option<Arc<Incarnation>>,
        specs: Arc<Vec<ChildSpec>>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Report>) {
        // Unbounded in name only: an incarnation reports at most that it is ready, that a task of
        // it failed and that it is gone, and a child has one incarnation at a time.
        let (inbox, reports) = mpsc::unbounded_channel();
        let since = Instant::now();
        let entry = |_| Entry {
            state: ChildState::Down,
            since,
            incarnation: 0,
            scope: Weak::new(),
        };
        let table = Mutex::new(specs.iter().map(entry).collect());
        let scope = Arc::new(Self {
            tree,
            owner,
            specs,
            inbox,
            table,
        });
        if let Some(owner) = &scope.owner {
            owner.scope().table()[owner.child()].scope = Arc::downgrade(&scope);
        }
        (scope, reports)
    }

    /// Publishes that `child` is in `state` since `since`.
    pub(crate) fn set(&self, child: Index, incarnation: u64, state: ChildState, since: Instant) {
        let entry = &mut self.table()[child];
        entry.state = state;
        entry.since = since;
        entry.incarnation = incarnation;
    }

    /// The child and what is below it, as they are now.
    pub(crate) fn snapshot_of(&self, child: Index, now: Instant) -> Snapshot {
        let spec = &self.specs[child];
        let entry = &self.table()[child];
        // The lock is held on the way down only, never on the way up: no cycle.
        let below = entry.scope.upgrade();
        let below = below.iter().flat_map(|scope| {
            let children = 0..scope.specs.len();
            children.map(|child| scope.snapshot_of(child, now))
        });
        Snapshot {
            id: spec.id().to_owned(),
            child_type: spec.child_type(),
            state: entry.state,
            age: now.saturating_duration_since(entry.since),
            incarnation: entry.incarnation,
            children: below.collect(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
