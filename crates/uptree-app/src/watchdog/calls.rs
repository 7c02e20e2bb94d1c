//! Which calls into the code of children go on for too long: each blocks its thread.

use std::time::Duration;

/// A call that goes on for this long is told of.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// The calls that were seen at the last look. `C` is one call: another one, of the same thread for
/// the same child, is not equal to it.
///
/// Times are those of the watchdog's own clock.
pub(super) struct Calls<C> {
    known: Vec<Known<C>>,
}

struct Known<C> {
    call: C,
    since: Duration,
    /// The runtime's workers when it was first seen.
    workers: Vec<u64>,
    whose: Whose,
}

enum Whose {
    /// Not asked so far.
    Unasked,
    /// A child's of this tree, which was told of.
    Told(String),
    /// Nobody's in this tree; or the thread is no worker, and may be blocked.
    Strangers,
}

/// What is to be told.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// This child has been blocking a thread for so long.
    Blocks(String, Duration),
    /// It no longer does; it did for so long.
    Over(String, Duration),
}

impl<C: PartialEq> Calls<C> {
    pub(super) fn new() -> Self {
        Self { known: Vec::new() }
    }

    /// Takes in what is seen at `now`. A call is told of once it has gone on for `limit`. `workers` is how often each worker of the runtime has parked
    /// and unparked: odd while it is parked. `whose` says for which child a call is made.
    pub(super) fn look(
        &mut self,
        now: Duration,
        mut seen: Vec<C>,
        limit: Duration,
        workers: &[u64],
        whose: impl Fn(&C) -> Option<String>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        self.known.retain_mut(|known| {
            if let Some(place) = seen.iter().position(|call| *call == known.call) {
                seen.swap_remove(place);
                return true;
            }
            if let Whose::Told(path) = &mut known.whose {
                let path = std::mem::take(path);
                changes.push(Change::Over(path, now.saturating_sub(known.since)));
            }
            false
        });
        for known in &mut self.known {
            let age = now.saturating_sub(known.since);
            if age >= limit && matches!(known.whose, Whose::Unasked) {
                let path = match all_have_moved(&known.workers, workers) {
                    true => None,
                    false => whose(&known.call),
                };
                known.whose = match path {
                    Some(path) => {
                        changes.push(Change::Blocks(path.clone(), age));
                        Whose::Told(path)
                    }
                    None => Whose::Strangers,
                };
            }
        }
        self.known.extend(seen.into_iter().map(|call| Known {
            call,
            since: now,
            workers: workers.to_vec(),
            whose: Whose::Unasked,
        }));
        changes
    }

    /// Counts anew, for those that have not been told of.
    pub(super) fn forgive(&mut self, now: Duration) {
        for known in &mut self.known {
            if matches!(known.whose, Whose::Unasked) {
                known.since = now;
            }
        }
    }

    /// Those that were told of and go on, each with when it began.
    pub(super) fn blocking(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.known.iter().filter_map(|known| match &known.whose {
            Whose::Told(path) => Some((path.as_str(), known.since)),
            Whose::Unasked | Whose::Strangers => None,
        })
    }
}

/// Whether no worker can have been in the same call all the time: each is parked, or has been since.
/// So a thread that has been is none any more, as in tokio's `block_in_place`, and blocks nobody.
fn all_have_moved(before: &[u64], now: &[u64]) -> bool {
    let mut both = before.iter().zip(now);
    !before.is_empty() && both.all(|(before, now)| now % 2 == 1 || now != before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_millis(500);

    /// A thread, whom it runs for, and which call it is.
    type Call = (u8, &'static str, u32);

    #[track_caller]
    fn told<const N: usize>(looks: [&[Call]; N], expected: [&[&str]; N]) {
        let mut calls = Calls::new();
        let mut now = Duration::ZERO;
        for (look, expected) in looks.into_iter().zip(expected) {
            let name = |call: &Call| (call.1 != "stranger").then(|| call.1.to_owned());
            let changes = calls.look(now, look.to_vec(), LIMIT, &[2], name);
            let shown = changes.iter().map(|change| match change {
                Change::Blocks(path, age) => format!("{path} blocks {}", age.as_millis()),
                Change::Over(path, total) => format!("{path} over {}", total.as_millis()),
            });
            assert_eq!(shown.collect::<Vec<_>>(), *expected, "at {now:?}");
            now += HALF;
        }
    }

    #[test]
    fn a_call_that_goes_on_is_told_of_once_and_again_when_it_is_over() {
        let on: &[Call] = &[(0, "feed", 7)];
        told(
            [on, on, on, on, &[], &[]],
            [
                &[],
                &[],
                &["feed blocks 1000"],
                &[],
                &["feed over 2000"],
                &[],
            ],
        );
    }

    #[test]
    fn a_child_that_is_always_called_but_never_for_long_is_not_told_of() {
        let looks: [[Call; 1]; 5] = [0, 1, 2, 3, 4].map(|tick| [(0, "feed", tick)]);
        told(looks.each_ref().map(|look| &look[..]), [&[]; 5]);
    }

    #[test]
    fn each_thread_counts_by_itself() {
        let (one, other) = ((0, "feed", 1), (1, "feed", 1));
        told(
            [&[one], &[one, other], &[other, one], &[other], &[]],
            [
                &[],
                &[],
                &["feed blocks 1000"],
                &["feed over 1500", "feed blocks 1000"],
                &["feed over 1500"],
            ],
        );
    }

    #[test]
    fn a_stranger_is_asked_for_once_and_not_told_of() {
        let on: &[Call] = &[(0, "stranger", 7)];
        told([on, on, on, on, &[]], [&[]; 5]);
    }

    #[test]
    fn a_call_that_has_been_forgiven_counts_anew_but_not_if_it_was_told_of() {
        let mut calls = Calls::new();
        let name = |_: &u8| Some("feed".to_owned());
        let mut look = |at: u64, seen: &[u8], forgive: bool| {
            let now = HALF * u32::try_from(at).expect("it is small");
            if forgive {
                calls.forgive(now);
            }
            calls.look(now, seen.to_vec(), LIMIT, &[2], name)
        };
        assert_eq!(look(0, &[1], false), []);
        assert_eq!(look(2, &[1], true), []);
        assert_eq!(look(3, &[1], false), []);
        let blocks = Change::Blocks("feed".to_owned(), 2 * HALF);
        assert_eq!(look(4, &[1], false), [blocks]);
        assert_eq!(look(6, &[1], true), []);
        let over = Change::Over("feed".to_owned(), 5 * HALF);
        assert_eq!(look(7, &[], false), [over]);
    }

    #[test]
    fn a_thread_that_is_no_worker_any_more_is_not_told_of() {
        let told = |before: &[u64], after: &[u64]| {
            let mut calls = Calls::new();
            let name = |_: &u8| Some("feed".to_owned());
            calls.look(Duration::ZERO, vec![1], LIMIT, before, name);
            let changes = calls.look(LIMIT, vec![1], LIMIT, after, name);
            !changes.is_empty()
        };
        assert!(
            told(&[2, 5], &[2, 9]),
            "the first worker is active, and has not moved"
        );
        assert!(
            !told(&[2, 5], &[4, 5]),
            "the first has moved, the second is parked"
        );
        assert!(!told(&[3, 5], &[3, 5]), "both are parked");
        assert!(told(&[], &[]), "it is not known");
    }
}
