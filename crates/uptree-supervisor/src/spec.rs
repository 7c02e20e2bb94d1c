//! A child as it stands in a list: what it is called, how it is supervised, what it runs.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use rustc_hash::{FxBuildHasher, FxHashSet};
use tokio::task::JoinHandle;
use uptree_core::{ChildType, Restart, Shutdown, Spec};

use crate::{BoxError, Child, Fault, Lost, incarnation::Incarnation, task};

/// How a child is supervised. A kind of child sets its own in [`Child::defaults`], the list
/// overrides them with the methods of [`IntoChild`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// When it is started again. Defaults to [`Restart::Permanent`].
    pub restart: Restart,
    /// How it is stopped. Defaults to a timeout of 5 s.
    pub shutdown: Shutdown,
    /// How long a start may take, counted from its last progress. Defaults to `None`: the tree's,
    /// which defaults to 60 s. [`Duration::MAX`] is for ever.
    pub start_timeout: Option<Duration>,
    /// How long a start that is called off has to clean up. Defaults to zero: it is dropped at
    /// once. [`Duration::MAX`] is for ever.
    pub cancel_grace: Duration,
}

impl Options {
    /// Sets [`restart`](Self#structfield.restart).
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets [`shutdown`](Self#structfield.shutdown).
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets [`start_timeout`](Self#structfield.start_timeout).
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// Sets [`cancel_grace`](Self#structfield.cancel_grace).
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace;
        self
    }
}

/// A child with its id and its options: what a supervisor's list consists of.
#[derive(Clone)]
#[must_use = "a child spec does nothing until it is put in a list"]
pub struct ChildSpec {
    id: Cow<'static, str>,
    options: Options,
    child: Arc<dyn Spawn>,
}

impl ChildSpec {
    pub(crate) fn named<C: Child>(id: Cow<'static, str>, child: C) -> Self {
        Self {
            id,
            options: child.defaults(Options::default()),
            child: Arc::new(child),
        }
    }

    /// The child's name among its siblings.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it is supervised.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The children of a supervisor; `None` for a worker.
    pub fn children(&self) -> Option<&[ChildSpec]> {
        self.child.children()
    }

    /// Whether it is a worker or a supervisor.
    pub fn child_type(&self) -> ChildType {
        match self.children() {
            Some(_) => ChildType::Supervisor,
            None => ChildType::Worker,
        }
    }

    /// The longest that its orderly stop takes: for a supervisor the sum over its children, who
    /// stop one after the other. `None` if there is no limit.
    pub fn stop_budget(&self) -> Option<Duration> {
        let own = match self.options.shutdown {
            Shutdown::BrutalKill => Some(Duration::ZERO),
            Shutdown::Timeout(limit) => Some(limit),
            Shutdown::Infinity => None,
        };
        let Some(children) = self.children() else {
            // It is either starting or running: the longer of the two.
            return own.map(|own| own.max(self.options.cancel_grace));
        };
        let below = children.iter().try_fold(Duration::ZERO, |sum, child| {
            sum.checked_add(child.stop_budget()?)
        });
        match (own, below) {
            (Some(own), Some(below)) => Some(own.min(below)),
            (own, below) => own.or(below),
        }
    }

    /// Everything that is wrong with this child and those below it, found without starting any:
    /// errors that constructors kept, and ids that two siblings share.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_below(None, &mut faults);
        faults
    }

    fn check_below(&self, above: Option<&Place<'_>>, faults: &mut Vec<Fault>) {
        let id = self.id();
        let place = Place { above, id };
        let own = self.child.check().into_iter();
        faults.extend(own.map(|error| Fault::new(&place.to_string(), error)));
        let children = self.children().unwrap_or_default();
        let mut ids = FxHashSet::with_capacity_and_hasher(children.len(), FxBuildHasher);
        for child in children {
            if !ids.insert(child.id()) {
                let error = BoxError::from("two siblings have this id");
                let remedy = "list it once, or give one of them another id with `.with_id(…)`";
                let (above, id) = (Some(&place), child.id());
                let path = Place { above, id }.to_string();
                faults.push(Fault::new(&path, crate::help(error, remedy)));
            }
            child.check_below(Some(&place), faults);
        }
    }

