//! One incarnation of a supervisor, as its children and its onlookers see it.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use uptree_core::{ChildType, Incarnation as Key, Index};

use crate::{
    ChildSpec, EventKind, inbox::Inbox, incarnation::Incarnation, state::TreeState, worker::Polling,
};

/// What the children of one supervisor share.
pub(crate) struct Scope {
    pub(crate) tree: Arc<TreeState>,
    /// The supervisor's own incarnation; `None` above the root.
    pub(crate) owner: Option<Arc<Incarnation>>,
    /// Its children stop one after the other.
    pub(crate) ordered: bool,
    /// The supervisor itself is dynamic, see [`Incarnation::is_dynamic`].
    dynamic: bool,
    /// What the observer keeps for this supervisor.
    pub(crate) kept: OnceLock<Box<dyn Any + Send + Sync>>,
    pub(crate) inbox: Inbox,
    /// Those whom the supervisor begins with, in the first slots.
    pub(crate) listed: Arc<Vec<ChildSpec>>,
    /// A child in each slot. Written by the supervisor, when an incarnation starts or a child is
    /// forgotten; read by whoever looks on.
    entries: Mutex<Vec<Entry>>,
}

/// Who is in a slot.
#[derive(Clone)]
pub(crate) enum Entry {
    /// Nobody.
    Free,
    /// One of those that the supervisor begins with, never started.
    Listed,
    /// The latest incarnation of a child, and the number of its first.
    Started(Arc<Incarnation>, u32),
}

impl Scope {
    pub(crate) fn new(
        tree: Arc<TreeState>,
        owner: Option<Arc<Incarnation>>,
        listed: &Arc<Vec<ChildSpec>>,
        ordered: bool,
    ) -> Arc<Self> {
        let entries = vec![Entry::Listed; listed.len()];
        let dynamic = owner.as_ref().is_some_and(|owner| owner.is_dynamic());
        Arc::new(Self {
            tree,
            owner,
            ordered,
            dynamic,
            kept: OnceLock::new(),
            inbox: Inbox::default(),
            listed: listed.clone(),
            entries: Mutex::new(entries),
        })
    }

    /// Whether the child in a slot, or what is above it, was started by a call or is one of many
    /// alike.
    pub(crate) fn is_dynamic(&self, slot: Index) -> bool {
        // Above the root there is no list.
        let added = self.owner.is_some() && slot >= self.listed.len();
        self.dynamic || !self.ordered || added
    }

