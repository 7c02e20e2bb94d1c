//! What is held against every event.

use std::collections::HashMap;

use tokio::time::Instant;

use super::world::{State, World, parent};
use crate::{Event, EventKind, Observer, StopCause};

/// What was seen of a supervisor that runs.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) ordered: bool,
    /// Those whom it begins with.
    pub(super) listed: Vec<String>,
    pub(super) backs_off: bool,
    /// Its children in start order, as far as they are known.
    pub(super) order: Vec<String>,
    pub(super) phases: HashMap<String, Phase>,
    pub(super) ending: Option<Instant>,
    pub(super) last_started: Option<usize>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Phase {
    Starting { polled: bool },
    Stopping,
}

impl State {
    fn is_gone(&mut self, path: &str, what: &str) {
        if self.lives(path) > 0 {
            self.wrong(&format!("{path} {what}, and something of it is left"));
        }
        if let Some(watched) = parent(path).and_then(|it| self.supervisors.get_mut(it)) {
            watched.phases.remove(path);
        }
    }

    fn on_starting(&mut self, path: &str) {
        if self.lives(path) > 0 {
            self.wrong(&format!("{path} starts, and something of it is left"));
        }
        if let Some(watched) = self.supervisors.get_mut(path) {
            watched.order = watched.listed.clone();
            watched.phases.clear();
            watched.ending = None;
            watched.last_started = None;
        }
        let Some(above) = parent(path) else { return };
        let busy = self.busy_beside(path);
        let called = self.called.contains(path);
        let mut wrong = Vec::new();
        if let Some(watched) = self.supervisors.get_mut(above) {
            if watched.ending.is_some() {
                wrong.push(format!("{path} starts while {above} ends"));
            }
            if let Some(busy) = busy {
                wrong.push(format!("{path} starts before {busy} is done"));
            }
            let place = watched.order.iter().position(|it| it == path);
            let place = place.unwrap_or_else(|| {
                watched.order.push(path.to_owned());
                watched.order.len() - 1
            });
            if watched.ordered && !called {
                if !watched.backs_off && watched.last_started.is_some_and(|last| last >= place) {
                    wrong.push(format!("{path} starts after one that comes later"));
                }
                watched.last_started = Some(place);
            }
            let phase = Phase::Starting { polled: false };
            watched.phases.insert(path.to_owned(), phase);
        }
        for line in wrong {
            self.wrong(&line);
        }
    }

    /// A sibling of `path` that its supervisor should be waiting for.
    fn busy_beside(&self, path: &str) -> Option<String> {
        let watched = self.supervisors.get(parent(path)?)?;
        if !watched.ordered {
            return None;
        }
        let busy = |(sibling, phase): (&String, &Phase)| {
            let lives = self.lives(sibling) > 0;
            let busy = match phase {
                Phase::Stopping => lives,
                // Of a start that was called for and has failed nobody tells.
                Phase::Starting { .. } if self.supervisors.contains_key(sibling) => {
                    !self.called.contains(sibling)
                }
                Phase::Starting { polled } => !polled || lives,
            };
            (busy && sibling != path).then(|| sibling.clone())
        };
        watched.phases.iter().find_map(busy)
    }

    fn on_stopping(&mut self, path: &str, cause: StopCause) {
        let now = Instant::now();
        if let Some(watched) = self.supervisors.get_mut(path) {
            watched.ending.get_or_insert(now);
        }
        let Some(above) = parent(path) else { return };
        let Some(watched) = self.supervisors.get(above) else {
            return;
        };
        let mut wrong = Vec::new();
        if watched.ordered {
            let siblings = watched.phases.iter().filter(|(it, _)| *it != path);
            for (sibling, phase) in siblings {
                if *phase == Phase::Stopping && self.lives(sibling) > 0 {
                    wrong.push(format!("{path} stops while {sibling} does"));
                }
            }
            if watched.ending.is_some() || cause == StopCause::GroupRestart {
                let later = watched.order.iter().skip_while(|it| *it != path).skip(1);
                for later in later.filter(|it| self.lives(it) > 0) {
                    wrong.push(format!("{path} stops before {later}, which comes later"));
                }
            }
        } else if watched.ending.is_some_and(|ending| ending != now) {
            wrong.push(format!("{path} was not asked to stop at once"));
        }
        if let Some(watched) = self.supervisors.get_mut(above) {
            watched.phases.insert(path.to_owned(), Phase::Stopping);
        }
        for line in wrong {
            self.wrong(&line);
        }
    }
}

impl Observer for World {
    fn observe(&self, event: &Event<'_>) {
        let mut state = self.state();
        let path = event.path().to_string();
        state.note(&format!("{path} {:?}", event.kind));
        match &event.kind {
            EventKind::Starting => state.on_starting(&path),
            EventKind::Stopping(cause) => state.on_stopping(&path, *cause),
            EventKind::Ready { .. } => {
                if let Some(above) = parent(&path).and_then(|it| state.supervisors.get_mut(it)) {
                    above.phases.remove(&path);
                }
            }
            EventKind::Ignored { .. } => state.is_gone(&path, "was ignored"),
            EventKind::StartFailed(_) => state.is_gone(&path, "did not start"),
            EventKind::Terminated(_) => state.is_gone(&path, "ended"),
            EventKind::LeftDown(_) => state.is_gone(&path, "ended for good"),
            EventKind::Stopped { .. } => state.is_gone(&path, "has stopped"),
            EventKind::ShutdownError(_) => state.is_gone(&path, "has stopped badly"),
            EventKind::Ending => {
                if let Some(watched) = state.supervisors.get_mut(&path) {
                    watched.ending.get_or_insert_with(Instant::now);
                }
            }
            EventKind::Restarting { delay, .. } => {
                if let Some(above) = parent(&path).and_then(|it| state.supervisors.get_mut(it)) {
                    above.last_started = None;
                    above.backs_off |= delay.is_some();
                }
            }
            EventKind::BackingOff { .. } => {
                if let Some(above) = parent(&path).and_then(|it| state.supervisors.get_mut(it)) {
                    above.backs_off = true;
                }
            }
            EventKind::Stuck { .. } => state.wrong(&format!("{path} is stuck")),
            _ => {}
        }
    }
}
