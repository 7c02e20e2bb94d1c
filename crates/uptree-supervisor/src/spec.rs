//! A child as it stands in a list: what it is called, how it is supervised, what it runs.

use std::{any::Any, borrow::Cow, fmt, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use uptree_core::{Backoff, ChildType, Restart, Shutdown, Spec};

use crate::{BoxError, Child, Fact, Fault, Lost, incarnation::Incarnation, task};

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
    /// Whether its end can end its supervisor. Defaults to false.
    pub significant: bool,
    /// What few children say.
    rare: Option<Box<Rare>>,
    /// Somebody has said when it is started again: a supervisor of tasks has another default.
    pub(crate) says_restart: bool,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Rare {
    cancel_grace: Duration,
    backoff: Option<Backoff>,
    gates_ready: Option<Duration>,
}

impl Options {
    /// Sets [`restart`](Self#structfield.restart).
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self.says_restart = true;
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

    /// Says how long a start that is called off has to clean up. Defaults to zero: it is dropped
    /// at once. [`Duration::MAX`] is for ever.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.rare().cancel_grace = grace;
        self
    }

    /// How long a start that is called off has to clean up.
    pub fn grace(&self) -> Duration {
        self.rare
            .as_ref()
            .map_or(Duration::ZERO, |rare| rare.cancel_grace)
    }

    /// Sets [`significant`](Self#structfield.significant).
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Says how its restarts are spaced. Defaults to what its supervisor says.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.rare().backoff = Some(backoff);
        self
    }

    /// How its restarts are spaced; `None` if as its supervisor says.
    pub fn own_backoff(&self) -> Option<Backoff> {
        self.rare.as_ref()?.backoff
    }

    /// Lets the service be ready, once it has booted, only while this child is up, or has been
    /// down for less than `grace`, however often it is tried again meanwhile. A child that did its
    /// work, or ended for good, counts as up. Defaults to not: a child that is restarted does not
    /// take the service out of traffic.
    pub fn gates_ready(mut self, grace: Duration) -> Self {
        self.rare().gates_ready = Some(grace);
        self
    }

    /// How long it may be down before the service is not ready; `None` if that does not matter.
    pub fn ready_grace(&self) -> Option<Duration> {
        self.rare.as_ref()?.gates_ready
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// A child with its id and its options: what a supervisor's list consists of. Cheap to clone.
#[derive(Clone)]
#[must_use = "a child spec does nothing until it is put in a list"]
pub struct ChildSpec(Arc<dyn Spawn>);

impl ChildSpec {
    pub(crate) fn named<C: Child>(id: Cow<'static, str>, child: C) -> Self {
        let options = child.defaults(Options::default());
        let head = Head { id, options };
        Self(Arc::new(Kept { head, child }))
    }

    /// The child's name among its siblings.
    pub fn id(&self) -> &str {
        &self.0.head().id
    }

    /// How it is supervised.
    pub fn options(&self) -> &Options {
        &self.0.head().options
    }

    /// The children of a supervisor; `None` for a worker.
    pub fn children(&self) -> Option<&[ChildSpec]> {
        self.0.children()
    }

    /// The child itself, if it is a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_supervisor::{IntoChild, Supervisor};
    ///
    /// let tree = Supervisor::new("app").child(Supervisor::new("db")).into_child();
    /// let db = &tree.children().unwrap()[0];
    /// assert!(db.get::<Supervisor>().is_some());
    /// ```
    pub fn get<T: Child>(&self) -> Option<&T> {
        self.0.child().downcast_ref()
    }

    /// What the child says of itself as a `T`, see [`Child::facts`].
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_supervisor::{Child, Fact, IntoChild, Result, Starting};
    ///
    /// struct Weight(u32);
    /// struct Heater;
    ///
    /// impl Child for Heater {
    ///     fn facts(&self) -> Vec<Fact> {
    ///         vec![Box::new(Weight(7))]
    ///     }
    ///     async fn run(&self, cx: Starting) -> Result {
    ///         cx.done()
    ///     }
    /// }
    ///
    /// let weight = Heater.into_child().fact::<Weight>();
    /// assert_eq!(weight.map(|weight| weight.0), Some(7));
    /// ```
    pub fn fact<T: Any>(&self) -> Option<T> {
        let mut facts = self.0.facts().into_iter();
        let fact = facts.find_map(|fact| fact.downcast::<T>().ok())?;
        Some(*fact)
    }

    /// This child and all below it, each with its path: a supervisor before its children, and
    /// those in the order of their list. What is started at run time is not there.
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_supervisor::{IntoChild, Supervisor};
    ///
    /// let tree = Supervisor::new("app").child(Supervisor::new("db")).into_child();
    /// let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
    /// assert_eq!(paths, ["app", "app/db"]);
    /// ```
    pub fn walk(&self) -> impl Iterator<Item = (String, &ChildSpec)> {
        let mut next = vec![(self.id().to_owned(), self)];
        std::iter::from_fn(move || {
            let (path, child) = next.pop()?;
            let below = child.children().unwrap_or_default().iter().rev();
            next.extend(below.map(|below| (format!("{path}/{}", below.id()), below)));
            Some((path, child))
        })
    }

    /// Whether it is a worker or a supervisor.
    pub fn child_type(&self) -> ChildType {
        match self.children() {
            Some(_) => ChildType::Supervisor,
            None => ChildType::Worker,
        }
    }

    /// The longest that its orderly stop takes, see
    /// [`Child::stop_budget`]. `None` if there is no limit.
    pub fn stop_budget(&self) -> Option<Duration> {
        self.stop_budget_with(|| self.0.stop_budget())
    }

    /// The same, where what is below a supervisor may take so long.
    pub(crate) fn stop_budget_with(
        &self,
        below: impl FnOnce() -> Option<Duration>,
    ) -> Option<Duration> {
        let options = self.options();
        let own = match options.shutdown {
            Shutdown::BrutalKill => Some(Duration::ZERO),
            Shutdown::Timeout(limit) => Some(limit),
            Shutdown::Infinity => None,
        };
        if self.children().is_none() {
            // It is either starting or running: the longer of the two.
            return own.map(|own| own.max(options.grace()));
        }
        match (own, below()) {
            (Some(own), Some(below)) => Some(own.min(below)),
            (own, below) => own.or(below),
        }
    }

    /// Everything that is wrong with this child and those below it, found without starting any:
    /// errors that constructors kept, and lists that cannot be started.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_below(None, &mut faults);
        faults
    }

    fn check_below(&self, above: Option<&Place<'_>>, faults: &mut Vec<Fault>) {
        let id = self.id();
        let place = Place { above, id };
        let own = self.check_own().into_iter();
        faults.extend(own.map(|error| Fault::new(place.to_string(), error)));
        for child in self.children().unwrap_or_default() {
            child.check_below(Some(&place), faults);
        }
    }

    /// What is wrong with this child itself.
    pub(crate) fn check_own(&self) -> Vec<BoxError> {
        self.0.check()
    }

    /// The accepted work that this child and those below it still hold, each with its path.
    pub fn lost(&self) -> Vec<(String, Lost)> {
        self.walk()
            .filter_map(|(path, child)| Some((path, child.0.lost()?)))
            .collect()
    }

    pub(crate) fn core(&self) -> Spec {
        self.0.core()
    }

    pub(crate) fn spawn(&self, life: &Arc<Incarnation>) -> JoinHandle<()> {
        self.0.clone().spawn(life.clone())
    }

    /// Changes what the list says of it. Of a spec that has clones only this one changes.
    fn change(mut self, change: impl FnOnce(&mut Head)) -> Self {
        if let Some(unshared) = Arc::get_mut(&mut self.0) {
            change(unshared.head_mut());
            return self;
        }
        let mut head = self.0.head().clone();
        change(&mut head);
        Self(Arc::new(Changed { head, spec: self }))
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
            .field("id", &self.id())
            .field("options", self.options())
            .finish_non_exhaustive()
    }
}