    /// The time since the tree began.
    pub(crate) fn now(&self) -> Duration {
        self.tree.began.elapsed()
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the stops of all children take together, those included who were added by calls;
    /// `None` if that has no limit.
    pub(crate) fn time_to_stop(&self) -> Option<Duration> {
        // Under no lock: those below have locks of their own.
        let entries = self.entries().clone();
        let entries = entries.iter().enumerate();
        let mut budgets = entries.map(|(slot, entry)| self.time_to_stop_of(slot, entry));
        budgets.try_fold(Duration::ZERO, |sum, own| sum.checked_add(own?))
    }

    /// The longest that the stop of the child in a slot takes; `None` if there is no limit.
    pub(crate) fn time_to_stop_of(&self, slot: Index, entry: &Entry) -> Option<Duration> {
        match entry {
            Entry::Free => Some(Duration::ZERO),
            Entry::Listed => self.listed[slot].stop_budget(),
            Entry::Started(life, _) => life.time_to_stop(),
        }
    }

    /// The child in a slot.
    pub(crate) fn spec(&self, slot: Index) -> Option<ChildSpec> {
        let entries = self.entries();
        self.spec_of(slot, entries.get(slot)?).cloned()
    }

    pub(crate) fn spec_of<'a>(&'a self, slot: Index, entry: &'a Entry) -> Option<&'a ChildSpec> {
        match entry {
            Entry::Free => None,
            Entry::Listed => self.listed.get(slot),
            Entry::Started(life, _) => Some(life.spec()),
        }
    }

    /// The number of the first life of the child whose life this is, if that is its latest.
    pub(crate) fn first_of(&self, key: Key) -> Option<u32> {
        match self.entries().get(key.child)? {
            Entry::Started(life, first) if life.key() == key => Some(*first),
            _ => None,
        }
    }

    /// Every slot with what is in it, in start order.
    pub(crate) fn in_order(&self) -> Vec<(Index, Entry)> {
        let mut entries: Vec<_> = self.entries().iter().cloned().enumerate().collect();
        // Those whom the supervisor began with share a number, and are in order already.
        entries.sort_by_key(|(slot, entry)| match entry {
            Entry::Started(_, first) => *first,
            Entry::Listed | Entry::Free => Key::first(*slot).number,
        });
        entries
    }

    /// Lets go of the children now that the supervisor and they are gone: they keep it, and it
    /// must not keep them. Who is stuck stays, for those who want to know.
    pub(crate) fn let_go(&self) {
        let entries = std::mem::take(&mut *self.entries());
        let stuck = |entry: &Entry| matches!(entry, Entry::Started(life, _) if life.is_stuck());
        // Not under the lock: a spec's drop is a stranger's, and so is the observer.
        for (slot, entry) in entries.iter().enumerate() {
            if let Entry::Started(life, first) = entry
                && !self.is_listed(slot, *first)
            {
                life.emit(EventKind::Forgotten);
            }
        }
        let stuck: Vec<_> = entries.into_iter().filter(stuck).collect();
        *self.entries() = stuck;
    }

    /// Whether the child in a slot, whose first life has this number, is one that the supervisor
    /// begins with: not one that was added to a slot that had become free.
    fn is_listed(&self, slot: Index, first: u32) -> bool {
        slot < self.listed.len() && first == Key::first(slot).number
    }

    /// What is shown of those that the supervisor begins with, and still knows.
    pub(crate) fn snapshots_of_list(&self) -> Vec<Snapshot> {
        // Under no lock: those below have locks of their own.
        let listed: Vec<_> = {
            let entries = self.entries();
            entries.iter().take(self.listed.len()).cloned().collect()
        };
        let shown = |(slot, entry): (Index, Entry)| match entry {
            Entry::Listed => Some(Snapshot::unstarted(&self.listed[slot], self.now())),
            Entry::Started(life, first) if self.is_listed(slot, first) => {
                Some(life.snapshot_of_list())
            }
            Entry::Free | Entry::Started(..) => None,
        };
        listed.into_iter().enumerate().filter_map(shown).collect()
    }

    /// The incarnation for whom a call is made, among those below.
    pub(crate) fn find(&self, polling: &Polling) -> Option<Arc<Incarnation>> {
        // Under no lock: those below have locks of their own.
        let entries = self.entries().clone();
        entries.into_iter().find_map(|entry| match entry {
            Entry::Started(life, _) => life.find(polling),
            Entry::Free | Entry::Listed => None,
        })
    }

    /// What is shown of every child, in start order.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let shown = |(slot, entry): (Index, Entry)| match entry {
            Entry::Free => None,
            Entry::Listed => Some(Snapshot::unstarted(&self.listed[slot], self.now())),
            Entry::Started(life, _) => Some(life.snapshot()),
        };
        // Under no lock: those below have locks of their own.
        self.in_order().into_iter().filter_map(shown).collect()
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
    /// It failed, and its restart waits for its backoff.
    BackingOff,
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
            Self::BackingOff => "backing off",
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
    /// For how long its code has been blocking a thread: as far as somebody watches, which a
    /// supervisor does not.
    pub blocks_for: Option<Duration>,
    /// What is below it, in start order.
    pub children: Vec<Snapshot>,
}

impl Snapshot {
    pub(crate) fn unstarted(spec: &ChildSpec, age: Duration) -> Self {
        Self {
            id: spec.id().to_owned(),
            child_type: spec.child_type(),
            state: ChildState::Down,
            age,
            incarnation: 0,
            blocks_for: None,
            children: Vec::new(),
        }
    }

    /// The child at this path, such as `service/repo`; this one is `service`.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        let below = path.strip_prefix(&*self.id)?;
        if below.is_empty() {
            return Some(self);
        }
        let below = below.strip_prefix('/')?;
        self.children.iter_mut().find_map(|it| it.at_mut(below))
    }

    /// The paths of the workers that are not down, with their state and its age.
    pub fn up(&self) -> Vec<(String, ChildState, Duration)> {
        let mut up = Vec::new();
        self.up_below("", &mut up);
        up
    }

    fn up_below(&self, above: &str, up: &mut Vec<(String, ChildState, Duration)>) {
        if matches!(
            self.state,
            ChildState::Down | ChildState::Ignored | ChildState::BackingOff
        ) {
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