    /// The accepted work that this child and those below it still hold, each with its path.
    pub fn lost(&self) -> Vec<(String, Lost)> {
        let own = self.child.lost();
        let mut all: Vec<_> = own
            .map(|lost| (self.id.to_string(), lost))
            .into_iter()
            .collect();
        for child in self.children().unwrap_or_default() {
            let below = child.lost().into_iter();
            all.extend(below.map(|(path, lost)| (format!("{}/{path}", self.id), lost)));
        }
        all
    }

    pub(crate) fn core(&self) -> Spec {
        Spec {
            restart: self.options.restart,
            shutdown: self.options.shutdown,
        }
    }

    pub(crate) fn spawn(&self, life: &Arc<Incarnation>) -> JoinHandle<()> {
        self.child.clone().spawn(life.clone())
    }
}

/// A path that is put together only when there is something to tell.
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    id: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            write!(f, "{above}/")?;
        }
        f.write_str(self.id)
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A child whose type is forgotten; its future is not: it is spawned as it is, in one allocation.
trait Spawn: Send + Sync {
    fn spawn(self: Arc<Self>, life: Arc<Incarnation>) -> JoinHandle<()>;
    fn check(&self) -> Vec<BoxError>;
    fn lost(&self) -> Option<Lost>;
    fn children(&self) -> Option<&[ChildSpec]>;
}

impl<C: Child> Spawn for C {
    fn spawn(self: Arc<Self>, life: Arc<Incarnation>) -> JoinHandle<()> {
        let cx = crate::Starting::new(life.clone());
        task::spawn_root(life, async move { self.run(cx).await })
    }

    fn check(&self) -> Vec<BoxError> {
        Child::check(self)
    }

    fn lost(&self) -> Option<Lost> {
        Child::lost(self)
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        Child::children(self)
    }
}

/// Anything that can stand in a list of children; the options are methods of it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use uptree_supervisor::{Context, IntoChild, Restart, Result, Shutdown, worker};
///
/// async fn sweep((): (), cx: Context) -> Result {
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// let spec = worker("sweeper", (), sweep)
///     .restart(Restart::Transient)
///     .shutdown(Shutdown::Timeout(Duration::from_secs(1)));
/// assert_eq!(spec.id(), "sweeper");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a list of children",
    label = "expected a child here"
)]
pub trait IntoChild: Sized {
    /// The child with its id and options.
    fn into_child(self) -> ChildSpec;

    /// Gives it another id. Defaults to [`Child::id`].
    fn with_id(self, id: impl Into<Cow<'static, str>>) -> ChildSpec {
        let mut spec = self.into_child();
        spec.id = id.into();
        spec
    }

    /// Says when it is started again. Defaults to [`Restart::Permanent`].
    fn restart(self, restart: Restart) -> ChildSpec {
        self.with(|options| options.restart(restart))
    }

    /// Says how it is stopped. Defaults to a timeout of 5 s, for a supervisor to
    /// [`Shutdown::Infinity`].
    fn shutdown(self, shutdown: Shutdown) -> ChildSpec {
        self.with(|options| options.shutdown(shutdown))
    }

    /// Says how long its start may take, counted from its last progress. Defaults to the tree's.
    fn start_timeout(self, timeout: Duration) -> ChildSpec {
        self.with(|options| options.start_timeout(timeout))
    }

    /// Says how long its start, when it is called off, has to clean up. Defaults to zero.
    fn cancel_grace(self, grace: Duration) -> ChildSpec {
        self.with(|options| options.cancel_grace(grace))
    }

    /// Changes its options.
    fn with(self, change: impl FnOnce(Options) -> Options) -> ChildSpec {
        let mut spec = self.into_child();
        spec.options = change(spec.options);
        spec
    }
}

impl IntoChild for ChildSpec {
    fn into_child(self) -> ChildSpec {
        self
    }
}

impl<C: Child> IntoChild for C {
    fn into_child(self) -> ChildSpec {
        ChildSpec::named(self.id(), self)
    }
}