/// What a list says of a child.
#[derive(Clone)]
struct Head {
    id: Cow<'static, str>,
    options: Options,
}

/// A child whose type is forgotten; its future is not: it is spawned as it is, in one allocation.
trait Spawn: Send + Sync {
    fn head(&self) -> &Head;
    fn head_mut(&mut self) -> &mut Head;
    fn core(&self) -> Spec {
        let options = &self.head().options;
        Spec {
            restart: options.restart,
            shutdown: options.shutdown,
            significant: options.significant,
            child_type: match self.children() {
                Some(_) => ChildType::Supervisor,
                None => ChildType::Worker,
            },
        }
    }
    fn spawn(self: Arc<Self>, life: Arc<Incarnation>) -> JoinHandle<()>;
    fn child(&self) -> &dyn Any;
    fn check(&self) -> Vec<BoxError>;
    fn facts(&self) -> Vec<Fact>;
    fn lost(&self) -> Option<Lost>;
    fn children(&self) -> Option<&[ChildSpec]>;
    fn stop_budget(&self) -> Option<Duration>;
}

/// A child and what the list says of it, in one allocation.
struct Kept<C> {
    head: Head,
    child: C,
}

impl<C: Child> Spawn for Kept<C> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn spawn(self: Arc<Self>, life: Arc<Incarnation>) -> JoinHandle<()> {
        let cx = crate::Starting::new(life.clone());
        task::spawn_root(life, async move { self.child.run(cx).await })
    }

    fn child(&self) -> &dyn Any {
        &self.child
    }

    fn check(&self) -> Vec<BoxError> {
        self.child.check()
    }

    fn facts(&self) -> Vec<Fact> {
        self.child.facts()
    }

    fn lost(&self) -> Option<Lost> {
        self.child.lost()
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        self.child.children()
    }

    fn stop_budget(&self) -> Option<Duration> {
        self.child.stop_budget()
    }
}

