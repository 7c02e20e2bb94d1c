//! On whose behalf each thread runs: known to the thread itself, and to whoever looks on from
//! outside, such as a watchdog.
//!
//! Each thread has a cell that it alone writes to, around each call into the code of a child: plain
//! stores, no lock, no clock. Who looks on reads the cells of all threads now and then. A call that
//! is still the same after a while blocks its thread; only then it is looked up whose it is.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::incarnation::Incarnation;

/// What a thread is doing. Written by that thread alone, so that no write must wait for another.
#[derive(Debug, Default)]
struct Cell {
    /// The address of the incarnation that it runs for; 0 for none.
    who: AtomicUsize,
    /// The number of calls so far.
    tick: AtomicUsize,
}

/// The cells of the threads that have ever run for a child. They go with their threads.
static CELLS: Mutex<Vec<Weak<Cell>>> = Mutex::new(Vec::new());

/// A thread that runs the code of children.
struct Worker {
    /// The incarnation whose code it runs. Moved in and out, not counted.
    current: RefCell<Option<Arc<Incarnation>>>,
    cell: Arc<Cell>,
}

thread_local! {
    static WORKER: Worker = Worker::new();
}

impl Worker {
    fn new() -> Self {
        let cell = Arc::new(Cell::default());
        let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|cell| cell.strong_count() > 0);
        cells.push(Arc::downgrade(&cell));
        Self {
            current: RefCell::default(),
            cell,
        }
    }

    fn swap(&self, mine: &mut Option<Arc<Incarnation>>) {
        std::mem::swap(&mut *self.current.borrow_mut(), mine);
    }

    fn enter<T>(&self, mine: &mut Option<Arc<Incarnation>>, f: impl FnOnce() -> T) -> T {
        let who = mine.as_ref().map_or(0, address);
        let before = self.cell.who.load(Ordering::Relaxed);
        let tick = self.cell.tick.load(Ordering::Relaxed).wrapping_add(1);
        self.cell.tick.store(tick, Ordering::Relaxed);
        self.cell.who.store(who, Ordering::Relaxed);
        self.swap(mine);
        let output = f();
        self.swap(mine);
        self.cell.who.store(before, Ordering::Relaxed);
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
    let current = WORKER.try_with(|worker| worker.current.borrow().clone());
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
    let cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
    let cells = cells.iter().filter_map(Weak::upgrade);
    cells.filter_map(Polling::of).collect()
}

/// One call of a thread into the code of a child: a poll of one of its tasks, or the drop of one.
#[derive(Clone, Debug)]
pub struct Polling {
    cell: Arc<Cell>,
    who: usize,
    tick: usize,
}

impl Polling {
    fn of(cell: Arc<Cell>) -> Option<Self> {
        let tick = cell.tick.load(Ordering::Relaxed);
        let who = cell.who.load(Ordering::Relaxed);
        (who != 0).then_some(Self { cell, who, tick })
    }

    /// Whether that call has not returned, nor made another one.
    pub fn goes_on(&self) -> bool {
        self.cell.tick.load(Ordering::Relaxed) == self.tick
            && self.cell.who.load(Ordering::Relaxed) == self.who
    }

    /// Whether it is made for this incarnation, provided that it still goes on.
    pub(crate) fn is_for(&self, life: &Arc<Incarnation>) -> bool {
        self.who == address(life)
    }
}

impl PartialEq for Polling {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell) && (self.who, self.tick) == (other.who, other.tick)
    }
}

impl Eq for Polling {}

#[cfg(test)]
mod tests;
