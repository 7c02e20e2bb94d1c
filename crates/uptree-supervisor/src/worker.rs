//! On whose behalf each thread runs: known to the thread itself, and to whoever looks on from
//! outside, such as a watchdog.
//!
//! Each thread shows it in a place that it alone writes to, around each call into the code of a child: plain
//! stores, no lock, no clock. Who looks on reads those of all threads now and then. A call that
//! is still the same after a while blocks its thread; only then it is looked up whose it is.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::incarnation::Incarnation;

/// What a thread is doing. Written by that thread alone, so that no write must wait for another.
#[derive(Debug, Default)]
struct Shown {
    /// The address of the incarnation that it runs for; 0 for none.
    who: AtomicUsize,
    /// The number of calls so far.
    tick: AtomicUsize,
}

/// What each thread shows that has ever run for a child. It goes with its thread.
static SHOWN: Mutex<Vec<Weak<Shown>>> = Mutex::new(Vec::new());

/// A thread that runs the code of children.
struct Worker {
    /// The incarnation whose code it runs. Moved in and out, not counted.
    current: Cell<Option<Arc<Incarnation>>>,
    shown: Arc<Shown>,
}

thread_local! {
    static WORKER: Worker = Worker::new();
}

impl Worker {
    fn new() -> Self {
        let shown = Arc::new(Shown::default());
        let mut all = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|shown| shown.strong_count() > 0);
        all.push(Arc::downgrade(&shown));
        Self {
            current: Cell::default(),
            shown,
        }
    }

    fn swap(&self, mine: &mut Option<Arc<Incarnation>>) {
        *mine = self.current.replace(mine.take());
    }

    fn enter<T>(&self, mine: &mut Option<Arc<Incarnation>>, f: impl FnOnce() -> T) -> T {
        let who = mine.as_ref().map_or(0, address);
        let before = self.shown.who.load(Ordering::Relaxed);
        let tick = self.shown.tick.load(Ordering::Relaxed).wrapping_add(1);
        self.shown.tick.store(tick, Ordering::Relaxed);
        self.shown.who.store(who, Ordering::Relaxed);
        self.swap(mine);
        let output = f();
        self.swap(mine);
        self.shown.who.store(before, Ordering::Relaxed);
        output
    }
}

fn address(life: &Arc<Incarnation>) -> usize {
    Arc::as_ptr(life).addr()
}

/// Calls `f` with `mine` as the current incarnation, and puts both back. `f` must not unwind.
pub(crate) fn enter<T>(mine: &mut Option<Arc<Incarnation>>, f: impl FnOnce() -> T) -> T {
    let mut f = Some(f);
    let mut call = || f.take().map(|f| f());
    let output = WORKER.try_with(|worker| worker.enter(mine, &mut call));
    // While a thread is torn down there is nobody to tell.
    let output = output.unwrap_or_else(|_| call());
    output.expect("it is called in one of the two places")
}

/// The child whose task is being polled on this thread, if any.
pub fn current() -> Option<ChildPath> {
    current_life().map(ChildPath)
}

pub(crate) fn current_life() -> Option<Arc<Incarnation>> {
    let current = WORKER.try_with(|worker| {
        let current = worker.current.take();
        worker.current.set(current.clone());
        current
    });
    current.ok().flatten()
}

/// A child's place in the tree; shown as its path, such as `service/repo`.
#[derive(Clone, Debug)]
pub struct ChildPath(Arc<Incarnation>);

impl fmt::Display for ChildPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.path().fmt(f)
    }
}

/// What the threads of this process do for children at this moment: one entry for each thread that
/// is in the code of one, of whatever tree.
///
/// It costs nothing to those threads, and never waits for them. [`Stopper::path_of`] says whose an
/// entry is.
///
/// [`Stopper::path_of`]: crate::Stopper::path_of
pub fn polling() -> Vec<Polling> {
    let all = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.iter().filter_map(Weak::upgrade);
    all.filter_map(Polling::of).collect()
}

/// One call of a thread into the code of a child: a poll of one of its tasks, or the drop of one.
#[derive(Clone, Debug)]
pub struct Polling {
    shown: Arc<Shown>,
    who: usize,
    tick: usize,
}

impl Polling {
    fn of(shown: Arc<Shown>) -> Option<Self> {
        let tick = shown.tick.load(Ordering::Relaxed);
        let who = shown.who.load(Ordering::Relaxed);
        (who != 0).then_some(Self { shown, who, tick })
    }

    /// Whether that call has not returned, nor made another one.
    pub fn goes_on(&self) -> bool {
        self.shown.tick.load(Ordering::Relaxed) == self.tick
            && self.shown.who.load(Ordering::Relaxed) == self.who
    }

    /// Whether it is made for this incarnation, provided that it still goes on.
    pub(crate) fn is_for(&self, life: &Arc<Incarnation>) -> bool {
        self.who == address(life)
    }
}

impl PartialEq for Polling {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shown, &other.shown) && (self.who, self.tick) == (other.who, other.tick)
    }
}

impl Eq for Polling {}

#[cfg(test)]
mod tests;
