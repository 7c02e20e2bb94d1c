//! Errors of a tree: each names the child's path once and leaves the cause to `source()`.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use crate::BoxError;

/// Why a tree did not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A child could not be started at boot; what had started has been stopped.
    #[error("{path} did not start")]
    DidNotStart {
        /// The child: the deepest one, where supervisors are nested.
        path: String,
        /// What its start failed with.
        source: BoxError,
    },
    /// A child failed more often than its supervisor allows.
    #[error(
        "{path} gave up: {child} failed once more than {max_restarts} times within {max_seconds:?}"
    )]
    GaveUp {
        /// The supervisor.
        path: String,
        /// The child that failed last.
        child: String,
        /// How many restarts are allowed.
        max_restarts: usize,
        /// Within what time.
        max_seconds: Duration,
        /// What the child failed with last; `None` if it ended normally.
        source: Option<BoxError>,
    },
    /// A child was killed and is still there.
    #[error("{path} is stuck: still running {after:?} after it was killed")]
    Stuck {
        /// The child: the deepest one, where supervisors are nested.
        path: String,
        /// How long it was waited for.
        after: Duration,
        /// What to do about it.
        source: Option<BoxError>,
    },
}

/// Why an incarnation did not become ready, where it did not say so itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// It was not ready in time.
    #[error("not ready within {after:?}")]
    TimedOut {
        /// How long it was waited for, from the start or its last progress.
        after: Duration,
        /// The last attempt that it told of.
        source: Option<BoxError>,
    },
    /// It returned `Ok` without a word.
    #[error("returned before `cx.ready()` or `cx.done()`")]
    NeverReady,
    /// It was killed.
    #[error("killed while it started")]
    Killed,
    /// It stopped in order, though nobody had asked.
    #[error("stopped while it started")]
    Stopped,
}

/// Something wrong with how a child was made, found before anything starts.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not set up right")]
pub struct Fault {
    path: String,
    source: BoxError,
}

impl Fault {
    pub(crate) fn new(path: String, source: BoxError) -> Self {
        Self { path, source }
    }

    /// The child's place in the tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.source
    }
}

/// What is wrong with a list of children.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Two children have the same id (OTP's `duplicate_child_name`).
    #[error("two of its children are called {0}")]
    DuplicateId(String),
    /// A child is significant where that cannot be (OTP's `bad_combination`).
    #[error("its child {0} is significant, and cannot be")]
    BadCombination(String),
}

impl ListError {
    /// The error, with what to do about it.
    pub(crate) fn with_remedy(self) -> BoxError {
        let remedy = match self {
            Self::DuplicateId(_) => {
                "list it once, or give one of them another id with `.with_id(…)`"
            }
            Self::BadCombination(_) => {
                "its supervisor needs an `.auto_shutdown(…)`, and it must not be permanent"
            }
        };
        help(self, remedy)
    }
}

/// An error together with what to do about it.
///
/// It shows as the error that it holds; who prints a failure looks for it in the chain and prints
/// the remedy apart. Made by [`help`].
#[derive(Debug)]
pub struct Help {
    error: BoxError,
    remedy: Cow<'static, str>,
}

/// Adds to `error` what the reader can do about it.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Help, help};
///
/// let error = help("connection refused", "is the database running?");
/// assert_eq!(error.to_string(), "connection refused");
/// let remedy = error.downcast_ref::<Help>().map(Help::remedy);
/// assert_eq!(remedy, Some("is the database running?"));
/// ```
pub fn help(error: impl Into<BoxError>, remedy: impl Into<Cow<'static, str>>) -> BoxError {
    Box::new(Help {
        error: error.into(),
        remedy: remedy.into(),
    })
}

impl Help {
    /// The error itself.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }

    /// What to do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Help {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
