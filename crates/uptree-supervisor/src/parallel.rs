//! A group in a list whose members start together and stop together.

use std::{borrow::Cow, time::Duration};

use uptree_core::{Backoff, Counts};

use crate::{
    BoxError, Child, ChildInfo, ChildSpec, ControlError, Fact, IntoChild, Options, Result,
    Starting, Supervisor,
    call::{Call, call_any_time},
    machine::Machine,
};

/// A group of children that do not need each other: they start together and stop together. Its
/// id is that of its members, joined with `+`. See [`Parallel`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tokio::time::{Instant, sleep};
/// use uptree_supervisor::{Result, Starting, Supervisor, parallel, service};
///
/// async fn warm(time: Duration, cx: Starting) -> Result {
///     sleep(time).await;
///     cx.ready().shutdown().await;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result {
/// let second = Duration::from_secs(1);
/// let began = Instant::now();
/// let _tree = Supervisor::new("shop")
///     .child(parallel([
///         service("prices", 3 * second, warm),
///         service("stock", 2 * second, warm),
///     ]))
///     .start()
///     .await?;
/// assert_eq!(began.elapsed(), 3 * second);
/// # Ok(())
/// # }
/// ```
pub fn parallel(children: impl IntoIterator<Item = impl IntoChild>) -> Parallel {
    let children = children.into_iter().map(IntoChild::into_child);
    let children: Vec<_> = children.collect();
    let ids: Vec<_> = children.iter().map(ChildSpec::id).collect();
    Parallel::new(ids.join("+")).children(children)
}

/// A group of children that start together and stop together: a supervisor without an order.
///
/// The group is ready when every member is, or has done its work: boot waits for the slowest of
/// them, not for their sum, and so does a stop. Members are restarted each by itself, at most 3
/// times in 5 s for all of them together; then the group gives up and is restarted as a whole.
///
/// If a member does not start, neither does the group: the starts of the others are called off,
/// and those that are ready are stopped. A member that has done its work or ends for good is
/// forgotten until the group is restarted.
///
/// [`parallel`] makes one of members of the same type; this makes one step by step. A clone is a
/// handle to the same group.
///
/// # Differences from OTP
///
/// OTP has no such group: its supervisors start one child after the other, and those who want
/// more move slow work out of `init`. Its `simple_one_for_one` stops children together too.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Context, Parallel, Result, Supervisor, once, worker};
///
/// async fn cache(name: &'static str, cx: Context) -> Result {
///     println!("{name} is warm");
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// async fn sweep((): ()) -> Result {
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let caches = Parallel::new("caches")
///     .child(worker("prices", "prices", cache))
///     .child(once("old-files", (), sweep));
/// let _tree = Supervisor::new("shop").child(caches.clone()).start().await?;
/// assert_eq!(caches.count_children().await?.active, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "a group does nothing until it is put in a list"]
#[derive(Clone, Debug)]
pub struct Parallel(Supervisor);

impl Parallel {
    /// A group without members.
    pub fn new(id: impl Into<Cow<'static, str>>) -> Self {
        Self(Supervisor::new(id))
    }

    /// Adds a member.
    pub fn child(self, child: impl IntoChild) -> Self {
        Self(self.0.child(child))
    }

    /// Adds members.
    pub fn children(self, children: impl IntoIterator<Item = impl IntoChild>) -> Self {
        Self(self.0.children(children))
    }

    /// Allows `max_restarts` within any `max_seconds`, of all members together. Defaults to 3 in
    /// 5 s, in plain time, as in a
    /// [`DynamicSupervisor`](crate::DynamicSupervisor::intensity).
    pub fn intensity(self, max_restarts: usize, max_seconds: Duration) -> Self {
        Self(self.0.intensity(max_restarts, max_seconds))
    }

    /// Spaces the restarts of those members that do not say so themselves. Defaults to none: a
    /// member is restarted at once.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self(self.0.backoff(backoff))
    }

    /// Every member that is not forgotten, in no order that means anything. O(number of members).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, ControlError> {
        call_any_time(self.0.live(), Call::Which).await
    }

    /// How many members there are. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::NoProc`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn count_children(&self) -> Result<Counts, ControlError> {
        call_any_time(self.0.live(), Call::Count).await
    }
}

impl Child for Parallel {
    fn id(&self) -> Cow<'static, str> {
        self.0.id()
    }

    /// Those of [`Supervisor`].
    fn defaults(&self, options: Options) -> Options {
        self.0.defaults(options)
    }

    fn check(&self) -> Vec<BoxError> {
        self.0.check()
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        Child::children(&self.0)
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Box::new(self.0.supervision().parallel())]
    }

    /// As long as the slowest member's.
    fn stop_budget(&self) -> Option<Duration> {
        let members = Child::children(&self.0).unwrap_or_default();
        members.iter().try_fold(Duration::ZERO, |longest, member| {
            Some(longest.max(member.stop_budget()?))
        })
    }

    async fn run(&self, cx: Starting) -> Result {
        let machine = Machine::Dynamic(self.0.dynamic_machine());
        self.0.run_by(machine, cx).await
    }
}

#[cfg(test)]
mod tests;
