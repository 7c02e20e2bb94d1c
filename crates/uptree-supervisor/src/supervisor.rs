//! A static supervisor, as a user writes it.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustc_hash::{FxBuildHasher, FxHashSet};
use uptree_core::{AutoShutdown, Backoff, Counts, Intensity, Shutdown, Strategy};

use crate::{
    BoxError, Child, ChildInfo, ChildSpec, ControlError, Fact, Fault, IntoChild, ListError,
    Options, Result, Started, Starting, Supervision,
    call::{Call, Live, Target, call},
    driver::{self, Plan},
    machine::Machine,
    state::TreeOptions,
    tree::Tree,
};

/// An ordered list of children, started one after the other, each when the one before is ready;
/// restarted by a [`Strategy`]; stopped in reverse. It is itself a child: trees are nested lists.
///
/// Its restart limit is Elixir's 3 in 5 s by default (OTP's is 1 in 5 s).
///
/// # Calls
///
/// A clone is a handle to the same supervisor, like a pid that outlives restarts. Wherever in a
/// tree it runs, it can be called: [`start_child`](Self::start_child),
/// [`terminate_child`](Self::terminate_child), [`which_children`](Self::which_children) and the
/// rest. As in OTP a call takes its turn behind whatever the supervisor is in the middle of, and
/// children that were added by calls are lost when the supervisor restarts. While it does not run
/// the answer is [`ControlError::NoProc`]. The methods that build the list are for before it runs.
///
/// # Guarantees
///
/// - A child is started when the one before it in the list is ready, has done its work, or stays
///   down for good.
/// - A child is never started while an earlier incarnation of it, or anything that that one
///   owned, is left.
/// - A stop is taken at any moment. The start under way is called off; then children stop last
///   started first, each within its own time.
/// - When a supervisor is gone, by whatever end, so is everything below it.
///
/// # Differences from OTP
///
/// - A start has a timeout and can be called off.
/// - A child that is killed is waited for 5 s; then it is *stuck*: its supervisor stops the others
///   and fails with [`TreeError::Stuck`](crate::TreeError::Stuck), which climbs to the root.
/// - A killed supervisor's children are gone before its parent goes on.
/// - The time in which restarts are counted stands still while a child of this supervisor is
///   starting, stopping or backing off.
/// - A shutdown does not wait for its turn.
/// - A call from within a start that the supervisor is waiting for is an error, not a deadlock.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Context, ControlError, Result, Supervisor, worker};
///
/// async fn pump((): (), cx: Context) -> Result {
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let plant = Supervisor::new("plant").child(worker("intake", (), pump));
/// assert!(matches!(plant.count_children().await, Err(ControlError::NoProc)));
///
/// let _tree = plant.clone().start().await?;
/// plant.start_child(worker("outlet", (), pump)).await?;
/// let ids: Vec<_> = plant.which_children().await?.iter().map(|it| it.id().to_owned()).collect();
/// assert_eq!(ids, ["outlet", "intake"]);
///
/// plant.terminate_child("intake").await?;
/// let counts = plant.count_children().await?;
/// assert_eq!((counts.specs, counts.active), (2, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a supervisor does nothing until it is started or put in a list"]
#[derive(Clone, Debug)]
pub struct Supervisor {
    id: Cow<'static, str>,
    strategy: Strategy,
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    backoff: Option<Backoff>,
    children: Arc<Vec<ChildSpec>>,
    /// The list has been looked at, and nothing was wrong with it.
    checked: Arc<AtomicBool>,
    live: Live,
}

impl Supervisor {
    /// A supervisor without children.
    pub fn new(id: impl Into<Cow<'static, str>>) -> Self {
        let id = id.into();
        Self {
            live: Live::new(id.clone()),
            id,
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            backoff: None,
            children: Arc::default(),
            checked: Arc::default(),
        }
    }

    /// Adds a child to the end of the list.
    pub fn child(self, child: impl IntoChild) -> Self {
        self.children([child])
    }

    /// Adds children to the end of the list.
    pub fn children(mut self, children: impl IntoIterator<Item = impl IntoChild>) -> Self {
        let children = children.into_iter().map(IntoChild::into_child);
        Arc::make_mut(&mut self.children).extend(children);
        self.checked = Arc::default();
        self
    }

