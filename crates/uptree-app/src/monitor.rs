//! What an app knows of itself while it runs.

mod measure;
mod meters;
mod record;
mod spans;
#[cfg(test)]
mod tests;
mod timeline;
mod tree;

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};
use uptree_supervisor::{Event, EventKind, Log, Observer, Snapshot, StopCause, Stopper};

use self::{measure::Measures, meters::Tally, record::Record};
pub use self::{
    measure::Measuring,
    spans::Spans,
    timeline::{
        Happened, JournalEntry, ProgressRecord, StartOutcome, StartRecord, StepRecord, Timeline,
    },
    tree::TreeNode,
};
use crate::health::Health;
use crate::watchdog::Watched;

/// What an app knows of itself: the state of its tree, and what has happened to it.
///
/// There is one for each [`App`](crate::App) that runs, and whatever tells of it to the outside
/// reads this one. Cheap to clone. A child reaches it by
/// [`Context::extension`](crate::Context::extension).
///
/// # Examples
///
/// ```
/// use uptree_app::{App, Context, Monitor, Result, worker};
///
/// async fn tell((): (), cx: Context) -> Result {
///     let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
///     let tree = monitor.snapshot().ok_or("it has ended")?;
///     println!("{} has {} children", tree.id, tree.children.len());
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// let app = App::new("shop").child(worker("teller", (), tell));
/// ```
#[derive(Clone)]
pub struct Monitor {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    /// The tree, while it lives: it keeps its monitor, which must not keep it.
    tree: Mutex<Option<Stopper>>,
    booted: AtomicBool,
    record: Mutex<Record>,
    health: Health,
    /// How often something has changed.
    version: AtomicU64,
    changed: Notify,
    watched: Watched,
    measures: Arc<Mutex<Measures>>,
    /// `None` if nobody wants spans.
    spans: Option<Mutex<spans::Open>>,
}

/// So many children of one list are looked at one by one; those after them are many alike.
const LISTED: usize = 256;

impl Monitor {
    pub(crate) fn new(spans: Spans) -> Self {
        meters::describe();
        Self {
            inner: Arc::new(Inner {
                began: Instant::now(),
                tree: Mutex::default(),
                booted: AtomicBool::new(false),
                record: Mutex::default(),
                health: Health::default(),
                version: AtomicU64::new(0),
                changed: Notify::new(),
                watched: Watched::default(),
                measures: Arc::default(),
                spans: (spans != Spans::Off).then(Mutex::default),
            }),
        }
    }

    /// The tree as it is now; `None` before it begins and after its end. Costs O(number of
    /// children); asks nobody.
    pub fn snapshot(&self) -> Option<Snapshot> {
        // Under no lock: the tree has locks of its own.
        let tree = self.tree().clone();
        let mut snapshot = tree?.snapshot();
        for blocked in self.blocked() {
            if let Some(child) = snapshot.at_mut(&blocked.path) {
                child.blocks_for = child.blocks_for.max(Some(blocked.age));
            }
        }
        Some(snapshot)
    }

    /// Whether every child has started at least once.
    pub fn is_booted(&self) -> bool {
        self.inner.booted.load(Ordering::Acquire)
    }

    /// What has happened, from the first start on. Costs O(what is kept of it).
    pub fn timeline(&self) -> Timeline {
        let now = self.inner.began.elapsed();
        self.record().timeline(now)
    }

