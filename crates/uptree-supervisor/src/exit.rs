//! How an incarnation ended: OTP's exit reasons, with the error kept.

use std::{any::Any, error::Error, fmt};

use uptree_core::Exit;

use crate::{BoxError, StartError, TreeError};

/// Why an incarnation ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It returned `Ok`, unasked (OTP's `normal`).
    Normal,
    /// It returned `Ok` after it was asked to stop (OTP's `shutdown`).
    Shutdown,
    /// It returned [`Stop`] (OTP's `{shutdown, Reason}`).
    Stop(Stop),
    /// It returned any other error.
    Error(BoxError),
    /// It panicked, with this message.
    Panic(String),
    /// It was aborted (OTP's `killed`).
    Killed,
}

impl ExitReason {
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panic(message.unwrap_or_else(|| "no message".into()))
    }

    pub(crate) fn of_error(error: BoxError) -> Self {
        match error.downcast::<Stop>() {
            Ok(stop) => Self::Stop(*stop),
            Err(error) => match error.downcast::<ExitWith>() {
                Ok(exit) => exit.0,
                Err(error) => Self::Error(error),
            },
        }
    }

    /// What the core decides by.
    ///
    /// A supervisor that gave up exits with `shutdown`, as in OTP: its parent restarts it if it is
    /// permanent, and leaves it down otherwise.
    pub(crate) fn kind(&self) -> Exit {
        match self {
            Self::Normal => Exit::Normal,
            Self::Shutdown => Exit::Shutdown,
            Self::Stop(_) => Exit::ShutdownWith,
            Self::Error(_) if matches!(self.tree_error(), Some(TreeError::GaveUp { .. })) => {
                Exit::Shutdown
            }
            Self::Error(_) | Self::Panic(_) => Exit::Abnormal,
            Self::Killed => Exit::Killed,
        }
    }

    /// Whether it is worth a report: an error, a panic, an abort. A supervisor that gave up has told
    /// of its own end.
    pub fn is_abnormal(&self) -> bool {
        self.kind().is_abnormal()
    }

    /// What a supervisor among the children ended with.
    pub(crate) fn tree_error(&self) -> Option<&TreeError> {
        match self {
            Self::Error(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// The error that it is as the end of a start.
    pub(crate) fn into_start_error(self) -> BoxError {
        match self {
            Self::Error(error) => error,
            Self::Panic(message) => StartError::Panicked(message).into(),
            Self::Killed => StartError::Killed.into(),
            Self::Stop(stop) => stop.into(),
            Self::Normal => StartError::NeverReady.into(),
            Self::Shutdown => StartError::Stopped.into(),
        }
    }

    /// The error that it is as the end of a run, if it is one.
    pub(crate) fn into_error(self) -> Option<BoxError> {
        match self {
            Self::Error(error) => Some(error),
            Self::Panic(message) => Some(StartError::Panicked(message).into()),
            Self::Killed => Some("killed".into()),
            Self::Stop(stop) => Some(stop.into()),
            Self::Normal | Self::Shutdown => None,
        }
    }
}

/// One line: the reason and, of an error, the whole chain.
impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Stop(stop) => write!(f, "shutdown: {stop}"),
            Self::Error(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::Killed => f.write_str("killed"),
        }
    }
}

/// An orderly end with a reason, OTP's `{shutdown, Reason}`: a transient child that returns it is
/// not restarted, and it is not reported.
#[derive(Debug)]
pub struct Stop(BoxError);

impl Stop {
    /// Ends in order because of `reason`.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Stop {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// As a child's error: it ends with exactly this reason.
///
/// For tests of supervisors: a child cannot say by itself that it was killed, or that it stopped
/// as it was asked when it was not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExitWith(pub ExitReason);

/// Accepted work that is lost when the process ends: what [`Child::lost`](crate::Child::lost) tells.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("lost {count} {what}")]
pub struct Lost {
    count: usize,
    what: &'static str,
}

impl Lost {
    /// `count` of `what` (a plural noun, such as "readings") were accepted and are lost; `None` if
    /// there are none.
    pub fn new(count: usize, what: &'static str) -> Option<Self> {
        (count > 0).then_some(Self { count, what })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }
}
