//! `main`: the whole life of a process, from its settings to its exit code.
//!
//! The main thread is an onlooker: it owns the signals, the stop budget and the end. The tree runs
//! on the runtime's threads, so that a process whose workers are all blocked still takes its
//! signals, keeps its budget and ends with the right code.

use std::{
    ffi::OsString,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use clap::{ArgMatches, Args};
use tokio::runtime::{Builder, Runtime};
use uptree_supervisor::{ChildSpec, StopCause, Stopper, TreeOptions, help};

use crate::{
    App, Built, Command, Exit, Monitor, ProcessSettings,
    app::{Running, refusal, with_losses},
    cli::{self, Secrets},
    command::{Order, execute},
    exit::{aside, begin_aside},
    logs::{self, Output},
    metrics,
    report::{forced, overrun},
    signals::{Signal, Taken},
    systemd::Notifier,
    watchdog::{Pulse, Watchdog},
};

/// The time between the end of the tree's time and that of the process: for the tree to tell of
/// its own end. Of a short budget it is a quarter.
pub(crate) const TO_REPORT: Duration = Duration::from_millis(500);

/// Runs a service: reads its settings, builds its tree with `build`, boots it, and stops it in
/// order at SIGTERM or SIGINT.
///
/// - Signals are taken before anything else. The first one stops the tree in order; during boot it
///   calls off the start under way. The second skips the drain delay. The third ends the process
///   at once.
/// - `S` is what the service takes, as flags and environment variables; [`ProcessSettings`] are
///   added to it, and `--help` shows them all. Every bad value is told, together with everything
///   that the children's constructors found wrong, before the first child starts.
/// - Logs go to stdout, and a failure, as one readable chain, to stderr.
/// - The stop has a budget: `STOP_BUDGET`, or what the children's own timeouts come to. When it is
///   used up the process exits with 3 and names the children that are still running, also if every
///   worker thread is blocked.
///
/// [`Exit`] lists the exit codes.
///
/// # Panics
///
/// If `build` does.
///
/// # Examples
///
/// ```no_run
/// use uptree_app::{App, Context, Exit, Result, worker};
///
/// #[derive(clap::Args)]
/// struct Settings {
///     /// What to say
///     #[arg(long, env, default_value = "tick")]
///     word: String,
/// }
///
/// async fn tick(word: String, cx: Context) -> Result {
///     println!("{word}");
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// fn main() -> Exit {
///     uptree_app::main(|s: Settings| App::new("clock").child(worker("ticker", s.word, tick)))
/// }
/// ```
pub fn main<S: Args>(build: impl Fn(S) -> App) -> Exit {
    main_with(&[], build)
}

/// Runs a service as [`main`] does, or one of `commands` if its name is given:
/// `service migrate up`.
///
/// - `service` and `service run` run the service; `service --help` lists the commands after the
///   settings. An unknown one is an error, with what it may have been meant to be.
/// - A command has the same settings and the same list of children as the service, and all that is
///   wrong with them is told before it runs. A setting may stand before the command's name and
///   after it, unless an argument of a command has the same name: then it stands before.
/// - Of what it says of another setting (`requires`, `conflicts_with`) a setting is held to when
///   there is no command.
///
/// # Panics
///
/// If `build` does.
pub fn main_with<S: Args>(commands: &[&dyn Command], build: impl Fn(S) -> App) -> Exit {
    let (tell, told) = mpsc::channel();
    let _signals = match take_signals(&tell) {
        Ok(taken) => taken,
        Err(exit) => return exit,
    };
    let words = std::env::args_os().collect();
    let Prepared { built, command } = match prepare(commands, &build, words) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    let builder = |words| rebuild(commands, &build, words);
    match command {
        Some((command, matches)) => {
            execute(command, &matches, built, (tell, &told), Some(&builder))
        }
        None => serve(&built.root, &built.process, tell, &told),
    }
}

fn serve(
    root: &ChildSpec,
    settings: &ProcessSettings,
    tell: Sender<Told>,
    told: &mpsc::Receiver<Told>,
) -> Exit {
    logs::init(settings.log_format, &settings.log_filter, Output::Stdout);
    metrics::install();
    let budget = match settings.stop_budget {
        Some(budget) => Budget::set(budget),
        None => Budget::of_children(root.stop_budget().unwrap_or_default()),
    };
    let id = root.id().to_owned();
    let said =
        begin_aside(move || tracing::info!(child = id, stop_budget = ?budget.told, "booting"));
    // It takes as long as the line does.
    let runtime = runtime();
    said.wait();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let service = run(root.clone(), settings, &runtime, tell);
    let exit = match watch(root.id(), &service, &budget, told) {
        // The tree has said so itself.
        Ending::Whole(exit) => exit,
        Ending::Cut(exit) => with_losses(exit, root),
    };
    let (id, code) = (root.id().to_owned(), exit.code());
    aside(move || tracing::info!(child = id, code, "exit"));
    // Without waiting: a blocked worker would hold up the end, and the tree is gone.
    runtime.shutdown_background();
    exit
}

/// A process that is about to do something.
struct Prepared<'a> {
    built: Built,
    /// What to do instead of running the service.
    command: Option<(&'a dyn Command, ArgMatches)>,
}

/// Reads the settings and builds the tree: nothing is started yet.
fn prepare<'a, S: Args>(
    commands: &[&'a dyn Command],
    build: &impl Fn(S) -> App,
    words: Vec<OsString>,
) -> Result<Prepared<'a>, Exit> {
    let mut line = cli::read(commands, words, Secrets::Needed)?;
    let (mut bad, command) = (std::mem::take(&mut line.bad), line.command.take());
    let service = assemble(line, build);
    let Built { root, process, .. } = &service;
    let command = command.and_then(|(name, matches)| {
        let mut commands = commands.iter();
        let command = commands.find(|command| command.clap().get_name() == name)?;
        Some((*command, matches))
    });
    if command.is_none() && process.stop_budget.or(root.stop_budget()).is_none() {
        let error = "STOP_BUDGET: a child's stop has no limit of its own";
        let remedy = "set STOP_BUDGET, or give the child a `Shutdown::Timeout`";
        bad.push(help(error, remedy));
    }
    let faults = match command {
        Some((command, _)) if command.looks_only() => Vec::new(),
        _ => root.check(),
    };
    match refusal(&faults, &bad) {
        Some(exit) => Err(exit),
        None => Ok(Prepared {
            built: service,
            command,
        }),
    }
}

