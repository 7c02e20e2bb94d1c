//! Measures that are taken when somebody asks.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Measure = Arc<dyn Fn() + Send + Sync>;

/// Who is to take a measure.
#[derive(Default)]
pub(super) struct Measures {
    next: u64,
    all: Vec<(u64, Measure)>,
}

pub(super) fn lock(measures: &Mutex<Measures>) -> MutexGuard<'_, Measures> {
    measures.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one, until the guard is dropped.
pub(super) fn add(measures: &Arc<Mutex<Measures>>, measure: Measure) -> Measuring {
    let mut all = lock(measures);
    let number = all.next;
    all.next += 1;
    all.all.push((number, measure));
    drop(all);
    Measuring {
        number,
        measures: Arc::clone(measures),
    }
}

/// Has all of them taken.
pub(super) fn take(measures: &Mutex<Measures>) {
    // Under no lock: they are strangers'.
    let all: Vec<_> = lock(measures)
        .all
        .iter()
        .map(|(_, it)| it.clone())
        .collect();
    for measure in all {
        // The panic is in the log, by the hook; it fails neither the others nor whoever asks.
        _ = catch_unwind(AssertUnwindSafe(|| measure()));
    }
}

/// Takes a measure back when it is dropped: what [`Monitor::measured`](crate::Monitor::measured)
/// answers with.
#[must_use = "nothing is measured once this is dropped"]
pub struct Measuring {
    number: u64,
    measures: Arc<Mutex<Measures>>,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let mut all = lock(&self.measures);
        let index = all
            .all
            .iter()
            .position(|(number, _)| *number == self.number);
        let measure = index.map(|index| all.all.remove(index));
        drop(all);
        // Under no lock: what it holds is a stranger's.
        drop(measure);
    }
}

impl fmt::Debug for Measuring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measuring").finish_non_exhaustive()
    }
}
