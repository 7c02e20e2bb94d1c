//! What a user writes: a child, and the two phases of its life.

use std::{any::Any, borrow::Cow, future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use uptree_core::Shutdown;

use crate::{
    BoxError, ChildSpec, EventKind, Lost, Options, Result,
    incarnation::{Incarnation, StopCause},
    task::spawn_task,
};

/// Something that a supervisor starts, restarts and stops.
///
/// [`run`](Self::run) is called once for each incarnation: the value's fields outlive restarts,
/// locals do not. A plain `async fn` becomes a child through [`worker`](crate::worker),
/// [`service`](crate::service) or [`once`](crate::once).
///
/// # Ways to end
///
/// | | nobody asked | asked to stop |
/// |---|---|---|
/// | `Ok(())` | normal | shutdown |
/// | `Err(`[`Stop`](crate::Stop)`)` | OTP's `{shutdown, reason}` | the same |
/// | any other `Err`, a panic | abnormal | abnormal: reported, never restarted |
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Child, Result, Starting};
///
/// struct Heater;
///
/// impl Child for Heater {
///     async fn run(&self, cx: Starting) -> Result {
///         // Whatever must have happened before the next child may start.
///         let cx = cx.ready();
///         cx.shutdown().await;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a child of a supervisor",
    label = "expected a child here",
    note = "implement `Child` for it, or wrap an async fn: `worker(\"id\", state, f)`, `service(\"id\", state, f)`, `once(\"id\", state, f)`"
)]
pub trait Child: Send + Sync + 'static {
    /// Its name among its siblings, unique there.
    ///
    /// Defaults to the type's name in lower case, without its path and parameters.
    fn id(&self) -> Cow<'static, str> {
        let name = std::any::type_name::<Self>();
        let name = name.split('<').next().unwrap_or(name);
        let name = name.rsplit("::").next().unwrap_or(name);
        name.to_lowercase().into()
    }

    /// How this kind of child wants to be supervised (Elixir's `child_spec/1`); the list can
    /// override it. Defaults to `options` as they come.
    fn defaults(&self, options: Options) -> Options {
        options
    }

    /// What its constructors found wrong, told before the first child of the tree starts.
    ///
    /// May look at files, never at the network. Defaults to nothing.
    fn check(&self) -> Vec<BoxError> {
        Vec::new()
    }

    /// Accepted work that it still holds, asked when the process is about to end and it does not
    /// run any more: whatever is told here is lost, and the process says so. Defaults to none.
    ///
    /// It is asked whichever way the child ended, also if it was killed, so it must be kept where
    /// it outlives an incarnation: in the child's fields.
    fn lost(&self) -> Option<Lost> {
        None
    }

    /// What those who look at the list may know of it beyond its options, each fact a value of a
    /// type that the two sides share: [`ChildSpec::fact`] finds it. Defaults to nothing.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// The children of a supervisor; `None`, the default, for a worker.
    fn children(&self) -> Option<&[ChildSpec]> {
        None
    }

    /// The longest that the stop of what is below a supervisor takes: by default the sum over its
    /// [`children`](Self::children), who stop one after the other. `None` if there is no limit.
    /// Not asked of workers.
    fn stop_budget(&self) -> Option<Duration> {
        let children = self.children().unwrap_or_default();
        children.iter().try_fold(Duration::ZERO, |sum, child| {
            sum.checked_add(child.stop_budget()?)
        })
    }

    /// Initialises, says [`Starting::ready`], works until [`Context::shutdown`]; or initialises and
    /// ends with [`Starting::done`].
    ///
    /// # Errors
    ///
    /// Whatever makes this incarnation fail. Returning `Ok` before either word is an error that
    /// says so.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at any `.await` when the child is killed: when its stop timeout is
    /// over, when its start is called off (after [`Options::cancel_grace`]), or with its
    /// supervisor.
    fn run(&self, cx: Starting) -> impl Future<Output = Result> + Send;
}

/// Something that a child says of itself, see [`Child::facts`].
pub type Fact = Box<dyn Any>;

/// The start of an incarnation: the next child waits for its end.
///
/// It has no `shutdown()`, so that a child that lives on must pass through
/// [`ready`](Self::ready).
#[must_use = "call `.ready()` to go on running or `.done()` if the work is done: the next child starts only then"]
#[derive(Debug)]
pub struct Starting {
    life: Arc<Incarnation>,
}

impl Starting {
    pub(crate) fn new(life: Arc<Incarnation>) -> Self {
        Self { life }
    }

    pub(crate) fn life(&self) -> &Arc<Incarnation> {
        &self.life
    }

    /// The child is initialised; the next one may start.
    pub fn ready(self) -> Context {
        self.life.report_ready();
        Context { life: self.life }
    }

    /// [`ready`](Self::ready), with something to tell whoever called for the start (OTP's
    /// `{ok, Pid, Info}`): [`Started::info`](crate::Started::info). At any other start it is
    /// dropped.
    pub fn ready_with(self, info: impl Any + Send + Sync) -> Context {
        self.life.keep_info(Box::new(info));
        self.ready()
    }