fn assemble<S>(line: cli::Line<S>, build: &impl Fn(S) -> App) -> Built {
    Built {
        root: build(line.own).into_root(),
        process: line.process,
        settings: line.settings,
        command: line.command.map(|(name, _)| name),
    }
}

/// The service for another command line, or all that is wrong with that.
fn rebuild<S: Args>(
    commands: &[&dyn Command],
    build: &impl Fn(S) -> App,
    words: Vec<OsString>,
) -> Result<Built, Vec<String>> {
    let line = cli::read(commands, words, Secrets::StoodInFor).map_err(|exit| {
        let failure = exit.failure();
        let failure = failure.unwrap_or("error: it does not run the service");
        // What comes after that is how to go on on a terminal.
        let lines = failure.lines().take_while(|line| !line.is_empty());
        let text: Vec<_> = lines.map(str::trim).collect();
        vec![text.join(" ").trim_start_matches("error: ").to_owned()]
    })?;
    if line.bad.is_empty() {
        return Ok(assemble(line, build));
    }
    Err(line.bad.iter().map(ToString::to_string).collect())
}

/// Tells of signals from here on.
pub(crate) fn take_signals(tell: &Sender<Told>) -> Result<Taken, Exit> {
    let tell = tell.clone();
    let taken = Taken::take(move |signal| tell.send(Told::Signal(signal)).is_ok());
    taken.map_err(|error| Exit::failed(Exit::BOOT, format!("error: no signals: {error}")))
}

pub(crate) fn runtime() -> Result<Runtime, Exit> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Exit::failed(Exit::BOOT, format!("error: no runtime: {error}")))
}

/// What the main thread is told.
pub(crate) enum Told {
    Signal(Signal),
    /// The tree begins to end without being asked to.
    Ending,
    /// A command asks for the service as it would be with other settings.
    Build(Order),
    Ended(Exit),
}

