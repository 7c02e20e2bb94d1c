//! How a stop that has less time than its children may take is shared among them.

use std::time::Duration;

/// The time that a child gets to stop: its own `limit`, unless that would be at the cost of those
/// who stop after it.
///
/// `left` is what is left for it and for them, and `needed` is what they all may take, `None` if
/// that has no limit. When it is not enough everyone gets the same fraction of their own time, and
/// who has no limit gets all that is left.
pub(crate) fn share(limit: Duration, needed: Option<Duration>, left: Duration) -> Duration {
    match needed {
        // Whoever was added since that was summed up has to do with what is left.
        Some(needed) if needed <= left => limit.min(left),
        Some(needed) => limit.min(left.mul_f64(limit.div_duration_f64(needed).min(1.0))),
        None => limit.min(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_shared_in_proportion() {
        let seconds = Duration::from_secs;
        let share = |limit, needed: Option<u64>, left| {
            share(seconds(limit), needed.map(seconds), seconds(left)).as_secs_f64()
        };
        for (limit, needed, left, expected) in [
            (5, Some(10), 20, 5.0),
            (5, Some(10), 10, 5.0),
            (5, Some(10), 4, 2.0),
            (9, Some(10), 5, 4.5),
            (5, Some(5), 0, 0.0),
            (5, None, 20, 5.0),
            (5, None, 2, 2.0),
            (0, Some(0), 0, 0.0),
            (5, Some(0), 2, 2.0),
        ] {
            let found = share(limit, needed, left);
            assert!(
                (found - expected).abs() < 1e-6,
                "{limit} of {needed:?} in {left}: {found}"
            );
        }
    }
}
