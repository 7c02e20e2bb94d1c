//! Which siblings share a failed child's fate.

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
    /// Who shares the fate of a child that fails, as a run of the start order.
    ///
    /// They are stopped from the run's end to its start, and started from its start to its end.
    pub fn affected(self) -> Affected {
        match self {
            Self::OneForOne => Affected::Itself,
            Self::OneForAll => Affected::All,
            Self::RestForOne => Affected::ItselfAndLater,
        }
    }
}

/// A run of the start order, seen from the child that failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Affected {
    /// That child.
    Itself,
    /// That child and every one after it.
    ItselfAndLater,
    /// Every child.
    All,
}