fn run(
    root: ChildSpec,
    settings: &ProcessSettings,
    runtime: &Runtime,
    tell: Sender<Told>,
) -> Service {
    let mut options = TreeOptions::default();
    options.start_timeout = settings.start_timeout;
    let _in_runtime = runtime.enter();
    let ending = {
        let tell = tell.clone();
        // The main thread listens for as long as the tree lives.
        move || drop(tell.send(Told::Ending))
    };
    let mut running = Running::spawn(root, options, settings.spans, ending);
    let (tree, monitor) = (running.stopper(), running.monitor().clone());
    let pulse = Arc::new(Pulse::default());
    let limit = settings.stall_limit.time();
    let watchdog = Watchdog::start(&monitor, &tree, runtime.handle(), &pulse, limit);
    if let Err(error) = &watchdog {
        let error = error.to_string();
        aside(move || tracing::error!(error, "no thread for the watchdog: nothing is watched"));
    }
    let service = Service {
        notifier: Notifier::start(&monitor, settings.start_timeout),
        _watchdog: watchdog.ok(),
        tree,
        monitor,
    };
    let measurer = metrics::keep_measuring(service.monitor.clone());
    runtime.spawn(async move {
        let _measurer = measurer;
        let exit = tokio::select! {
            biased;
            exit = running.wait() => exit,
            never = pulse.beats() => match never {},
        };
        drop(tell.send(Told::Ended(exit)));
    });
    service
}

/// A service that runs, and who looks after it.
struct Service {
    tree: Stopper,
    monitor: Monitor,
    notifier: Option<Notifier>,
    _watchdog: Option<Watchdog>,
}

/// How long a stop may take.
#[derive(Clone, Copy)]
struct Budget {
    /// The one number, for who reads the log.
    told: Duration,
    /// For the tree, if it may need more.
    tree: Option<Duration>,
    /// For the process.
    process: Duration,
}

impl Budget {
    /// What was set: the tree gets a little less, to tell of its own end.
    fn set(told: Duration) -> Self {
        Self {
            told,
            tree: Some(told.saturating_sub(TO_REPORT.min(told / 4))),
            process: told,
        }
    }

    /// What the children may take: they keep to it by themselves.
    fn of_children(told: Duration) -> Self {
        Self {
            told,
            tree: None,
            process: told.saturating_add(TO_REPORT),
        }
    }
}

/// How the main thread's watch ended.
enum Ending {
    /// The tree has ended.
    Whole(Exit),
    /// The process ends while some of the tree is still there.
    Cut(Exit),
}

/// Waits for the end, and takes signals and the budget's end meanwhile.
fn watch(id: &str, service: &Service, budget: &Budget, told: &mpsc::Receiver<Told>) -> Ending {
    let (tree, monitor) = (&service.tree, &service.monitor);
    let cut = |code, failure| Ending::Cut(Exit::failed(code, failure));
    let mut signals = 0;
    let mut limit = None;
    // However the end begins, its time runs from there.
    let begin_to_stop = |limit: &mut Option<Instant>| {
        limit.get_or_insert_with(|| {
            if let Some(limit) = budget.tree {
                tree.limit(limit);
            }
            if let Some(notifier) = &service.notifier {
                notifier.stopping();
            }
            Instant::now() + budget.process
        });
    };
    loop {
        let next = match limit {
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(limit) => {
                told.recv_timeout(Instant::saturating_duration_since(&limit, Instant::now()))
            }
        };
        match next {
            Ok(Told::Ended(exit)) => return Ending::Whole(exit),
            Ok(Told::Ending) => begin_to_stop(&mut limit),
            // No command runs.
            Ok(Told::Build(_)) => {}
            Ok(Told::Signal(signal)) => {
                signals += 1;
                match signals {
                    1 => {
                        begin_to_stop(&mut limit);
                        let root = id.to_owned();
                        let budget = budget.told;
                        // Before the stop, so that it stands before what comes of it.
                        aside(move || tracing::info!(child = root, ?budget, "{signal}: stopping"));
                        tree.stop(StopCause::Shutdown);
                    }
                    2 => {
                        tree.hurry();
                        let root = id.to_owned();
                        aside(move || {
                            tracing::warn!(
                                child = root,
                                "{signal} again: the drain delay is skipped"
                            );
                        });
                    }
                    _ => return cut(Exit::FORCED, forced(signal, tree, monitor)),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return cut(Exit::OVERRUN, overrun(budget.told, tree, monitor));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return cut(Exit::OVERRUN, "error: the runtime is gone".to_owned());
            }
        }
    }
}
