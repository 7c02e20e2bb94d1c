//! `migrate up`: what the child does, as a command.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use uptree_app::{
    BoxError, Child, CommandContext, Event, EventKind, Exit, IntoChild, Log, Observer, Options,
    Result, Signal, Starting, StopCause, Supervisor, Tree, TreeOptions, chain,
};

use super::{
    Chosen,
    output::{answer, count, object},
};
use crate::{MigrateError, Migrator, migrate::Reached};

/// How often the line on a terminal is drawn.
const FRAME: Duration = Duration::from_millis(200);

/// Runs the migrator alone, as a child of a tree: so it is the same code, with the same retries,
/// start timeout and orderly stop.
pub(super) async fn run(chosen: Chosen, cx: &CommandContext) -> Exit {
    if let Err(error) = chosen.files() {
        return Exit::error(&*error);
    }
    let reached = Arc::new(Mutex::new(None));
    let up = Up {
        migrator: match chosen.to {
            Some(to) => chosen.migrator.clone().to(to),
            None => chosen.migrator.clone(),
        },
        reached: reached.clone(),
    };
    let progress = Arc::new(Progress::default());
    let mut options = TreeOptions::default();
    options.start_timeout = cx.settings().start_timeout;
    options.observer = progress.clone();
    let (root, id) = chosen
        .path
        .split_once('/')
        .unwrap_or(("migrate", &*chosen.path));
    let child = up.with_id(id.to_owned());
    let tree = Tree::spawn(
        Supervisor::new(root.to_owned()).child(child).into_child(),
        options,
    );
    let outcome = finish(tree, &chosen.path, &progress, cx).await;
    progress.end();
    let reached = reached
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match (reached, outcome) {
        (Some(reached), _) => {
            tell(&chosen, &reached);
            Exit::clean()
        }
        (None, Outcome::Interrupted(signal, None)) => {
            Exit::interrupted(signal, "not all migrations are applied")
        }
        (None, Outcome::Interrupted(signal, Some(error))) => Exit::interrupted(
            signal,
            format_args!("not all migrations are applied\n{}", chain(&*error)),
        ),
        (None, Outcome::Ended(Err(error))) => Exit::error(&*error),
        (None, Outcome::Ended(Ok(()))) => Exit::error(&*BoxError::from(
            "the migrator ended, and not all migrations are applied",
        )),
    }
}

enum Outcome {
    Ended(Result),
    Interrupted(Signal, Option<BoxError>),
}

/// Waits for the tree's end. The first signal stops it in order, the second kills it.
async fn finish(mut tree: Tree, path: &str, progress: &Progress, cx: &CommandContext) -> Outcome {
    let stopper = tree.stopper();
    let mut frames = tokio::time::interval(FRAME);
    let outcome = {
        let mut booted = pin!(tree.ready());
        let signal = loop {
            tokio::select! {
                biased;
                outcome = &mut booted => break Err(outcome),
                signal = cx.signal() => break Ok(signal),
                _ = frames.tick() => progress.draw(),
            }
        };
        match signal {
            Err(outcome) => Outcome::Ended(outcome),
            Ok(signal) => {
                tracing::info!(child = path, "{signal}: stopping");
                stopper.stop(StopCause::Shutdown);
                tokio::select! {
                    outcome = booted => Outcome::Interrupted(signal, outcome.err()),
                    // Dropped, the tree is killed: the database rolls back by itself.
                    () = cx.hurry() => return Outcome::Interrupted(signal, None),
                }
            }
        }
    };
    tree.stop(StopCause::Shutdown);
    match (outcome, tree.wait().await) {
        (Outcome::Ended(Ok(())), ended) => Outcome::Ended(ended),
        (outcome, _) => outcome,
    }
}

fn tell(chosen: &Chosen, reached: &Reached) {
    let (files, applied) = (&reached.files, reached.applied);
    answer(
        chosen.json,
        || match files.len() {
            0 => format!("{}: nothing to do, {applied} applied", chosen.target()),
            number => {
                let number = count(number, "migration");
                let list = files.join("\n  ");
                format!(
                    "{}: {number} applied, {applied} in all\n  {list}",
                    chosen.target()
                )
            }
        },
        || {
            let mut object = object("up", chosen);
            object.insert("migrations".into(), json!(files));
            object.insert("applied".into(), applied.into());
            object.insert("pending".into(), 0.into());
            object.into()
        },
    );
}

/// The migrator, which also tells what it has reached.
struct Up {
    migrator: Migrator,
    reached: Arc<Mutex<Option<Reached>>>,
}

impl Child for Up {
    fn id(&self) -> Cow<'static, str> {
        self.migrator.id()
    }

    fn defaults(&self, options: Options) -> Options {
        self.migrator.defaults(options)
    }

    async fn run(&self, cx: Starting) -> Result {
        match self.migrator.reach(&cx).await {
            Ok(reached) => {
                let mut kept = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
                *kept = Some(reached);
                drop(kept);
                cx.done()
            }
            Err(MigrateError::Cancelled) => Ok(()),
            Err(error) => Err(error.with_help()),
        }
    }
}

/// Shows progress: in a line of the terminal that is written again and again, or in the log.
struct Progress {
    is_terminal: bool,
    began: Instant,
    now: Mutex<Option<String>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            began: Instant::now(),
            now: Mutex::default(),
        }
    }
}

impl Progress {
    fn now(&self) -> MutexGuard<'_, Option<String>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) {
        if let Some(now) = &*self.now() {
            let seconds = self.began.elapsed().as_secs();
            let mut stderr = io::stderr().lock();
            // In one line, however long it is: without wrapping.
            _ = write!(stderr, "\r\x1b[K\x1b[?7l{now} ({seconds} s)\x1b[?7h");
            _ = stderr.flush();
        }
    }

    fn end(&self) {
        if self.now().take().is_some() {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Observer for Progress {
    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Progress { done, total, what } if self.is_terminal => {
                *self.now() = Some(format!("{done} of {total} applied: {what}"));
            }
            // The tree is ours, not the service's.
            _ if event.is_root() => {}
            // It is told at the end.
            EventKind::StartFailed(_) | EventKind::Ignored { .. } => {}
            _ => Log.observe(event),
        }
    }
}
