//! How long a child that keeps failing waits before it is restarted again.

use std::{collections::BTreeMap, time::Duration};

use crate::Index;

/// Exponential delays between the restarts of one child.
///
/// The first failure is restarted at once, as in OTP. If the child fails again before it has run
/// for [`reset_after`](Self#structfield.reset_after), the restart waits for
/// [`initial`](Self#structfield.initial), the next one twice as long, and so on up to
/// [`max`](Self#structfield.max). While it waits its siblings are served.
///
/// Who starts the children adds jitter, so that many services that lost the same database do not
/// come back in the same instant: a delay is between half of what is computed here and all of it
/// ("equal jitter", M. Brooker, *Exponential Backoff And Jitter*, 2015).
///
/// # Differences from OTP
///
/// OTP has no such thing; a supervisor of ours has none unless it is given one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first delay. Defaults to 100 ms.
    pub initial: Duration,
    /// The longest delay. Defaults to 5 s.
    pub max: Duration,
    /// How long a child must run to be forgiven its failures. Defaults to 30 s.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
            reset_after: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// Delays from `initial` up to `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            ..Self::default()
        }
    }

    /// Sets how long a child must run to be forgiven its failures. Defaults to 30 s.
    pub fn reset_after(mut self, run: Duration) -> Self {
        self.reset_after = run;
        self
    }

    /// The delay before a restart, after so many others without a stable run.
    pub fn delay(&self, restarts: u32) -> Duration {
        let Some(doublings) = restarts.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.checked_pow(doublings);
        let delay = factor.and_then(|factor| self.initial.checked_mul(factor));
        delay.unwrap_or(self.max).min(self.max)
    }
}

/// What a machine remembers of its children's backoff: nothing of those that never failed.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Backoffs {
    /// Of the children that have none of their own.
    pub(crate) default: Option<Backoff>,
    own: BTreeMap<Index, Backoff>,
    streaks: BTreeMap<Index, Streak>,
}

/// How often one child was restarted without a long run between.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Streak {
    restarts: u32,
    /// Since when it runs; `None` while it does not.
    up_since: Option<Duration>,
}

impl Streak {
    /// The child is ready.
    pub(crate) fn up(&mut self, now: Duration) {
        self.up_since = Some(now);
    }

    /// The child failed: how often it was restarted before, since a run that is long enough.
    pub(crate) fn failed(&mut self, now: Duration, is_long: impl Fn(Duration) -> bool) -> u32 {
        let run = self.up_since.take();
        if run.is_some_and(|since| is_long(now.saturating_sub(since))) {
            self.restarts = 0;
        }
        let before = self.restarts;
        self.restarts = before.saturating_add(1);
        before
    }
}

impl Backoffs {
    /// Gives a child one of its own.
    pub(crate) fn set(&mut self, child: Index, backoff: Backoff) {
        self.own.insert(child, backoff);
    }

    /// The child is ready.
    pub(crate) fn up(&mut self, child: Index, now: Duration) {
        if let Some(streak) = self.streaks.get_mut(&child) {
            streak.up(now);
        }
    }

    /// The child failed: how long its restart is to wait.
    pub(crate) fn failed(&mut self, child: Index, now: Duration) -> Duration {
        let Some(backoff) = self.own.get(&child).copied().or(self.default) else {
            return Duration::ZERO;
        };
        let streak = self.streaks.entry(child).or_default();
        backoff.delay(streak.failed(now, |run| run >= backoff.reset_after))
    }

    /// There is no such child any more.
    pub(crate) fn forget(&mut self, child: Index) {
        self.own.remove(&child);
        self.streaks.remove(&child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each() {
        let backoff = Backoff::new(SECOND, 5 * SECOND);
        let delays = [0, 1, 2, 3, 4, 5, 40, u32::MAX].map(|n| backoff.delay(n).as_secs());
        assert_eq!(delays, [0, 1, 2, 4, 5, 5, 5, 5]);
    }

    fn backoffs() -> Backoffs {
        Backoffs {
            default: Some(Backoff::new(SECOND, 5 * SECOND).reset_after(30 * SECOND)),
            ..Backoffs::default()
        }
    }

    #[test]
    fn a_stable_run_is_forgiven_everything() {
        let mut backoffs = backoffs();
        let mut failed = |up: u64, at: u64| {
            backoffs.up(0, Duration::from_secs(up));
            backoffs.failed(0, Duration::from_secs(at)).as_secs()
        };
        assert_eq!(failed(0, 0), 0);
        assert_eq!(failed(1, 2), 1);
        assert_eq!(failed(3, 32), 2);
        assert_eq!(failed(40, 70), 0, "it ran for exactly that long");
        assert_eq!(failed(70, 71), 1);
    }

    #[test]
    fn a_start_that_fails_is_no_run() {
        let mut backoffs = backoffs();
        let times = [0, 100, 200].map(Duration::from_secs);
        let delays = times.map(|now| backoffs.failed(0, now).as_secs());
        assert_eq!(delays, [0, 1, 2]);
    }

    #[test]
    fn a_child_has_its_own_backoff_until_it_is_forgotten() {
        let mut backoffs = backoffs();
        backoffs.set(1, Backoff::new(3 * SECOND, 3 * SECOND));
        let mut delays = |child| [0, 0].map(|now| backoffs.failed(child, now * SECOND).as_secs());
        assert_eq!([delays(0), delays(1)], [[0, 1], [0, 3]]);
        backoffs.forget(1);
        let delays = [0, 0].map(|now| backoffs.failed(1, now * SECOND).as_secs());
        assert_eq!(delays, [0, 1]);
        assert!(Backoffs::default().failed(0, SECOND).is_zero());
    }
}
