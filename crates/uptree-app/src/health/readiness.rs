//! Readiness as it is told.

use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep_until};
use uptree_supervisor::{ChildState, Snapshot};

use super::{CheckState, Health, Table};
use crate::Monitor;

/// Whether a service can take requests, as far as its children know: see
/// [`Monitor::readiness`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Readiness {
    /// Every child has started at least once.
    pub booted: bool,
    /// What it cannot take requests without: children that gate readiness and have been down for
    /// longer than their grace, and critical checks that do not pass.
    pub missing: Vec<Missing>,
    /// What is amiss and does not matter for that: informative checks that do not pass.
    pub informative: Vec<Missing>,
}

impl Readiness {
    /// Whether the service has booted and nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.booted && self.missing.is_empty()
    }
}

/// Something that is not as it should be: which, what it does instead, and for how long. Never
/// why: errors are for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Missing {
    /// A child that is not up.
    Child {
        /// Its path.
        path: String,
        /// What it does instead.
        state: ChildState,
        /// For how long it has not been up.
        age: Duration,
    },
    /// A check that does not pass.
    Check {
        /// The child's path and the check's name.
        path: String,
        /// What came of it.
        state: CheckState,
        /// For how long.
        age: Duration,
    },
}

impl Missing {
    /// Its path.
    pub fn path(&self) -> &str {
        match self {
            Self::Child { path, .. } | Self::Check { path, .. } => path,
        }
    }

    /// Its state, in a word or two.
    pub fn state(&self) -> &(dyn fmt::Display + Send + Sync) {
        match self {
            Self::Child { state, .. } => state,
            Self::Check { state, .. } => state,
        }
    }

    /// For how long.
    pub fn age(&self) -> Duration {
        match self {
            Self::Child { age, .. } | Self::Check { age, .. } => *age,
        }
    }
}

/// A line: `service/repo: backing off for 1.5 s`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.age().as_secs_f64();
        write!(f, "{}: {} for {age:.1} s", self.path(), self.state())
    }
}

/// What is amiss at one moment.
#[derive(Debug, Default)]
struct Amiss {
    missing: Vec<Missing>,
    informative: Vec<Missing>,
    /// When the next grace is over, if nothing happens before.
    next: Option<Instant>,
}

impl Amiss {
    fn of(table: &Table, now: Instant) -> Self {
        let mut amiss = Self::default();
        for (path, gate) in &table.gates {
            let Some((since, state)) = gate.down else {
                continue;
            };
            let age = now.saturating_duration_since(since);
            if age >= gate.grace {
                let path = path.clone();
                amiss.missing.push(Missing::Child { path, state, age });
            } else if let Some(end) = since.checked_add(gate.grace) {
                amiss.next = Some(amiss.next.map_or(end, |next| next.min(end)));
            }
        }
        for ((path, _), check) in &table.checks {
            if check.state == CheckState::Passing {
                continue;
            }
            let list = match check.gates() {
                true => &mut amiss.missing,
                false => &mut amiss.informative,
            };
            list.push(Missing::Check {
                path: path.clone(),
                state: check.state,
                age: now.saturating_duration_since(check.since),
            });
        }
        amiss
    }
}

impl Health {
    /// What is amiss now.
    fn amiss(&self) -> Amiss {
        match self.is_well() {
            true => Amiss::default(),
            false => Amiss::of(&self.table(), Instant::now()),
        }
    }
}

impl Monitor {
    /// Whether it has booted and nothing at all is amiss. Reads atomics only; where it says no,
    /// [`readiness`](Self::readiness) may still say that the service is ready.
    pub fn is_well(&self) -> bool {
        self.is_booted() && self.health().is_well()
    }

    /// Whether the service can take requests, as far as its children know, and what is missing.
    ///
    /// A child that gates readiness ([`gates_ready`](crate::IntoChild::gates_ready)) is up when it
    /// is ready, when it did its work, and when it has ended for good, which its supervisor takes
    /// for an end and not for a failure. Costs O(number of those that gate, and of checks).
    pub fn readiness(&self) -> Readiness {
        self.readiness_until().0
    }

    /// The same, and when it changes by itself.
    fn readiness_until(&self) -> (Readiness, Option<Instant>) {
        let amiss = self.health().amiss();
        let readiness = Readiness {
            booted: self.is_booted(),
            missing: amiss.missing,
            informative: amiss.informative,
        };
        (readiness, amiss.next)
    }

    /// The children of the lists that are not up, in start order: what a boot, or a stop, has to
    /// do with now. Of a supervisor that goes on, those below it. Costs O(length of the lists),
    /// however many children were added by calls.
    pub fn not_up(&self) -> Vec<Missing> {
        let mut all = Vec::new();
        // Under no lock: the tree has locks of its own.
        let tree = self.tree().clone();
        if let Some(tree) = tree {
            add_not_up("", &tree.snapshot_of_list(), &mut all);
        }
        all
    }

    /// Tells of every change of [`readiness`](Self::readiness) from now on.
    pub fn watch_readiness(&self) -> ReadinessWatch {
        ReadinessWatch {
            monitor: self.clone(),
            seen: None,
            grace_over: None,
        }
    }

    /// Changes who has a say in readiness, and tells of it.
    pub(super) fn change_health(&self, change: impl FnOnce(&mut Table) -> bool) {
        if self.health().change(change) {
            self.tell_changed();
        }
    }
}

fn add_not_up(above: &str, child: &Snapshot, all: &mut Vec<Missing>) {
    let path = format!("{above}{}", child.id);
    let before = all.len();
    match child.state {
        ChildState::Running | ChildState::Starting | ChildState::Stopping => {
            let above = format!("{path}/");
            for child in &child.children {
                add_not_up(&above, child, all);
            }
        }
        _ => {}
    }
    let is_up = matches!(child.state, ChildState::Running | ChildState::Ignored);
    if !is_up && all.len() == before {
        all.push(Missing::Child {
            path,
            state: child.state,
            age: child.age,
        });
    }
}

/// Waits for changes of a service's readiness: see [`Monitor::watch_readiness`].
#[derive(Debug)]
pub struct ReadinessWatch {
    monitor: Monitor,
    /// The version that was looked at.
    seen: Option<u64>,
    /// When what was looked at changes by itself.
    grace_over: Option<Instant>,
}

impl ReadinessWatch {
    /// The readiness now. What changes later [`changed`](Self::changed) tells.
    pub fn readiness(&mut self) -> Readiness {
        self.seen = Some(self.monitor.version());
        let (readiness, until) = self.monitor.readiness_until();
        self.grace_over = until;
        readiness
    }

    /// Completes when readiness may have changed since it was last looked at, because something
    /// happened or a grace is over; at once if it has not been looked at.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&self) {
        let Some(seen) = self.seen else {
            return;
        };
        let grace_over = async {
            match self.grace_over {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.monitor.changed(seen) => {}
            () = grace_over => {}
        }
    }
}
