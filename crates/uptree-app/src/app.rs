//! The root of a process's tree.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use uptree_supervisor::{
    AutoShutdown, Backoff, BoxError, ChildSpec, Event, EventKind, Fault, IntoChild, Observer,
    StopCause, Stopper, Strategy, Supervisor, Tree, TreeError, TreeOptions,
};

use crate::{Exit, Monitor, Spans, chain};

/// A service: an ordered list of children under a root supervisor.
///
/// Given to [`main`](crate::main), which runs it as the process.
///
/// # Examples
///
/// In a test, with a runtime of one's own:
///
/// ```
/// use uptree_app::{App, Context, Result, worker};
///
/// async fn tick((): (), cx: Context) -> Result {
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let app = App::new("clock").child(worker("ticker", (), tick));
/// let exit = app.run_until(async { /* the moment to stop */ }).await;
/// assert_eq!(exit.code(), 0);
/// # }
/// ```
#[must_use = "an app does nothing until it is run"]
#[derive(Debug)]
pub struct App {
    root: Supervisor,
}

impl App {
    /// An app without children. Its id is the first part of every path.
    pub fn new(id: &'static str) -> Self {
        let root = Supervisor::new(id).backoff(Backoff::default());
        Self { root }
    }

    /// Adds a child to the end of the list.
    pub fn child(mut self, child: impl IntoChild) -> Self {
        self.root = self.root.child(child);
        self
    }

    /// Adds children to the end of the list.
    pub fn children(mut self, children: impl IntoIterator<Item = impl IntoChild>) -> Self {
        self.root = self.root.children(children);
        self
    }

    /// Says who is restarted with a child that failed. Defaults to [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.root = self.root.strategy(strategy);
        self
    }

    /// Allows `max_restarts` within any `max_seconds`; one more and the process exits with 2.
    /// Defaults to 3 in 5 s.
    pub fn intensity(mut self, max_restarts: usize, max_seconds: Duration) -> Self {
        self.root = self.root.intensity(max_restarts, max_seconds);
        self
    }

    /// Spaces the restarts of those children that do not say so themselves. Defaults to
    /// [`Backoff::default`]: the first restart is at once, the next ones wait 100 ms to 5 s, until
    /// the child has run for 30 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.root = self.root.backoff(backoff);
        self
    }

    /// Says whether the process ends, with 0, when significant children have ended by themselves.
    /// Defaults to [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.root = self.root.auto_shutdown(auto_shutdown);
        self
    }

    /// A handle to the root, to start and stop children of it at run time.
    pub fn supervisor(&self) -> Supervisor {
        self.root.clone()
    }

    /// Boots, runs until `stop` completes or the tree ends, and stops in order.
    ///
    /// It takes no signals, has no watchdog, sets up no logs and ends no process: that is what
    /// [`main`](crate::main) adds.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it kills the tree.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Exit {
        let root = self.into_root();
        if let Some(exit) = refusal(&root.check(), &[]) {
            return exit;
        }
        let mut running = Running::spawn(root, TreeOptions::default(), Spans::Off, || ());
        let stopper = running.stopper();
        let asked = async {
            stop.await;
            stopper.stop(StopCause::Shutdown);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            exit = running.wait() => exit,
            () = asked => unreachable!("it is pending"),
        }
    }

    pub(crate) fn into_root(self) -> ChildSpec {
        self.root.into_child()
    }
}

/// The end of a process that must not start, if something is wrong with it: all of it at once.
pub(crate) fn refusal(faults: &[Fault], settings: &[BoxError]) -> Option<Exit> {
    let settings = settings.iter().map(|error| chain(&**error));
    let faults = faults.iter().map(|fault| chain(fault));
    let all: Vec<_> = settings.chain(faults).collect();
    (!all.is_empty()).then(|| Exit::failed(Exit::BOOT, all.join("\n")))
}

/// A tree that runs.
pub(crate) struct Running {
    tree: Tree,
    monitor: Monitor,
    root: ChildSpec,
    onlooker: Arc<Onlooker>,
}

impl Running {
    /// Starts the tree. `ending` is called when it begins to end without being asked to.
    pub(crate) fn spawn(
        root: ChildSpec,
        mut options: TreeOptions,
        spans: Spans,
        ending: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let monitor = Monitor::new(spans);
        options.incarnation_spans = spans == Spans::Incarnations;
        let onlooker = Arc::new(Onlooker {
            monitor: monitor.clone(),
            ending: Box::new(ending),
            cut_short: Mutex::default(),
        });
        options.observer = onlooker.clone();
        options.extension = Some(Arc::new(monitor.clone()));
        let tree = Tree::spawn(root.clone(), options);
        monitor.attach(tree.stopper());
        Self {
            tree,
            monitor,
            root,
            onlooker,
        }
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub(crate) fn stopper(&self) -> Stopper {
        self.tree.stopper()
    }

    /// Completes when the tree has ended.
    pub(crate) async fn wait(&mut self) -> Exit {
        let exit = match self.tree.ready().await {
            Err(error) => failure(Exit::BOOT, &error),
            Ok(()) => match self.tree.wait().await {
                Err(error) => failure(Exit::GAVE_UP, &error),
                Ok(()) => Exit::clean(),
            },
        };
        with_losses(self.onlooker.with_cuts(exit), &self.root)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.monitor.detach();
    }
}

fn failure(code: u8, error: &BoxError) -> Exit {
    let stuck = matches!(error.downcast_ref(), Some(TreeError::Stuck { .. }));
    let code = if stuck { Exit::OVERRUN } else { code };
    Exit::failed(code, chain(&**error))
}

/// Adds the accepted work that the tree still holds: an end that loses it is not clean.
pub(crate) fn with_losses(exit: Exit, root: &ChildSpec) -> Exit {
    let lost = root.lost();
    if lost.is_empty() {
        return exit;
    }
    let losses = lost
        .iter()
        .map(|(path, lost)| format!("error: {path}: {lost}"));
    exit.and_overrun(losses)
}

/// Has every event recorded, tells when the tree begins to end by itself, and keeps who is cut short.
struct Onlooker {
    monitor: Monitor,
    ending: Box<dyn Fn() + Send + Sync>,
    /// Children that were killed because the stop budget is less than what they may take.
    cut_short: Mutex<Vec<String>>,
}

impl Onlooker {
    /// A stop that fits its budget only because children were killed before their time does not
    /// fit it.
    fn with_cuts(&self, exit: Exit) -> Exit {
        let cut = self
            .cut_short
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if cut.is_empty() {
            return exit;
        }
        let text = format!(
            "error: the stop budget is used up: killed before its own time was over: {}\n  \
             help: raise STOP_BUDGET, or give these children less to do at a stop",
            cut.join(", ")
        );
        exit.and_overrun([text])
    }
}

impl Observer for Onlooker {
    fn observe(&self, event: &Event<'_>) {
        self.monitor.observe(event);
        match event.kind {
            EventKind::Ending if event.is_root() => (self.ending)(),
            EventKind::Killing { shortened: true } => {
                let mut cut = self
                    .cut_short
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                cut.push(event.path().to_string());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
