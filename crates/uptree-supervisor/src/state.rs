//! What the incarnations of one tree share.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Log, Observer};

/// What holds for a whole tree.
#[derive(Clone)]
#[non_exhaustive]
pub struct TreeOptions {
    /// How long a start may take where a child does not say; counted from its last progress.
    /// Defaults to 60 s.
    pub start_timeout: Duration,
    /// How long a child that was killed is waited for before it counts as stuck. Defaults to 5 s.
    pub abort_grace: Duration,
    /// Who is told of every event. Defaults to [`Log`].
    pub observer: Arc<dyn Observer>,
    /// Something that every child of the tree can reach, by its type:
    /// [`Context::extension`](crate::Context::extension). Defaults to nothing.
    pub extension: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether each incarnation has a span of `tracing` in which its code runs, named
    /// `incarnation`, with the fields `child`, `incarnation` and at its end `reason`. It costs two
    /// allocations an incarnation, and one a task. Defaults to not: then it costs nothing.
    pub incarnation_spans: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(60),
            abort_grace: Duration::from_secs(5),
            observer: Arc::new(Log),
            extension: None,
            incarnation_spans: false,
        }
    }
}

impl fmt::Debug for TreeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeOptions")
            .field("start_timeout", &self.start_timeout)
            .field("abort_grace", &self.abort_grace)
            .finish_non_exhaustive()
    }
}

/// What every incarnation of a tree can reach.
pub(crate) struct TreeState {
    /// What times are counted from.
    pub(crate) began: Instant,
    pub(crate) start_timeout: Duration,
    pub(crate) abort_grace: Duration,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) incarnation_spans: bool,
    pub(crate) hurry: CancellationToken,
    /// When the stop of the whole tree is to be over, if that was said.
    pub(crate) stop_by: OnceLock<Instant>,
}

impl TreeState {
    pub(crate) fn new(options: TreeOptions) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            start_timeout: options.start_timeout,
            abort_grace: options.abort_grace,
            observer: options.observer,
            extension: options.extension,
            incarnation_spans: options.incarnation_spans,
            hurry: CancellationToken::new(),
            stop_by: OnceLock::new(),
        })
    }
}
