//! Elixir's `DynamicSupervisor`: children without an order, started by calls.

use std::{borrow::Cow, sync::Arc, time::Duration};

use uptree_core::{AutoShutdown, Backoff, Counts, Intensity, Shutdown};

use crate::{
    Child, ChildInfo, ChildRef, ChildSpec, ControlError, Fact, IntoChild, Options, Result, Started,
    Starting, Supervision,
    call::{Call, Live, Target, call_any_time},
    driver::{self, Plan},
    machine::Machine,
    supervisor::{checked, stop},
};

/// A supervisor of children that are started by calls and have nothing to do with each other: a
/// connection, a job, a tenant each.
///
/// It begins without children; each has its own spec, and ids need not differ. A child that ends
/// and is not restarted is forgotten. Its restart limit is 3 in 5 s for all of them together. A
/// clone is a handle to the same supervisor, see [`Supervisor`](crate::Supervisor#calls).
///
/// # Guarantees
///
/// - At a stop every child is asked at once, and killed when its own time is over: the stop takes
///   as long as the slowest of them.
/// - A start, a restart or a stop of one child does not hold up the others, nor a call.
/// - Each call costs O(1), whatever the number of children, but for
///   [`which_children`](Self::which_children).
///
/// # Differences from Elixir
///
/// - Elixir's answers nothing while a child starts or is terminated. Here a start that hangs is
///   alone; a child that is starting is listed and counted in `specs`, and not in `active`.
/// - A [`ChildRef`] is the child through all its restarts; a pid is one life of it. A child that
///   is starting can be terminated.
/// - It can have [significant](IntoChild::significant) children, as OTP 25's `simple_one_for_one`
///   can.
/// - There is no `extra_arguments`: a child is a value that can hold them.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Context, DynamicSupervisor, IntoChild, Restart, Result, Supervisor, worker};
///
/// async fn serve(room: &'static str, cx: Context) -> Result {
///     println!("opens {room}");
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let rooms = DynamicSupervisor::new("rooms").max_children(100);
/// let _tree = Supervisor::new("chat").child(rooms.clone()).start().await?;
///
/// let lobby = worker("room", "lobby", serve).restart(Restart::Transient);
/// let started = rooms.start_child(lobby).await?;
/// assert_eq!(rooms.count_children().await?.active, 1);
/// if let Some(lobby) = started.child() {
///     rooms.terminate_child(lobby).await?;
/// }
/// assert_eq!(rooms.count_children().await?.specs, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a supervisor does nothing until it is put in a list"]
#[derive(Clone, Debug)]
pub struct DynamicSupervisor {
    id: Cow<'static, str>,
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    backoff: Option<Backoff>,
    max_children: usize,
    max_shutdown: Duration,
    live: Live,
}

impl DynamicSupervisor {
    /// A supervisor that begins without children.
    pub fn new(id: impl Into<Cow<'static, str>>) -> Self {
        let id = id.into();
        Self {
            live: Live::new(id.clone()),
            id,
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            backoff: None,
            max_children: usize::MAX,
            max_shutdown: Duration::MAX,
        }
    }

    /// Allows so many children at once; those that are starting or being restarted count. Defaults
    /// to any number.
    pub fn max_children(mut self, max_children: usize) -> Self {
        self.max_children = max_children;
        self
    }

    /// Promises that no child takes longer to stop; one that may is refused with
    /// [`ControlError::TooSlowToStop`]. Defaults to no promise: then what the whole tree may take
    /// to stop is not known, and the process needs a `STOP_BUDGET`.
    pub fn max_shutdown(mut self, limit: Duration) -> Self {
        self.max_shutdown = limit;
        self
    }

    /// Allows `max_restarts` within any `max_seconds`, of all children together. Defaults to 3 in
    /// 5 s.
    ///
    /// It counts in plain time: in a [`Supervisor`](crate::Supervisor) that stands still while a
    /// child starts, stops or waits, but here the others go on meanwhile. So that slow starts do
    /// not defeat the limit, more than `max_restarts` restarts of one child are too many as well
    /// unless it has run for longer than `max_seconds` between two of them.
    pub fn intensity(mut self, max_restarts: usize, max_seconds: Duration) -> Self {
        self.intensity = Intensity::new(max_restarts, max_seconds);
        self
    }

    /// Says whether it ends when significant children have ended by themselves. Defaults to
    /// [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Spaces the restarts of those children that do not say so themselves. Defaults to none: a
    /// child is restarted at once.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Starts a child; completes when it is ready.
    ///
    /// # Errors
    ///
    /// [`ControlError::MaxChildren`], [`ControlError::BadCombination`],
    /// [`ControlError::TooSlowToStop`], [`ControlError::StartFailed`] (the child is not kept then,
    /// and there is no event for it), [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is started all the same.
    pub async fn start_child(&self, child: impl IntoChild) -> Result<Started, ControlError> {
        let spec = child.into_child();
        checked(&spec)?;
        call_any_time(&self.live, |reply| Call::Start(spec, reply)).await
    }

    /// Stops a child by its spec and forgets it; completes when it is gone.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] if it is forgotten already, [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child is stopped all the same.
    pub async fn terminate_child(&self, child: &ChildRef) -> Result<(), ControlError> {
        let target = Target::Child(child.clone());
        call_any_time(&self.live, |reply| Call::Terminate(target, reply)).await
    }

    /// Every child, in no order that means anything. O(number of children).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, ControlError> {
        call_any_time(&self.live, Call::Which).await
    }

    /// How many children there are. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn count_children(&self) -> Result<Counts, ControlError> {
        call_any_time(&self.live, Call::Count).await
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
        stop(&self.live, reason).await
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// See [`Supervisor::pause`](crate::Supervisor::pause).
    #[cfg(any(test, feature = "test-util"))]
    pub fn pause(&self) -> Option<crate::Pause> {
        crate::Pause::new(&self.live)
    }
}

impl Child for DynamicSupervisor {
    fn id(&self) -> Cow<'static, str> {
        self.id.clone()
    }

    /// As for any supervisor: [`Shutdown::Infinity`], its children have their own times.
    fn defaults(&self, options: Options) -> Options {
        options
            .shutdown(Shutdown::Infinity)
            .start_timeout(Duration::MAX)
            .cancel_grace(Duration::MAX)
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        Some(&[])
    }

    fn facts(&self) -> Vec<Fact> {
        let supervision = Supervision::new(None, &self.intensity, self.auto_shutdown, self.backoff);
        vec![Box::new(supervision.dynamic())]
    }

    fn stop_budget(&self) -> Option<Duration> {
        (self.max_shutdown != Duration::MAX).then_some(self.max_shutdown)
    }

    async fn run(&self, cx: Starting) -> Result {
        let machine = uptree_core::DynamicSupervisor::new(self.intensity.clone(), [])
            .max_children(self.max_children)
            .auto_shutdown(self.auto_shutdown)
            .backoff(self.backoff);
        let plan = Plan {
            machine: Machine::Dynamic(machine),
            children: &Arc::default(),
            intensity: &self.intensity,
            live: &self.live,
            fault: None,
            max_shutdown: self.max_shutdown,
        };
        driver::run(plan, cx).await
    }
}