    /// Says who is restarted with a child that failed. Defaults to [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Allows `max_restarts` within any `max_seconds`. Defaults to 3 in 5 s.
    ///
    /// A restart of a group counts once, a restart that fails counts, and so does each new try.
    /// One more and the supervisor stops its children and gives up: its own supervisor restarts
    /// it then, as its [`Restart`](crate::Restart) says.
    pub fn intensity(mut self, max_restarts: usize, max_seconds: Duration) -> Self {
        self.intensity = Intensity::new(max_restarts, max_seconds);
        self
    }

    /// Says whether it ends when significant children have ended by themselves. Defaults to
    /// [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self.checked = Arc::default();
        self
    }

    /// Spaces the restarts of those children that do not say so themselves. Defaults to none: a
    /// child is restarted at once, as in OTP.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Starts the tree with [`TreeOptions::default`]; completes when the last child is ready.
    ///
    /// # Errors
    ///
    /// Everything that [`ChildSpec::check`] finds (the first of it), or what the boot failed with;
    /// nothing is left running then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it kills what has started.
    pub async fn start(self) -> Result<Tree, BoxError> {
        let root = self.into_child();
        if let Some(fault) = root.check().into_iter().next() {
            return Err(fault.into());
        }
        let mut tree = Tree::spawn(root, TreeOptions::default());
        tree.ready().await?;
        Ok(tree)
    }

    /// Starts the tree and returns at once, before its first child is ready. What
    /// [`ChildSpec::check`] would find is not looked at.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self, options: TreeOptions) -> Tree {
        Tree::spawn(self.into_child(), options)
    }

    pub(crate) fn supervision(&self) -> Supervision {
        let strategy = Some(self.strategy);
        Supervision::new(strategy, &self.intensity, self.auto_shutdown, self.backoff)
    }

    fn machine(&self) -> uptree_core::Supervisor {
        let specs = self.children.iter().map(ChildSpec::core);
        uptree_core::Supervisor::new(self.strategy, self.intensity.clone(), specs)
            .auto_shutdown(self.auto_shutdown)
            .backoff(self.backoff)
    }

    /// The first thing that is wrong with the list, if that was not looked at before.
    fn fault(&self, path: impl Fn() -> String) -> Option<Fault> {
        if self.checked.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(error) = self.check().into_iter().next() {
            return Some(Fault::new(path(), error));
        }
        let mut children = self.children.iter();
        children.find_map(|child| {
            // A supervisor looks at its own list when it starts.
            let worker = child.children().is_none().then_some(child)?;
            let error = worker.check_own().into_iter().next()?;
            Some(Fault::new(format!("{}/{}", path(), child.id()), error))
        })
    }
}

impl Child for Supervisor {
    fn id(&self) -> Cow<'static, str> {
        self.id.clone()
    }

    /// As in OTP a supervisor is stopped with [`Shutdown::Infinity`]: its children have their own
    /// times. The same goes for its start.
    fn defaults(&self, options: Options) -> Options {
        options
            .shutdown(Shutdown::Infinity)
            .start_timeout(Duration::MAX)
            .cancel_grace(Duration::MAX)
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        Some(&self.children)
    }

    fn check(&self) -> Vec<BoxError> {
        let mut ids = FxHashSet::with_capacity_and_hasher(self.children.len(), FxBuildHasher);
        let wrong = self.children.iter().filter_map(|child| {
            if !child.core().fits(self.auto_shutdown) {
                return Some(ListError::BadCombination(child.id().to_owned()));
            }
            let new = ids.insert(child.id());
            (!new).then(|| ListError::DuplicateId(child.id().to_owned()))
        });
        let wrong: Vec<_> = wrong.map(ListError::with_remedy).collect();
        self.checked.store(wrong.is_empty(), Ordering::Relaxed);
        wrong
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Box::new(self.supervision())]
    }

    async fn run(&self, cx: Starting) -> Result {
        self.run_by(Machine::Ordered(self.machine()), cx).await
    }
}

/// What a group of children that start together has in common with it.
impl Supervisor {
    /// The machine for a list whose order means nothing.
    pub(crate) fn dynamic_machine(&self) -> uptree_core::DynamicSupervisor {
        let specs = self.children.iter().map(ChildSpec::core);
        uptree_core::DynamicSupervisor::new(self.intensity.clone(), specs)
            .auto_shutdown(self.auto_shutdown)
            .backoff(self.backoff)
    }