    /// The child's work was its start: nothing is left to supervise (OTP's `ignore`).
    ///
    /// To be returned: the next child starts once the incarnation is gone.
    pub fn done(self) -> Result {
        self.life.mark_done();
        Ok(())
    }

    /// Completes when the start is called off: by a stop, or by the start timeout.
    ///
    /// The child then has [`Options::cancel_grace`] to clean up; with the default of zero it is
    /// dropped at once, and need not look.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.life.stopping().await;
    }

    /// Whether the start has been called off.
    pub fn is_cancelled(&self) -> bool {
        self.life.stop_cause().is_some()
    }

    /// Names what the start does now: a timed line in the boot timeline.
    pub fn step(&self, name: impl Into<Cow<'static, str>>) {
        self.life.emit(EventKind::Step(&name.into()));
    }

    /// Names what the start waits for now, such as a lock that another process holds: a line in
    /// the boot timeline whose time is not the child's own work. It lasts until the next
    /// [`step`](Self::step).
    pub fn waiting(&self, what: impl Into<Cow<'static, str>>) {
        self.life.emit(EventKind::Waiting(&what.into()));
    }

    /// Tells of work that is going on: `done` of `total`, and on what.
    ///
    /// The start timeout counts from here again.
    pub fn progress(&self, done: u64, total: u64, what: impl Into<Cow<'static, str>>) {
        self.life.progress(done, total, &what.into());
    }

    /// Tells of an attempt that failed and will be made again.
    ///
    /// It does not extend the start timeout, and becomes its cause: so that the error says
    /// "connection refused", not just "not ready".
    pub fn attempt_failed(&self, error: impl Into<BoxError>) {
        self.life.attempt_failed(error.into());
    }

    /// When the start times out, as things stand; `None` if it never does.
    pub fn deadline(&self) -> Option<Instant> {
        self.life.start_deadline()
    }

    /// How often the child has been started before: 0 at boot.
    pub fn incarnation(&self) -> u64 {
        self.life.restarts().into()
    }

    /// The child's place in the tree, such as `service/repo`.
    pub fn path(&self) -> String {
        self.life.path().to_string()
    }

    /// See [`Context::extension`].
    pub fn extension<T: Any>(&self) -> Option<&T> {
        self.life.tree().extension.as_deref()?.downcast_ref()
    }

    /// How the child will be stopped, as the list has it.
    pub fn shutdown_policy(&self) -> Shutdown {
        self.life.options().shutdown
    }

    /// See [`Context::spawn`].
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        spawn_task(&self.life, future);
    }
}

/// The run of an incarnation, after its start.
#[must_use = "a child that runs must watch `shutdown()`; one that is finished ends with `Starting::done()`"]
#[derive(Clone, Debug)]
pub struct Context {
    life: Arc<Incarnation>,
}

impl Context {
    /// Completes when the child is to stop, and says why.
    ///
    /// Any number of tasks may wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn shutdown(&self) -> impl Future<Output = StopCause> + Send + use<'_> {
        self.life.stopping()
    }

    /// Why the child is to stop, if it is.
    pub fn stop_cause(&self) -> Option<StopCause> {
        self.life.stop_cause()
    }

    /// When the child is killed if it is still there: `None` before it is asked to stop, and for
    /// [`Shutdown::Infinity`].
    pub fn stop_deadline(&self) -> Option<Instant> {
        self.life.stop_deadline()
    }

    /// The time that is left until [`stop_deadline`](Self::stop_deadline).
    pub fn stop_time_left(&self) -> Option<Duration> {
        let deadline = self.stop_deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes when whoever stops the tree is in a hurry (a second signal): what is merely
    /// polite, such as a drain delay, is then skipped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn hurry(&self) {
        self.life.tree().hurry.cancelled().await;
    }

    /// Runs `future` unless the child is to stop first; `None` then.
    ///
    /// # Cancel safety
    ///
    /// `future` is dropped at an `.await` when the child is to stop.
    pub async fn until_shutdown<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            _ = self.shutdown() => None,
            output = future => Some(output),
        }
    }

    /// Runs `future` in a task that belongs to this incarnation.
    ///
    /// It has the child's path in its logs; if it panics the child fails with that panic; when the
    /// child ends it is aborted, and the child does not count as gone before it is. A task made
    /// with `tokio::spawn` has none of this. O(1), whatever the number of tasks.
    ///
    /// Once the incarnation has ended the future is dropped, not run.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        spawn_task(&self.life, future);
    }

    /// What [`TreeOptions::extension`](crate::TreeOptions#structfield.extension) has, if it is a
    /// `T`. `None` too if the tree was given nothing.
    pub fn extension<T: Any>(&self) -> Option<&T> {
        self.life.tree().extension.as_deref()?.downcast_ref()
    }

    /// How often the child has been started before: 0 at boot.
    pub fn incarnation(&self) -> u64 {
        self.life.restarts().into()
    }

    /// The child's place in the tree, such as `service/repo`.
    pub fn path(&self) -> String {
        self.life.path().to_string()
    }
}
