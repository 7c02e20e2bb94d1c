//! How long the stop of a tree may take.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    case::{Ending, Life, Step},
    watch::{Phase, Watched},
    world::{Known, State, World},
};

impl World {
    /// The whole tree is about to be stopped.
    pub(super) fn root_ends(&self) {
        let mut state = self.state();
        let roots = state
            .supervisors
            .iter_mut()
            .filter(|(path, _)| !path.contains('/'));
        for (_, root) in roots {
            root.ending.get_or_insert_with(Instant::now);
        }
    }

    /// What is not the driver's doing.
    pub(super) fn slack(&self) -> Duration {
        self.state().slack()
    }

    /// The longest that the stop of the tree may take.
    pub(super) fn longest_stop(&self) -> Duration {
        let state = self.state();
        let root = state.known.keys().find(|path| !path.contains('/'));
        let longest = root.map_or(0, |root| state.longest_stop(root));
        Duration::from_millis(longest) + state.slack()
    }

    /// The same with a budget, which binds those who have not been asked to stop before.
    pub(super) fn longest_stop_within(&self, budget: Duration) -> Duration {
        let longest = self.longest_stop();
        let state = self.state();
        let watched = state.supervisors.values();
        let stops = |it: &Watched| {
            it.ending.is_some() || it.phases.values().any(|it| *it == Phase::Stopping)
        };
        if watched.into_iter().any(stops) || state.told.iter().any(|line| line.contains("> stop")) {
            return longest;
        }
        let grace = Duration::from_millis(state.longest_grace);
        longest.min(budget + grace + state.slack())
    }
}

impl State {
    fn longest_stop(&self, path: &str) -> u64 {
        match self.known.get(path) {
            Some(Known::Worker(longest)) => *longest,
            Some(Known::Supervisor { ordered, children }) => {
                let children = children.iter().map(|path| self.longest_stop(path));
                match ordered {
                    true => children.sum(),
                    false => children.max().unwrap_or(0),
                }
            }
            None => 0,
        }
    }

    /// Timers ring at full milliseconds, and a supervisor that is paused looks at nothing.
    fn slack(&self) -> Duration {
        let timers = u32::try_from(2 * self.known.len() + 2).unwrap_or(u32::MAX);
        Duration::from_millis(1) * timers + self.paused
    }
}

pub(super) fn longer(longest: u64, stop: Option<u64>) -> Option<u64> {
    Some(longest.max(stop?))
}

/// How long a life takes to stop; `None` if perhaps for ever.
pub(super) fn stop_of(life: &Life) -> Option<u64> {
    let deaf = if life.deaf { &life.run[..] } else { &[] };
    let steps = deaf.iter().chain(&life.stop);
    let times = steps.map(|step| match *step {
        Step::Sleep(long) => Some(u64::from(long)),
        Step::Call(_) | Step::End(Ending::Hang) => None,
        Step::Yield | Step::Spawn(..) | Step::Hold | Step::End(_) => Some(0),
    });
    times.sum()
}
