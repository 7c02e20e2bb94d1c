//! What is known of a pod, and what has become of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::probe::Kind;
use crate::Ended;

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Kubernetes has as many conditions"
)]
pub struct Status {
    /// Its container has passed its startup probe.
    pub started: bool,
    /// It has passed its readiness probe.
    pub ready: bool,
    /// How often its container was run again.
    pub restarts: u32,
    /// It is to go.
    pub deleted: bool,
    /// It is gone: deleted, and its container has ended.
    pub gone: bool,
    /// What has happened, in order.
    pub events: Vec<(Instant, Event)>,
    /// The container that runs is to be killed because of this probe.
    pub(super) condemned: Option<Kind>,
    /// How many containers have ended.
    pub(super) over: u32,
    /// Nobody is interested any more.
    pub(super) abandoned: bool,
}

/// What happens to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its container runs.
    Runs,
    /// Its startup probe has succeeded.
    Started,
    /// It is ready, or is no longer.
    Ready(bool),
    /// The answer to a probe was bad.
    Failed(Kind, String),
    /// It has been deleted.
    Deleted,
    /// Its container is to be killed because of this probe.
    Killing(Kind),
    /// Its preStop hook is run.
    PreStop,
    /// Its container is sent SIGTERM.
    Term,
    /// Its grace is over: its container is sent SIGKILL.
    Kill,
    /// Its container has ended.
    Ended(Ended),
}

impl Status {
    /// When this first happened.
    pub fn first(&self, event: &Event) -> Option<Instant> {
        let found = self.events.iter().find(|(_, other)| other == event);
        found.map(|(at, _)| *at)
    }

    /// How its containers ended, in order.
    pub fn ends(&self) -> Vec<Ended> {
        let ends = self.events.iter().filter_map(|(_, event)| match event {
            Event::Ended(ended) => Some(*ended),
            _ => None,
        });
        ends.collect()
    }

    /// What was wrong with the answers to this probe.
    pub fn failures(&self, kind: Kind) -> Vec<&str> {
        let failures = self.events.iter().filter_map(|(_, event)| match event {
            Event::Failed(of, why) if *of == kind => Some(&**why),
            _ => None,
        });
        failures.collect()
    }
}

/// The status, for all who change it or wait for a change.
#[derive(Debug, Default)]
pub(super) struct Shared {
    status: Mutex<Status>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn get(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.get());
        self.changed.notify_all();
    }

    /// Notes what happens, with what it changes.
    pub(super) fn note(&self, event: Event, change: impl FnOnce(&mut Status)) {
        self.change(|status| {
            change(status);
            status.events.push((Instant::now(), event));
        });
    }

    /// Waits until it `is_it`; says whether it is, at the latest when the time is up.
    pub(super) fn wait(&self, timeout: Duration, is_it: impl Fn(&Status) -> bool) -> bool {
        let status = self.get();
        let waited = self
            .changed
            .wait_timeout_while(status, timeout, |status| !is_it(status));
        let (status, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_it(&status)
    }
}
