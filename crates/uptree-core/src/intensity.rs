//! The restart limit: at most so many restarts in so much time.

use std::{collections::VecDeque, time::Duration};

/// At most `max_restarts` within any `max_seconds`.
///
/// Defaults to 3 in 5 seconds: Elixir's default. OTP's is 1 in 5 seconds.
///
/// # Differences from OTP
///
/// Time is exact; OTP truncates it to whole seconds before it compares.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Intensity {
    max_restarts: usize,
    max_seconds: Duration,
    /// When the latest restarts were, oldest first: never more than `max_restarts`.
    recent: VecDeque<Duration>,
}

impl Default for Intensity {
    fn default() -> Self {
        Self::new(3, Duration::from_secs(5))
    }
}

impl Intensity {
    /// Allows `max_restarts` in any `max_seconds`; with 0 the first restart is one too many.
    pub fn new(max_restarts: usize, max_seconds: Duration) -> Self {
        Self {
            max_restarts,
            max_seconds,
            recent: VecDeque::new(),
        }
    }

    /// The number of restarts allowed.
    pub fn max_restarts(&self) -> usize {
        self.max_restarts
    }

    /// The time in which they are counted. A restart exactly this long ago still counts.
    pub fn max_seconds(&self) -> Duration {
        self.max_seconds
    }

    /// Counts a restart at `now`; says how many more are allowed, or `None` if it is one too many.
    ///
    /// Amortised O(1), however many restarts are in the window.
    pub fn count(&mut self, now: Duration) -> Option<usize> {
        let counts = |&then: &Duration| now.saturating_sub(then) <= self.max_seconds;
        while self.recent.front().is_some_and(|then| !counts(then)) {
            self.recent.pop_front();
        }
        let left = self.max_restarts.checked_sub(self.recent.len() + 1)?;
        self.recent.push_back(now);
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Intensity};

    #[track_caller]
    fn check(max_restarts: usize, restarts: &[(u64, Option<usize>)]) {
        let mut intensity = Intensity::new(max_restarts, Duration::from_secs(5));
        for &(secs, left) in restarts {
            let counted = intensity.count(Duration::from_secs(secs));
            assert_eq!(counted, left, "the restart at {secs} s");
        }
    }

    #[test]
    fn one_more_than_the_limit_is_too_many() {
        check(2, &[(0, Some(1)), (0, Some(0)), (0, None)]);
    }

    #[test]
    fn the_window_slides_and_its_end_is_inclusive() {
        check(1, &[(0, Some(0)), (5, None)]);
        check(1, &[(0, Some(0)), (6, Some(0)), (12, Some(0))]);
        check(2, &[(0, Some(1)), (3, Some(0)), (6, Some(0)), (8, None)]);
    }

    #[test]
    fn it_says_what_it_allows() {
        let intensity = Intensity::default();
        assert_eq!(intensity.max_restarts(), 3);
        assert_eq!(intensity.max_seconds(), Duration::from_secs(5));
    }

    #[test]
    fn zero_allows_none() {
        check(0, &[(0, None)]);
    }
}
