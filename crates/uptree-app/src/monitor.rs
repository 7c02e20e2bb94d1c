//! What an app knows of itself while it runs.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use uptree_supervisor::{Event, EventKind, Log, Observer, Snapshot, Stopper};

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

#[derive(Default)]
struct Inner {
    /// The tree, while it lives: it keeps its monitor, which must not keep it.
    tree: Mutex<Option<Stopper>>,
    booted: AtomicBool,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
        }
    }

    /// The tree as it is now; `None` before it begins and after its end. Costs O(number of
    /// children); asks nobody.
    pub fn snapshot(&self) -> Option<Snapshot> {
        // Under no lock: the tree has locks of its own.
        let tree = self.tree().clone();
        tree.map(|tree| tree.snapshot())
    }

    /// Whether every child has started at least once.
    pub fn is_booted(&self) -> bool {
        self.inner.booted.load(Ordering::Acquire)
    }

    pub(crate) fn attach(&self, tree: Stopper) {
        *self.tree() = Some(tree);
    }

    pub(crate) fn detach(&self) {
        let tree = self.tree().take();
        drop(tree);
    }

    fn tree(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.inner
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Monitor {
    fn observe(&self, event: &Event<'_>) {
        Log.observe(event);
        if matches!(event.kind, EventKind::Ready { .. }) && event.is_root() {
            self.inner.booted.store(true, Ordering::Release);
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("booted", &self.is_booted())
            .finish_non_exhaustive()
    }
}
