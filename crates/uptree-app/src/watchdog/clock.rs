//! The watchdog's own clock.

use std::time::{Duration, Instant};

/// Counts the time in which whoever looks at it runs himself. One who is to look every so often, and
/// comes much too late, has been stopped meanwhile, with the process or the machine.
pub(super) struct Clock {
    period: Duration,
    looked: Instant,
    now: Duration,
}

impl Clock {
    /// For one who looks at it every `period`, from `at` on.
    pub(super) fn new(period: Duration, at: Instant) -> Self {
        Self {
            period,
            looked: at,
            now: Duration::ZERO,
        }
    }

    /// Notes a look; says whether some were missed before it. Of the time that they took no more
    /// than two periods count.
    pub(super) fn tick(&mut self, at: Instant) -> bool {
        let passed = at.saturating_duration_since(self.looked);
        self.looked = at;
        let most = self.period * 2;
        self.now += passed.min(most);
        passed > most
    }

    /// The time that has passed, as of the last look.
    pub(super) fn now(&self) -> Duration {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_does_not_count_and_is_noticed() {
        let period = Duration::from_millis(500);
        let mut at = Instant::now();
        let mut clock = Clock::new(period, at);
        let mut tick = |millis| {
            at += Duration::from_millis(millis);
            (clock.tick(at), clock.now().as_millis())
        };
        assert_eq!(tick(500), (false, 500));
        // A machine with much to do.
        assert_eq!(tick(900), (false, 1400));
        // SIGSTOP.
        assert_eq!(tick(60_000), (true, 2400));
        assert_eq!(tick(500), (false, 2900));
    }
}
