//! Which siblings share a failed child's fate.

use std::ops::Range;

/// Which siblings are restarted together with a child that failed.
///
/// Defaults to [`OneForOne`](Self::OneForOne), as Elixir's `Supervisor` examples do; OTP's default
/// is the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Strategy {
    /// Only the failed child.
    #[default]
    OneForOne,
    /// Every child.
    OneForAll,
    /// The failed child and those started after it.
    RestForOne,
}

impl Strategy {
    /// The children to recycle when child `failed` of `len` fails, as a range of the start order.
    ///
    /// They are stopped from the range's end to its start and started from its start to its end.
    pub fn affected(self, failed: usize, len: usize) -> Range<usize> {
        match self {
            Self::OneForOne => failed..failed + 1,
            Self::OneForAll => 0..len,
            Self::RestForOne => failed..len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Strategy;

    #[test]
    fn a_strategy_is_a_range_of_the_start_order() {
        let affected = |strategy: Strategy| [0, 1, 2].map(|failed| strategy.affected(failed, 3));
        assert_eq!(affected(Strategy::OneForOne), [0..1, 1..2, 2..3]);
        assert_eq!(affected(Strategy::OneForAll), [0..3, 0..3, 0..3]);
        assert_eq!(affected(Strategy::RestForOne), [0..3, 1..3, 2..3]);
    }
}
