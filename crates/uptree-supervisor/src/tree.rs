//! A running tree: the root's incarnation, and what the whole tree shares.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};
use uptree_core::Incarnation as Key;

use crate::{
    BoxError, ChildSpec, ChildState, EventKind, ExitReason, Snapshot, TreeOptions,
    incarnation::{Incarnation, Report, StopCause},
    scope::Scope,
    state::TreeState,
    worker::Polling,
};

/// A running tree. Dropping it kills the tree.
#[derive(Debug)]
#[must_use = "the tree is killed when this is dropped"]
pub struct Tree {
    root: Arc<Incarnation>,
    task: JoinHandle<()>,
    ended: bool,
    /// How it ended, until that has been told.
    exit: Option<ExitReason>,
}

impl Tree {
    /// Starts `root` as the root of a tree, which then boots by itself. What
    /// [`ChildSpec::check`] would find is not looked at.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(root: ChildSpec, options: TreeOptions) -> Self {
        let scope = Scope::new(TreeState::new(options), None, &Arc::default(), true);
        let root = Incarnation::new(&scope, root, Key::first(0), scope.now());
        root.emit(EventKind::Starting);
        let task = root.spec().spawn(&root);
        Self {
            root,
            task,
            ended: false,
            exit: None,
        }
    }

    /// Completes when every child has started, or none is left.
    ///
    /// # Errors
    ///
    /// What the boot failed with; everything that had started has been stopped by then. A stop
    /// during boot is no error; [`wait`](Self::wait) then completes at once.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&mut self) -> Result<(), BoxError> {
        while !self.ended {
            match self.report().await {
                Report::Ready(_) => {
                    let now = self.root.scope().now();
                    let took = now.saturating_sub(self.root.since());
                    self.root.show(ChildState::Running, now);
                    self.root.emit(EventKind::Ready { took });
                    return Ok(());
                }
                report => self.on_end(&report),
            }
        }
        self.wait().await
    }

    /// Completes when the tree has ended and nothing of it is left.
    ///
    /// # Errors
    ///
    /// A [`TreeError`](crate::TreeError) if it ended without being asked to, or is stuck.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&mut self) -> Result<(), BoxError> {
        while !self.ended {
            let report = self.report().await;
            self.on_end(&report);
        }
        match self.exit.take() {
            Some(reason) => reason.into_error().map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    async fn report(&self) -> Report {
        let (report, _) = poll_fn(|cx| self.root.scope().inbox.poll(cx)).await;
        report
    }

    /// Takes in anything but the first readiness.
    fn on_end(&mut self, report: &Report) {
        self.exit = match report {
            Report::Gone { .. } => self.root.take_exit(),
            Report::TaskFailed(_) => {
                self.task.abort();
                None
            }
            Report::Ready(_) | Report::Lingers(_) | Report::Retry(_) | Report::Call(_) => None,
        };
        if self.exit.is_some() {
            self.ended = true;
            self.root.show(ChildState::Down, self.root.scope().now());
        }
    }

    /// Asks the tree to stop; see [`Stopper::stop`]. [`wait`](Self::wait) tells when it has.
    pub fn stop(&self, cause: StopCause) {
        self.root.ask_to_stop(cause, None);
    }

    /// A handle that stops the tree from anywhere, also from outside the runtime.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            root: self.root.clone(),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Stops a tree and looks at it, from any thread: none of it needs the runtime to be alive.
#[derive(Clone, Debug)]
pub struct Stopper {
    root: Arc<Incarnation>,
}

impl Stopper {
    /// Asks the tree to stop, at any moment of its life: the start under way is called off, then
    /// every child stops, last started first. The first cause is kept.
    pub fn stop(&self, cause: StopCause) {
        self.root.ask_to_stop(cause, None);
    }

    /// Lets the stop, now or later, take no longer than `budget` from now. If that is less than
    /// what the children may take, each gets the same fraction of its own time. The first word
    /// counts.
    pub fn limit(&self, budget: Duration) {
        if let Some(deadline) = Instant::now().checked_add(budget) {
            _ = self.root.tree().stop_by.set(deadline);
            self.root.limit_stop_budget(deadline);
        }
    }

    /// Tells the children that are stopping to skip what is merely polite.
    pub fn hurry(&self) {
        self.root.tree().hurry.cancel();
    }

    /// The tree as it is now. Costs O(number of children); asks nobody.
    pub fn snapshot(&self) -> Snapshot {
        self.root.snapshot()
    }

    /// The same without children that were added by calls: as cheap as the lists are short,
    /// however many those are.
    pub fn snapshot_of_list(&self) -> Snapshot {
        self.root.snapshot_of_list()
    }

    /// The path of the child for whom a thread makes this call; `None` if the call is over, or the
    /// child is of another tree. Costs O(number of children); asks nobody.
    pub fn path_of(&self, polling: &Polling) -> Option<String> {
        let life = self.root.find(polling)?;
        let path = life.path().to_string();
        // If it is over, what was found may be another one at the same address.
        polling.goes_on().then_some(path)
    }
}
