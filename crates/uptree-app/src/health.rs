//! Whether a service that has booted can take requests: the children that gate readiness, and the
//! health checks that children register.
//!
//! Both change seldom and are asked for often, so whatever changes is counted, and who asks reads
//! the count; the table behind it is looked at only while something is amiss. What a grace makes
//! of that depends on the time, so it is worked out for whoever asks, and never stored.

mod check;
mod readiness;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use uptree_supervisor::{ChildState, ChildType, Event, EventKind};

pub use self::{
    check::{CheckState, HealthCheck},
    readiness::{Missing, Readiness, ReadinessWatch},
};

/// What is known of those who have a say in readiness.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// How many in the table are amiss. Written under the table's lock.
    amiss: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The children that gate readiness, by their paths.
    gates: BTreeMap<String, Gate>,
    /// The checks, by their paths, and a number for those with the same.
    checks: BTreeMap<(String, u64), Check>,
    next: u64,
}

/// A child that gates readiness.
#[derive(Debug)]
struct Gate {
    grace: Duration,
    /// Since when it has not been up, and what it is doing instead.
    down: Option<(Instant, ChildState)>,
}

#[derive(Debug)]
struct Check {
    critical: bool,
    /// Readiness waits for its first result.
    awaited: bool,
    state: CheckState,
    since: Instant,
}

impl Check {
    fn gates(&self) -> bool {
        self.critical && (self.awaited || self.state != CheckState::Unknown)
    }
}

impl Table {
    fn amiss(&self) -> usize {
        let gates = self.gates.values().filter(|gate| gate.down.is_some());
        let checks = self.checks.values();
        gates.count() + checks.filter(|it| it.state != CheckState::Passing).count()
    }

    /// What an event makes of a child; whether that changes anything.
    fn note(&mut self, path: &str, grace: Duration, fate: Fate) -> bool {
        let state = match fate {
            Fate::Over => return self.gates.remove(path).is_some(),
            Fate::Up => {
                let gate = Gate { grace, down: None };
                let before = self.gates.insert(path.to_owned(), gate);
                return before.is_some_and(|gate| gate.down.is_some());
            }
            Fate::Down(state) => state,
        };
        let gate = Gate { grace, down: None };
        let gate = self.gates.entry(path.to_owned()).or_insert(gate);
        let since = gate.down.map_or_else(Instant::now, |(since, _)| since);
        gate.down.replace((since, state)) != gate.down
    }

    /// What the end of a supervisor makes of those below it.
    fn note_below(&mut self, path: &str, fate: Fate) -> bool {
        let above = format!("{path}/");
        let below = self.gates.range(above.clone()..);
        let below = below.take_while(|(path, _)| path.starts_with(&above));
        let below: Vec<_> = below
            .map(|(path, gate)| (path.clone(), gate.grace))
            .collect();
        let note = |changed, (path, grace): (String, _)| self.note(&path, grace, fate) || changed;
        below.into_iter().fold(false, note)
    }
}

/// What an event means for readiness.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Up,
    Down(ChildState),
    /// It has ended for good, or is not known any more: nobody waits for it.
    Over,
}

impl Fate {
    fn of(kind: &EventKind<'_>) -> Option<Self> {
        Some(match kind {
            EventKind::Ready { .. } | EventKind::Ignored { .. } => Self::Up,
            EventKind::LeftDown(_) | EventKind::Forgotten => Self::Over,
            EventKind::Starting => Self::Down(ChildState::Starting),
            EventKind::Stopping(_) => Self::Down(ChildState::Stopping),
            EventKind::BackingOff { .. } | EventKind::Restarting { delay: Some(_), .. } => {
                Self::Down(ChildState::BackingOff)
            }
            EventKind::Stuck { .. } => Self::Down(ChildState::Stuck),
            EventKind::Gone { again: true } => Self::Down(ChildState::Down),
            EventKind::StartFailed(_) | EventKind::Stopped { .. } | EventKind::ShutdownError(_) => {
                Self::Down(ChildState::Down)
            }
            _ => return None,
        })
    }

    /// What it means for those below a supervisor whose fate it is. While that one starts or stops
    /// they tell of themselves.
    fn below(self) -> Option<Self> {
        match self {
            Self::Over => Some(Self::Over),
            Self::Down(ChildState::Down) => Some(self),
            Self::Down(_) | Self::Up => None,
        }
    }
}

impl Health {
    /// Takes note of an event; says whether readiness may be another now. Of a child that gates
    /// nothing, and has nothing below it, nothing is kept, and next to nothing done.
    pub(crate) fn observe(&self, event: &Event<'_>) -> bool {
        let Some(fate) = Fate::of(&event.kind) else {
            return false;
        };
        let grace = event.options().ready_grace();
        let below = fate
            .below()
            .filter(|_| event.child_type() == ChildType::Supervisor);
        if grace.is_none() && below.is_none() {
            return false;
        }
        self.note(&event.path().to_string(), grace, fate, below)
    }

    /// Takes note of the fate of a child, of one that gates if it has a grace, and of what that
    /// means for those below it.
    fn note(&self, path: &str, grace: Option<Duration>, fate: Fate, below: Option<Fate>) -> bool {
        self.change(|table| {
            let own = grace.is_some_and(|grace| table.note(path, grace, fate));
            below.is_some_and(|fate| table.note_below(path, fate)) || own
        })
    }

    /// Whether nothing at all is amiss, so that nobody need look at what is.
    pub(crate) fn is_well(&self) -> bool {
        self.amiss.load(Ordering::Acquire) == 0
    }

    /// Changes the table; `change` says, and so does this, whether it made a difference.
    fn change(&self, change: impl FnOnce(&mut Table) -> bool) -> bool {
        let mut table = self.table();
        let changed = change(&mut table);
        if changed {
            self.amiss.store(table.amiss(), Ordering::Release);
        }
        changed
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
