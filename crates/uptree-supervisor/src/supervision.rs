//! What a supervisor's list says of how it supervises.

use std::time::Duration;

use uptree_core::{AutoShutdown, Backoff, Intensity, Strategy};

/// How a supervisor treats its children: a [fact](crate::Child::facts) of every supervisor.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{IntoChild, Strategy, Supervision, Supervisor};
///
/// let tree = Supervisor::new("app").strategy(Strategy::RestForOne).into_child();
/// let fact = tree.fact::<Supervision>().unwrap();
/// assert_eq!(fact.strategy, Some(Strategy::RestForOne));
/// assert_eq!(fact.max_restarts, 3);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Supervision {
    /// Who is restarted with a child that failed. `None` where children have no order: each is
    /// restarted by itself.
    pub strategy: Option<Strategy>,
    /// So many restarts are allowed within any [`max_seconds`](Self#structfield.max_seconds).
    pub max_restarts: usize,
    /// See [`max_restarts`](Self#structfield.max_restarts).
    pub max_seconds: Duration,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// How restarts are spaced of those children that do not say so themselves; `None` if they
    /// are not.
    pub backoff: Option<Backoff>,
    /// Whether its children are started at run time.
    pub is_dynamic: bool,
    /// Whether its children are started together and stopped together.
    pub is_parallel: bool,
}

impl Supervision {
    pub(crate) fn new(
        strategy: Option<Strategy>,
        intensity: &Intensity,
        auto_shutdown: AutoShutdown,
        backoff: Option<Backoff>,
    ) -> Self {
        Self {
            strategy,
            max_restarts: intensity.max_restarts(),
            max_seconds: intensity.max_seconds(),
            auto_shutdown,
            backoff,
            is_dynamic: false,
            is_parallel: false,
        }
    }

    pub(crate) fn dynamic(self) -> Self {
        Self {
            is_dynamic: true,
            is_parallel: true,
            ..self
        }
    }

    pub(crate) fn parallel(self) -> Self {
        Self {
            strategy: None,
            is_parallel: true,
            ..self
        }
    }
}
