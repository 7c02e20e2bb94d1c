//! A static supervisor, as a user writes it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use uptree_core::{Intensity, Shutdown, Strategy};

use crate::{
    BoxError, Child, ChildSpec, IntoChild, Options, Result, Starting, driver, state::TreeOptions,
    tree::Tree,
};

/// An ordered list of children, started one after the other, each when the one before is ready;
/// restarted by a [`Strategy`]; stopped in reverse. It is itself a child: trees are nested lists.
///
/// Its restart limit is Elixir's 3 in 5 s by default (OTP's is 1 in 5 s).
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
///
/// # Examples
///
/// See the [crate's](crate).
#[must_use = "a supervisor does nothing until it is started or put in a list"]
#[derive(Debug)]
pub struct Supervisor {
    id: Cow<'static, str>,
    strategy: Strategy,
    intensity: Intensity,
    children: Arc<Vec<ChildSpec>>,
}

impl Supervisor {
    /// A supervisor without children.
    pub fn new(id: impl Into<Cow<'static, str>>) -> Self {
        Self {
            id: id.into(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            children: Arc::default(),
        }
    }

    /// Adds a child to the end of the list.
    pub fn child(mut self, child: impl IntoChild) -> Self {
        Arc::make_mut(&mut self.children).push(child.into_child());
        self
    }

    /// Adds children to the end of the list.
    pub fn children(mut self, children: impl IntoIterator<Item = impl IntoChild>) -> Self {
        let children = children.into_iter().map(IntoChild::into_child);
        Arc::make_mut(&mut self.children).extend(children);
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

    pub(crate) fn core(&self) -> uptree_core::Supervisor {
        let specs = self.children.iter().map(ChildSpec::core);
        uptree_core::Supervisor::new(self.strategy, self.intensity.clone(), specs)
    }

    pub(crate) fn specs(&self) -> &Arc<Vec<ChildSpec>> {
        &self.children
    }

    pub(crate) fn limit(&self) -> &Intensity {
        &self.intensity
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

    async fn run(&self, cx: Starting) -> Result {
        driver::run(self, cx).await
    }
}
