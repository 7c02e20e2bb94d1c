//! Which of all points and faults are tried.

use std::collections::hash_map::RandomState;
use std::env;
use std::fmt::Display;
use std::hash::BuildHasher;

/// A choice, and its words.
pub(crate) struct Sample<T> {
    pub(crate) chosen: Vec<T>,
    pub(crate) words: String,
    random: u64,
}

impl<T: Copy> Sample<T> {
    /// As many of `all`, evenly over all of it, or otherwise as `UPTREE_MATRIX` says.
    pub(crate) fn of(all: &[T], tried: usize) -> Self {
        let wanted = env::var("UPTREE_MATRIX").unwrap_or_default();
        let seed = match &*wanted {
            "" => RandomState::new().hash_one(0) >> 32,
            "all" => return Self::whole(all),
            seed => seed.parse().expect("UPTREE_MATRIX is `all` or a seed"),
        };
        if all.len() <= tried {
            return Self::whole(all);
        }
        let offset = usize::try_from(seed).unwrap_or_default() % all.len();
        // With no divisor in common, so that each of the faults at a point has its turn.
        let mut strides = all.len() / tried..;
        let stride = strides.find(|stride| gcd(*stride, all.len()) == 1);
        let stride = stride.expect("there is a prime");
        let chosen = (0..tried).map(|number| all[(number * stride + offset) % all.len()]);
        Self {
            chosen: chosen.collect(),
            words: format!("{tried} of {} tried by UPTREE_MATRIX={seed}", all.len()),
            random: seed,
        }
    }

    fn whole(all: &[T]) -> Self {
        Self {
            chosen: all.to_vec(),
            words: format!("{} tried", all.len()),
            random: RandomState::new().hash_one(0) >> 32,
        }
    }

    /// Any of these.
    pub(crate) fn any<U: Copy>(&mut self, of: &[U]) -> U {
        self.fraction();
        let random = usize::try_from(self.random >> 32).unwrap_or_default();
        of[random % of.len()]
    }

    /// From 0 up to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        // Numerical Recipes' own constants: random enough for a moment.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let high = u32::try_from(self.random >> 32).expect("it has 32 bits");
        f64::from(high) / f64::from(u32::MAX)
    }
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}

/// Fails the test if what is there now is not what is there undisturbed, and says where it differs.
#[track_caller]
pub(crate) fn assert_same(now: &str, undisturbed: &str, what: &dyn Display) {
    if now == undisturbed {
        return;
    }
    // As often as they are there too often.
    let only = |these: &str, those: &str| {
        let mut those: Vec<_> = those.lines().collect();
        let is_more = |line: &&str| match those.iter().position(|other| other == line) {
            Some(found) => {
                those.swap_remove(found);
                false
            }
            None => true,
        };
        let lines: Vec<_> = these.lines().filter(is_more).take(20).collect();
        lines.join("\n")
    };
    panic!(
        "{what}: it is not as it is undisturbed.\nToo much:\n{}\nMissing:\n{}",
        only(now, undisturbed),
        only(undisturbed, now),
    );
}
