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

/// Whether a child is a worker or a supervisor; it decides nothing, it is shown.
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
}
