//! Elixir's `PartitionSupervisor`: one child many times, and a key says which of them.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hash},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use rustc_hash::FxBuildHasher;
use tokio::sync::Mutex;
use uptree_core::Counts;

use crate::{
    BoxError, Child, ChildInfo, ChildSpec, ControlError, Fact, IntoChild, Options, Result,
    Starting, Supervisor,
};

/// A supervisor of several copies of one child, its partitions, with the ids `0`, `1` and so on.
/// A key always leads to the same partition.
///
/// It is for what would be a bottleneck if there were one of it: `C` is a handle that is also the
/// child, such as a [`DynamicSupervisor`](crate::DynamicSupervisor) or a
/// [`TaskSupervisor`](crate::TaskSupervisor). The partitions are an ordinary list: they start and
/// stop in order and are restarted each by itself. A clone is a handle to the same supervisor.
///
/// # Differences from Elixir
///
/// - A key is hashed, whatever its type. Elixir takes an integer as the number of the partition:
///   that is [`partition`](Self::partition) here.
/// - It answers with the partition's handle, also while that does not run; the handle then says
///   so. Elixir raises if there is none.
/// - There is no `with_arguments`: the function that makes a partition is given its number.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{
///     Context, DynamicSupervisor, PartitionSupervisor, Result, Supervisor, worker,
/// };
///
/// async fn session(user: u64, cx: Context) -> Result {
///     println!("{user} is served by {}", cx.path());
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let sessions = PartitionSupervisor::new("sessions", |_| DynamicSupervisor::new("sessions"))
///     .partitions(4);
/// let _tree = Supervisor::new("app").child(sessions.clone()).start().await?;
///
/// for user in 0..100 {
///     sessions.get(&user).start_child(worker("session", user, session)).await?;
/// }
/// let mut count = 0;
/// for partition in sessions.iter() {
///     count += partition.count_children().await?.active;
/// }
/// assert_eq!((sessions.len(), count), (4, 100));
/// # Ok(())
/// # }
/// ```
#[must_use = "a supervisor does nothing until it is put in a list"]
#[derive(Clone)]
pub struct PartitionSupervisor<C> {
    /// Without its children.
    bare: Supervisor,
    count: usize,
    make: Arc<dyn Fn(usize) -> C + Send + Sync>,
    made: Arc<OnceLock<Made<C>>>,
}

/// What is made when it is first needed: then nobody says any more how many there are.
struct Made<C> {
    partitions: Vec<C>,
    supervisor: Supervisor,
    /// So many of them are led to.
    open: AtomicUsize,
    resizing: Mutex<()>,
}