    /// Runs its list as `machine` says.
    pub(crate) async fn run_by(&self, machine: Machine, cx: Starting) -> Result {
        let plan = Plan {
            machine,
            children: &self.children,
            intensity: &self.intensity,
            live: &self.live,
            fault: self.fault(|| cx.path()),
            max_shutdown: Duration::MAX,
        };
        driver::run(plan, cx).await
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }
}

/// Calls, each a method of every handle.
impl Supervisor {
    /// Adds a child at the end of the list and starts it; completes when it is ready.
    ///
    /// # Errors
    ///
    /// [`ControlError::AlreadyStarted`] or [`ControlError::AlreadyPresent`] if the id is taken,
    /// [`ControlError::BadCombination`], [`ControlError::StartFailed`] (the child is not kept then,
    /// and there is no event for it), [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is started all the same.
    pub async fn start_child(&self, child: impl IntoChild) -> Result<Started, ControlError> {
        let spec = child.into_child();
        checked(&spec)?;
        call(&self.live, |reply| Call::Start(spec, reply)).await
    }

    /// Stops the child by its spec; completes when it is gone. Unless it is temporary its spec is
    /// kept. A restart that would be tried again is called off, and siblings that are down because
    /// of it stay down.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`], [`ControlError::NoProc`], [`ControlError::Deadlock`]. A child
    /// that does not run is none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is stopped all the same.
    pub async fn terminate_child(&self, id: &str) -> Result<(), ControlError> {
        let target = Target::Id(id.into());
        call(&self.live, |reply| Call::Terminate(target, reply)).await
    }

    /// Starts a child that is known and does not run; completes when it is ready. It does not
    /// count as a restart, and leaves the siblings alone.
    ///
    /// # Errors
    ///
    /// [`ControlError::Running`], [`ControlError::Restarting`], [`ControlError::NotFound`],
    /// [`ControlError::StartFailed`], [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is started all the same.
    pub async fn restart_child(&self, id: &str) -> Result<Started, ControlError> {
        call(&self.live, |reply| Call::Restart(id.into(), reply)).await
    }

    /// Forgets a child that does not run.
    ///
    /// # Errors
    ///
    /// [`ControlError::Running`], [`ControlError::Restarting`], [`ControlError::NotFound`],
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is forgotten all the same.
    pub async fn delete_child(&self, id: &str) -> Result<(), ControlError> {
        call(&self.live, |reply| Call::Delete(id.into(), reply)).await
    }

    /// Every child that is known, as in OTP the one started last first. O(number of children).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, ControlError> {
        call(&self.live, Call::Which).await
    }

    /// How many children there are. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn count_children(&self) -> Result<Counts, ControlError> {
        call(&self.live, Call::Count).await
    }

    /// What a child is, and how it is supervised.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`], [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn get_childspec(&self, id: &str) -> Result<ChildSpec, ControlError> {
        call(&self.live, |reply| Call::Spec(id.into(), reply)).await
    }

    /// Stops the supervisor from outside: its children in order, then itself, with `reason` as if
    /// its own code had returned that. What its own supervisor makes of it is that one's matter: a
    /// permanent one is started again. Completes when every child is gone.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is stopped all the same.
    pub async fn stop(&self, reason: Result) -> Result<(), ControlError> {
        stop(&self.live, reason).await
    }

    /// Keeps the supervisor from looking at what is reported to it, and at calls, until the guard
    /// is dropped: OTP's `sys:suspend`. `None` if it does not run.
    #[cfg(any(test, feature = "test-util"))]
    pub fn pause(&self) -> Option<crate::Pause> {
        crate::Pause::new(&self.live)
    }
}

/// What a child's constructors found wrong is told before it is started.
pub(crate) fn checked(spec: &ChildSpec) -> Result<(), ControlError> {
    if spec.children().is_some() {
        // A supervisor looks at its own list when it starts.
        return Ok(());
    }
    match spec.check_own().into_iter().next() {
        Some(source) => Err(ControlError::StartFailed {
            path: spec.id().to_owned(),
            source,
        }),
        None => Ok(()),
    }
}

/// Completes when the supervisor that is there now has no children any more.
pub(crate) async fn stop(live: &Live, reason: Result) -> Result<(), ControlError> {
    call(live, |reply| Call::Stop(reason, reply)).await
}