/// A clone of a spec of which a list says something else.
struct Changed {
    head: Head,
    spec: ChildSpec,
}

impl Spawn for Changed {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn spawn(self: Arc<Self>, life: Arc<Incarnation>) -> JoinHandle<()> {
        self.spec.0.clone().spawn(life)
    }

    fn child(&self) -> &dyn Any {
        self.spec.0.child()
    }

    fn check(&self) -> Vec<BoxError> {
        self.spec.0.check()
    }

    fn facts(&self) -> Vec<Fact> {
        self.spec.0.facts()
    }

    fn lost(&self) -> Option<Lost> {
        self.spec.0.lost()
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        self.spec.0.children()
    }

    fn stop_budget(&self) -> Option<Duration> {
        self.spec.0.stop_budget()
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
        self.into_child().change(|head| head.id = id.into())
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

    /// Lets its end end its supervisor, as that one's
    /// [`auto_shutdown`](crate::Supervisor::auto_shutdown) says. It must not be permanent.
    /// Defaults to not.
    fn significant(self) -> ChildSpec {
        self.with(|options| options.significant(true))
    }

    /// Says how its restarts are spaced. Defaults to what its supervisor says.
    fn backoff(self, backoff: Backoff) -> ChildSpec {
        self.with(|options| options.backoff(backoff))
    }

    /// Lets the service be ready only while this child is up, or has been down for less than
    /// `grace`. Defaults to not. See [`Options::gates_ready`].
    fn gates_ready(self, grace: Duration) -> ChildSpec {
        self.with(|options| options.gates_ready(grace))
    }

    /// Changes its options.
    fn with(self, change: impl FnOnce(Options) -> Options) -> ChildSpec {
        let take = |head: &mut Head| head.options = change(std::mem::take(&mut head.options));
        self.into_child().change(take)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Result, worker};

    async fn idle((): (), _cx: Context) -> Result {
        Ok(())
    }

    #[test]
    fn a_changed_clone_leaves_the_other_as_it_was() {
        let first = worker("a", (), idle).restart(Restart::Transient);
        let second = first.clone().with_id("b").significant();
        assert_eq!((first.id(), second.id()), ("a", "b"));
        assert!(!first.options().significant);
        assert!(second.options().significant);
        assert_eq!(second.options().restart, Restart::Transient);
    }

    #[test]
    fn a_child_is_found_in_the_tree_also_under_another_id() {
        struct Scale(u32);
        impl Child for Scale {
            async fn run(&self, cx: crate::Starting) -> Result {
                cx.done()
            }
        }
        let scale = Scale(7).into_child();
        let group = crate::Supervisor::new("group").child(scale.clone().with_id("heavy"));
        let tree = crate::Supervisor::new("app")
            .child(group)
            .child(worker("a", (), idle))
            .child(scale.with_id("light"))
            .into_child();
        let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
        let expected = ["app", "app/group", "app/group/heavy", "app/a", "app/light"];
        assert_eq!(paths, expected);
        let scales = tree.walk().filter_map(|(path, child)| {
            let scale = child.get::<Scale>()?;
            Some((path, scale.0))
        });
        let scales: Vec<_> = scales.collect();
        assert_eq!(
            scales,
            [
                ("app/group/heavy".to_owned(), 7),
                ("app/light".to_owned(), 7)
            ]
        );
    }
}