    /// How often the tree has changed: greater after whatever changes the
    /// [`snapshot`](Self::snapshot) or the [`timeline`](Self::timeline), but for dynamic children
    /// that come and go as they should. One atomic read.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// Completes when the [`version`](Self::version) is another than `seen`, and tells it. Changes
    /// that come fast after each other may be one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&self, seen: u64) -> u64 {
        loop {
            let mut changed = pin!(self.inner.changed.notified());
            // In the list of waiters before the look: what changes after it is not missed.
            changed.as_mut().enable();
            let version = self.version();
            if version != seen {
                return version;
            }
            changed.await;
        }
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.inner.watched
    }

    /// The [`snapshot`](Self::snapshot), to be told to the outside as JSON.
    pub fn tree_node(&self) -> Option<TreeNode> {
        self.snapshot().map(TreeNode::from)
    }

    /// Has `measure` called whenever measures are asked for, for as long as the guard lives: it is
    /// to set gauges of the `metrics` facade to what they are now, and must be quick.
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_app::{Context, Monitor, Result};
    ///
    /// async fn cache((): (), cx: Context) -> Result {
    ///     let _measuring = cx.extension::<Monitor>().map(|monitor| {
    ///         monitor.measured(|| println!("a gauge would be set here"))
    ///     });
    ///     cx.shutdown().await;
    ///     Ok(())
    /// }
    /// ```
    pub fn measured(&self, measure: impl Fn() + Send + Sync + 'static) -> Measuring {
        measure::add(&self.inner.measures, Arc::new(measure))
    }

    /// Everything that was measured in this process, in Prometheus's text format; `None` unless
    /// [`main`](crate::main) has installed the recorder: not if the program has one of its own.
    pub fn metrics(&self) -> Option<String> {
        self.measure();
        crate::metrics::render()
    }

    /// Sets the gauges that are set when somebody asks.
    pub(crate) fn measure(&self) {
        measure::take(&self.inner.measures);
    }

    pub(crate) fn attach(&self, tree: Stopper) {
        *self.tree() = Some(tree);
    }

    /// The tree has ended.
    pub(crate) fn detach(&self) {
        let tree = self.tree().take();
        drop(tree);
        let now = self.inner.began.elapsed();
        self.record().on_ended(now);
        if let Some(mut spans) = self.spans() {
            spans.on_ended();
        }
        self.tell_changed();
    }

    pub(crate) fn health(&self) -> &Health {
        &self.inner.health
    }

    /// The boot is over.
    pub(crate) fn set_booted(&self) {
        self.inner.booted.store(true, Ordering::Release);
    }

    pub(crate) fn tell_changed(&self) {
        self.inner.version.fetch_add(1, Ordering::AcqRel);
        self.inner.changed.notify_waiters();
    }

    fn spans(&self) -> Option<MutexGuard<'_, spans::Open>> {
        let spans = self.inner.spans.as_ref()?;
        Some(spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.inner
            .record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.inner
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Monitor {
    fn observe(&self, event: &Event<'_>) {
        let is_alike = event.is_dynamic() || event.position() >= LISTED;
        if is_alike {
            Tally::count(event);
        }
        // The root's is told with more.
        let has_booted = matches!(event.kind, EventKind::Ready { .. }) && event.is_root();
        if !has_booted {
            Log.observe(event);
        }
        let health_changed = self.inner.health.observe(event);
        if is_alike && !is_told_of_many(event) {
            if health_changed {
                self.tell_changed();
            }
            return;
        }
        let at = event.at();
        let path = event.path().to_string();
        if !is_alike {
            meters::count(event, &path);
        }
        let stops = matches!(event.kind, EventKind::Stopping(StopCause::Shutdown))
            || matches!(event.kind, EventKind::Ending if event.is_root());
        if let Some(mut spans) = self.spans() {
            if stops {
                spans.on_stop(path.split('/').next().unwrap_or_default());
            }
            if !is_alike {
                spans.note(event, &path);
            }
        }
        let mut record = self.record();
        if stops {
            record.on_stop(at);
        }
        record.note(event, path, at);
        drop(record);
        if has_booted {
            self.set_booted();
            tell_booted(&self.timeline());
        }
        self.tell_changed();
    }
}

/// Tells how long the boot took, and what of it took longest.
fn tell_booted(timeline: &Timeline) {
    let root = timeline.starts.first();
    let (Some(root), Some(took)) = (root, timeline.boot) else {
        return;
    };
    let slowest = timeline.slowest();
    let waited = slowest
        .filter(|it| !it.waited.is_zero())
        .map(|it| it.waited);
    tracing::info!(
        child = root.child,
        slowest = slowest.map(|it| &*it.child),
        worked = slowest.map(|it| tracing::field::debug(it.worked)),
        waited = waited.map(tracing::field::debug),
        "booted in {took:.1?}"
    );
}

/// Whether an event of one of many children alike is worth more than a count: only what goes wrong
/// is, and whatever readiness depends on.
fn is_told_of_many(event: &Event<'_>) -> bool {
    went_wrong(&event.kind) || event.options().ready_grace().is_some()
}

fn went_wrong(kind: &EventKind<'_>) -> bool {
    if let EventKind::LeftDown(reason) = kind {
        return reason.is_abnormal();
    }
    !matches!(
        kind,
        EventKind::Starting
            | EventKind::Step(_)
            | EventKind::Waiting(_)
            | EventKind::Progress { .. }
            | EventKind::AttemptFailed(_)
            | EventKind::Ready { .. }
            | EventKind::Ignored { .. }
            | EventKind::Gone { .. }
            | EventKind::Terminated(_)
            | EventKind::Stopping(_)
            | EventKind::Stopped { .. }
            | EventKind::Forgotten
    )
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("booted", &self.is_booted())
            .finish_non_exhaustive()
    }
}
