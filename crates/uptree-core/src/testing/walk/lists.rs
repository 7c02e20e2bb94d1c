//! The children that machines are walked with.

use crate::{ChildType, Restart, Shutdown, Spec};

pub(crate) const PERMANENT: Spec = spec(Restart::Permanent);
pub(crate) const TRANSIENT: Spec = spec(Restart::Transient);
pub(crate) const TEMPORARY: Spec = spec(Restart::Temporary);

const fn spec(restart: Restart) -> Spec {
    Spec {
        restart,
        shutdown: Shutdown::Infinity,
        significant: false,
        child_type: ChildType::Worker,
    }
}

/// Every list of so many out of `specs`.
pub(crate) fn lists(len: usize, specs: &[Spec]) -> Vec<Vec<Spec>> {
    let mut lists = vec![Vec::new()];
    for _ in 0..len {
        let longer = |list: Vec<Spec>| {
            let with = move |&spec| [list.clone(), vec![spec]].concat();
            specs.iter().map(with)
        };
        lists = lists.into_iter().flat_map(longer).collect();
    }
    lists
}

/// So that a walk that stopped walking is noticed.
#[track_caller]
pub(crate) fn at_least(least: usize, states: impl Iterator<Item = usize>) {
    let states: usize = states.sum();
    assert!(states >= least, "{states} states");
}