impl<C: IntoChild + Clone + Send + Sync + 'static> PartitionSupervisor<C> {
    /// A supervisor of what `make` returns for each partition's number. That is called once for
    /// each of them.
    pub fn new(
        id: impl Into<Cow<'static, str>>,
        make: impl Fn(usize) -> C + Send + Sync + 'static,
    ) -> Self {
        Self {
            bare: Supervisor::new(id),
            count: available_parallelism().map_or(1, usize::from),
            make: Arc::new(make),
            made: Arc::default(),
        }
    }

    /// Sets how many partitions there are, at least one. Defaults to the number of cores that the
    /// process may use.
    pub fn partitions(mut self, count: usize) -> Self {
        self.count = count.max(1);
        self.made = Arc::default();
        self
    }

    /// Allows `max_restarts` within any `max_seconds`, of all partitions together. Defaults to 3
    /// in 5 s.
    pub fn intensity(mut self, max_restarts: usize, max_seconds: Duration) -> Self {
        self.bare = self.bare.intensity(max_restarts, max_seconds);
        self.made = Arc::default();
        self
    }

    /// The partition of `key`: the same for the same key, as long as there are as many.
    ///
    /// Keys that hash alike have the same one, such as a `String` and its `str`.
    pub fn get<K: Hash + ?Sized>(&self, key: &K) -> &C {
        let hash = FxBuildHasher.hash_one(key);
        // Where a usize is shorter the lower half is as good.
        #[expect(clippy::cast_possible_truncation)]
        self.partition(hash as usize)
    }

    /// The partition with this number, which wraps around: of three, 3 is 0 again.
    pub fn partition(&self, index: usize) -> &C {
        let Made {
            partitions, open, ..
        } = self.made();
        // If there is none the first of them says so.
        &partitions[index % open.load(Ordering::Relaxed).max(1)]
    }

    /// The partitions, in order.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.made().partitions.iter().take(self.len())
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.made().open.load(Ordering::Relaxed)
    }

    /// Whether there is none: after [`resize`](Self::resize) to 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes on with so many partitions, between none and as many as it was made with: terminates
    /// the last ones, or starts them again. Completes when that is done.
    ///
    /// Keys are spread anew, so most of them change their partition. When the supervisor is
    /// restarted it has all of them again.
    ///
    /// # Errors
    ///
    /// [`ControlError::MaxChildren`] if it was made with fewer, and what
    /// [`Supervisor::terminate_child`] and [`Supervisor::restart_child`] answer. Keys then go to
    /// the partitions that both sizes have; call it again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has done a part; call it again.
    pub async fn resize(&self, partitions: usize) -> Result<(), ControlError> {
        let made = self.made();
        let all = made.partitions.len();
        if partitions > all {
            return Err(ControlError::MaxChildren);
        }
        let _turn = made.resizing.lock().await;
        // Nobody is led to those that go, and to those that come only when they are there.
        made.open.fetch_min(partitions, Ordering::Relaxed);
        for index in (partitions..all).rev() {
            made.supervisor.terminate_child(&index.to_string()).await?;
        }
        for index in 0..partitions {
            match made.supervisor.restart_child(&index.to_string()).await {
                Ok(_) | Err(ControlError::Running | ControlError::Restarting) => {}
                Err(error) => return Err(error),
            }
        }
        made.open.store(partitions, Ordering::Relaxed);
        Ok(())
    }

    /// Every partition, those that are terminated too, the last one first.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, ControlError> {
        self.made().supervisor.which_children().await
    }

    /// How many partitions there are; `active` are those that run. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn count_children(&self) -> Result<Counts, ControlError> {
        self.made().supervisor.count_children().await
    }

    /// See [`Supervisor::stop`].
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is stopped all the same.
    pub async fn stop(&self, reason: Result) -> Result<(), ControlError> {
        self.made().supervisor.stop(reason).await
    }

    fn made(&self) -> &Made<C> {
        self.made.get_or_init(|| {
            let partitions: Vec<_> = (0..self.count).map(|index| (self.make)(index)).collect();
            let numbered = partitions.iter().cloned().enumerate();
            let specs = numbered.map(|(index, partition)| partition.with_id(index.to_string()));
            Made {
                supervisor: self.bare.clone().children(specs),
                open: AtomicUsize::new(partitions.len()),
                partitions,
                resizing: Mutex::default(),
            }
        })
    }
}

impl<C: IntoChild + Clone + Send + Sync + 'static> Child for PartitionSupervisor<C> {
    fn id(&self) -> Cow<'static, str> {
        self.bare.id()
    }

    /// Those of [`Supervisor`].
    fn defaults(&self, options: Options) -> Options {
        self.bare.defaults(options)
    }

    fn check(&self) -> Vec<BoxError> {
        self.made().supervisor.check()
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        Child::children(&self.made().supervisor)
    }

    fn facts(&self) -> Vec<Fact> {
        self.bare.facts()
    }

    async fn run(&self, cx: Starting) -> Result {
        let made = self.made();
        made.open.store(made.partitions.len(), Ordering::Relaxed);
        made.supervisor.run(cx).await
    }
}

impl<C> fmt::Debug for PartitionSupervisor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionSupervisor")
            .field("supervisor", &self.bare)
            .field("partitions", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
