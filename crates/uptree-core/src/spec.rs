//! What a supervisor knows about a child before it is started.

use std::time::Duration;

use crate::Restart;

/// How a child is stopped.
///
/// Defaults to a [`Timeout`](Self::Timeout) of five seconds, as OTP's does for workers.
///
/// # Differences from OTP
///
/// A kill is the abort of a task: it takes effect at the task's next `.await`, so it cannot
/// interrupt code that never awaits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Shutdown {
    /// It is killed without being asked.
    BrutalKill,
    /// It is asked, and killed when the time is up.
    Timeout(Duration),
    /// It is asked, and waited for however long it takes: right for supervisors.
    Infinity,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Timeout(Duration::from_secs(5))
    }
}

/// Whether a child is a worker or a supervisor; it decides nothing, it is shown and counted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ChildType {
    /// It does work of its own.
    #[default]
    Worker,
    /// It supervises others.
    Supervisor,
}

/// What the decisions about a child depend on.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Spec {
    /// When it is started again. Defaults to permanent.
    pub restart: Restart,
    /// How it is stopped. Defaults to a timeout of five seconds.
    pub shutdown: Shutdown,
    /// Whether its end can end its supervisor. Defaults to false.
    pub significant: bool,
    /// What it is counted as. Defaults to a worker.
    pub child_type: ChildType,
}

impl Spec {
    /// Whether a supervisor with `auto_shutdown` may have such a child: OTP's `bad_combination`
    /// if not.
    ///
    /// A significant child needs a supervisor that heeds it, and must be able to end for good.
    pub fn fits(&self, auto_shutdown: AutoShutdown) -> bool {
        let heeded = auto_shutdown != AutoShutdown::Never && self.restart != Restart::Permanent;
        heeded || !self.significant
    }
}

/// Whether a supervisor ends when significant children have ended by themselves, for good.
///
/// Defaults to [`Never`](Self::Never), as in OTP. A child that is terminated, taken down with a
/// sibling or ignored at a restart does not count as ended by itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AutoShutdown {
    /// It goes on.
    #[default]
    Never,
    /// It ends with the first significant child.
    AnySignificant,
    /// It ends with the last significant child that is running or being restarted.
    AllSignificant,
}

impl AutoShutdown {
    /// Whether the end of a child ends the supervisor; `left` significant ones are running or
    /// being restarted, the child included.
    pub(crate) fn ends(self, significant: bool, left: usize) -> bool {
        match self {
            Self::Never => false,
            Self::AnySignificant => significant,
            Self::AllSignificant => significant && left == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_significant_child_must_be_able_to_end_and_be_heeded() {
        let fits = |restart, auto_shutdown| {
            let significant = true;
            let spec = Spec {
                restart,
                significant,
                ..Spec::default()
            };
            spec.fits(auto_shutdown)
        };
        for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
            assert!(!fits(Restart::Permanent, auto));
            assert!(fits(Restart::Transient, auto));
            assert!(fits(Restart::Temporary, auto));
        }
        assert!(!fits(Restart::Transient, AutoShutdown::Never));
        assert!(!fits(Restart::Temporary, AutoShutdown::Never));
        assert!(Spec::default().fits(AutoShutdown::Never));
        assert!(Spec::default().fits(AutoShutdown::AnySignificant));
    }
}
