//! Elixir's `Task.Supervisor`: plain futures that run under a supervisor.

use std::{borrow::Cow, future::Future, time::Duration};

use uptree_core::{Counts, Restart};

use crate::{
    Child, ChildInfo, ChildRef, ChildSpec, ControlError, DynamicSupervisor, Fact, IntoChild,
    Options, Result, Started, Starting, worker::current_life,
};

mod task;

pub use self::task::{Task, TaskError};

/// A supervisor of futures: each runs as a child of its own, and whoever started it has a [`Task`]
/// to wait for it.
///
/// A clone is a handle to the same supervisor, see [`Supervisor`](crate::Supervisor#calls).
///
/// | | its outcome | if it panics | if the caller forgets it |
/// |---|---|---|---|
/// | [`async_nolink`](Self::async_nolink) | a [`Task`] | the `Task` says so | it is cancelled |
/// | [`async_link`](Self::async_link) | a [`Task`] | the caller fails with it | it is cancelled |
/// | [`start_child`](Self::start_child) | nobody's | it is reported | it goes on |
///
/// # Guarantees
///
/// - A task runs by itself, whether its [`Task`] is polled or not.
/// - When its [`Task`] completes the task is gone, with all that it held, and leaves its place
///   under [`max_children`](Self::max_children) to the next.
/// - A [`Task`] that is dropped takes its task along. So no task outlives the interest in it.
/// - When the supervisor stops every task is dropped, at its next `.await`.
///
/// # Many at once
///
/// Elixir's `async_stream` is `buffered` of the `futures` crates: at most so many at once, outcomes
/// in the order of the items (`buffer_unordered`: as they come), and what is under way is cancelled
/// with the stream. With `futures_util::StreamExt`:
///
/// ```
/// use std::time::Duration;
/// use futures_util::{StreamExt, stream};
/// use tokio::time::timeout;
/// use uptree_supervisor::{Result, Supervisor, TaskError, TaskSupervisor};
///
/// async fn fetch(page: u32) -> String {
///     assert_ne!(page, 3, "no such page");
///     if page == 4 {
///         std::future::pending().await
///     }
///     format!("page {page}")
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result {
/// let tasks = TaskSupervisor::new("tasks");
/// let _tree = Supervisor::new("app").child(tasks.clone()).start().await?;
///
/// // max_concurrency: 8
/// let pages: Vec<_> = stream::iter([1, 2, 3])
///     .map(|page| tasks.async_nolink(fetch(page)))
///     .buffered(8)
///     .collect()
///     .await;
/// assert_eq!(pages[..2], [Ok("page 1".into()), Ok("page 2".into())]);
/// assert!(matches!(&pages[2], Err(TaskError::Panicked(_))));
///
/// // timeout: 5_000, on_timeout: :kill_task, ordered: false
/// let pages: Vec<_> = stream::iter([1, 4])
///     .map(|page| timeout(Duration::from_secs(5), tasks.async_nolink(fetch(page))))
///     .buffer_unordered(8)
///     .collect()
///     .await;
/// assert_eq!(pages[0], Ok(Ok("page 1".into())));
/// assert!(pages[1].is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Differences from Elixir
///
/// - `async` is a word of Rust's: here it is [`async_link`](Self::async_link).
/// - In Elixir a task without a link goes on when its caller has ended. Here a [`Task`] that is
///   dropped is cancelled, with or without a link; what is to go on is for
///   [`start_child`](Self::start_child).
/// - A link carries panics. A linked task that is stopped with its supervisor does not take the
///   caller along: its [`Task`] says [`TaskError::Stopped`].
/// - A task that is refused (`max_children`, no supervisor) is an outcome of its [`Task`]; Elixir
///   raises.
/// - A future cannot be asked to stop, so there is no shutdown timeout for it: it is dropped. What
///   wants to be asked is for [`start_child`](Self::start_child).
/// - Elixir's task tells its outcome before it ends, so that the next may be refused its place.
/// - There are no `$callers`.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Result, Supervisor, TaskSupervisor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let tasks = TaskSupervisor::new("tasks");
/// let _tree = Supervisor::new("app").child(tasks.clone()).start().await?;
///
/// let sum = tasks.async_nolink(async { 1 + 2 });
/// let product = tasks.async_nolink(async { 3 * 4 });
/// assert_eq!((sum.await?, product.await?), (3, 12));
/// assert_eq!(tasks.count_children().await?.specs, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a supervisor does nothing until it is put in a list"]
#[derive(Clone, Debug)]
pub struct TaskSupervisor(DynamicSupervisor);

impl TaskSupervisor {
    /// A supervisor that begins without tasks.
    pub fn new(id: impl Into<Cow<'static, str>>) -> Self {
        Self(DynamicSupervisor::new(id).max_shutdown(Duration::from_secs(5)))
    }

    /// Allows so many tasks at once. Defaults to any number.
    pub fn max_children(self, max_children: usize) -> Self {
        Self(self.0.max_children(max_children))
    }

    /// Promises that no child takes longer to stop; [`start_child`](Self::start_child) refuses one
    /// that may. Defaults to 5 s.
    pub fn max_shutdown(self, limit: Duration) -> Self {
        Self(self.0.max_shutdown(limit))
    }

    /// Allows `max_restarts` within any `max_seconds`, of those children that are restarted.
    /// Defaults to 3 in 5 s.
    pub fn intensity(self, max_restarts: usize, max_seconds: Duration) -> Self {
        Self(self.0.intensity(max_restarts, max_seconds))
    }

    /// Runs `future` as a task of its own, from now on. The caller survives its panic, and is told
    /// by the [`Task`].
    pub fn async_nolink<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task::begin(self.0.live(), future, None)
    }

    /// The same, and the child in whose code this is called fails with its panic, as with that of
    /// a process that is linked to it (Elixir's `async`). Outside a tree there is no such child.
    pub fn async_link<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task::begin(self.0.live(), future, current_life())
    }

    /// Starts a child that nobody waits for; completes when it is ready. It is
    /// [`Restart::Temporary`] unless it says when it is restarted.
    ///
    /// # Errors
    ///
    /// Those of [`DynamicSupervisor::start_child`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is started all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_supervisor::{Context, Result, Supervisor, TaskSupervisor, worker};
    ///
    /// async fn greet(name: String, _cx: Context) -> Result {
    ///     println!("hello, {name}");
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result {
    /// let tasks = TaskSupervisor::new("tasks");
    /// let _tree = Supervisor::new("app").child(tasks.clone()).start().await?;
    /// tasks.start_child(worker("greet", "Joe".to_owned(), greet)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_child(&self, child: impl IntoChild) -> Result<Started, ControlError> {
        let spec = child.into_child();
        let options = spec.options();
        let silent = !options.says_restart && options.restart == Restart::default();
        let spec = match silent {
            true => spec.restart(Restart::Temporary),
            false => spec,
        };
        self.0.start_child(spec).await
    }

    /// See [`DynamicSupervisor::terminate_child`].
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`], [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is stopped all the same.
    pub async fn terminate_child(&self, child: &ChildRef) -> Result<(), ControlError> {
        self.0.terminate_child(child).await
    }

    /// Every task, in no order that means anything. O(number of tasks).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, ControlError> {
        self.0.which_children().await
    }

    /// How many tasks there are. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn count_children(&self) -> Result<Counts, ControlError> {
        self.0.count_children().await
    }

    /// See [`Supervisor::stop`](crate::Supervisor::stop).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`], [`ControlError::Deadlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is stopped all the same.
    pub async fn stop(&self, reason: Result) -> Result<(), ControlError> {
        self.0.stop(reason).await
    }
}

impl Child for TaskSupervisor {
    fn id(&self) -> Cow<'static, str> {
        self.0.id()
    }

    /// Those of [`DynamicSupervisor`].
    fn defaults(&self, options: Options) -> Options {
        self.0.defaults(options)
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        self.0.children()
    }

    fn facts(&self) -> Vec<Fact> {
        self.0.facts()
    }

    fn stop_budget(&self) -> Option<Duration> {
        self.0.stop_budget()
    }

    async fn run(&self, cx: Starting) -> Result {
        self.0.run(cx).await
    }
}

#[cfg(test)]
mod tests;
