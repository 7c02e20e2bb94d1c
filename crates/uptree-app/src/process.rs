//! `main`: the whole life of a process, from its settings to its exit code.
//!
//! The main thread is an onlooker: it owns the signals, the stop budget and the end. The tree runs
//! on the runtime's threads, so that a process whose workers are all blocked still takes its
//! signals, keeps its budget and ends with the right code.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use clap::{Args, Command, FromArgMatches, builder::Resettable};
use uptree_supervisor::{BoxError, ChildSpec, StopCause, Stopper, TreeOptions, help};

use crate::{
    App, Exit, ProcessSettings,
    app::{Running, refusal, with_losses},
    exit::aside,
    logs,
    settings::{self, Read},
    signals::Taken,
};

/// The time between the end of the tree's time and that of the process: for the tree to tell of
/// its own end. Of a short budget it is a quarter.
const TO_REPORT: Duration = Duration::from_millis(500);

/// The end of `--help`.
const EXIT_CODES: &str = "Exit codes: 0 stopped in order; 1 did not boot; 2 gave up restarting; \
    3 the stop took too long or accepted work was lost; 130 forced by a third signal";

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
pub fn main<S: Args>(build: impl FnOnce(S) -> App) -> Exit {
    let (tell, told) = mpsc::channel();
    let signals = {
        let tell = tell.clone();
        Taken::take(move |name| tell.send(Told::Signal(name)).is_ok())
    };
    let _signals = match signals {
        Ok(taken) => taken,
        Err(error) => return Exit::failed(Exit::BOOT, format!("error: no signals: {error}")),
    };
    let (root, settings) = match prepare(build) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    logs::init(settings.log_format, &settings.log_filter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Exit::failed(Exit::BOOT, format!("error: no runtime: {error}")),
    };
    let budget = match settings.stop_budget {
        Some(budget) => Budget::set(budget),
        None => Budget::of_children(root.stop_budget().unwrap_or_default()),
    };
    let id = root.id().to_owned();
    aside(move || tracing::info!(child = id, stop_budget = ?budget.told, "booting"));
    let stopper = run(root.clone(), &settings, &runtime, tell);
    let exit = match watch(root.id(), &stopper, &budget, &told) {
        // The tree has said so itself.
        Ending::Whole(exit) => exit,
        Ending::Cut(exit) => with_losses(exit, &root),
    };
    let (id, code) = (root.id().to_owned(), exit.code());
    aside(move || tracing::info!(child = id, code, "exit"));
    // Without waiting: a blocked worker would hold up the end, and the tree is gone.
    runtime.shutdown_background();
    exit
}

/// Reads the settings and builds the tree: nothing is started yet.
fn prepare<S: Args>(build: impl FnOnce(S) -> App) -> Result<(ChildSpec, ProcessSettings), Exit> {
    let words: Vec<_> = std::env::args_os().collect();
    let name = words.first().map(std::path::Path::new);
    let name = name
        .and_then(|path| path.file_stem()?.to_str())
        .unwrap_or("service");
    let command = S::augment_args(Command::new(name.to_owned()));
    let command = ProcessSettings::augment_args(command)
        // The settings' own comments speak to those who write code.
        .about(Resettable::Reset)
        .long_about(Resettable::Reset)
        .after_help(EXIT_CODES);
    let (matches, bad) = match settings::read(command, words) {
        Read::Matches(matches, bad) => (matches, bad),
        Read::Stop(bad, error) => return Err(stopped(&bad, &error)),
    };
    let mut bad: Vec<BoxError> = bad.into_iter().map(BoxError::from).collect();
    let parsed = S::from_arg_matches(&matches)
        .and_then(|own| Ok((own, ProcessSettings::from_arg_matches(&matches)?)));
    let (own, process) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Err(stopped(&[], &error)),
    };
    let root = build(own).into_root();
    if process.stop_budget.or(root.stop_budget()).is_none() {
        let error = "STOP_BUDGET: a child's stop has no limit of its own";
        let remedy = "set STOP_BUDGET, or give the child a `Shutdown::Timeout`";
        bad.push(help(error, remedy));
    }
    match refusal(&root.check(), &bad) {
        Some(exit) => Err(exit),
        None => Ok((root, process)),
    }
}

/// `--help` is an answer, anything else a failure.
fn stopped(bad: &[settings::BadSetting], error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        _ = error.print();
        return Exit::clean();
    }
    let bad = bad.iter().map(|bad| format!("error: {bad}"));
    let mut lines: Vec<_> = bad.collect();
    lines.push(error.to_string().trim_end().to_owned());
    Exit::failed(Exit::BOOT, lines.join("\n"))
}

/// What the main thread is told.
enum Told {
    Signal(&'static str),
    /// The tree begins to end without being asked to.
    Ending,
    Ended(Exit),
}

fn run(
    root: ChildSpec,
    settings: &ProcessSettings,
    runtime: &tokio::runtime::Runtime,
    tell: Sender<Told>,
) -> Stopper {
    let mut options = TreeOptions::default();
    options.start_timeout = settings.start_timeout;
    let _in_runtime = runtime.enter();
    let ending = {
        let tell = tell.clone();
        // The main thread listens for as long as the tree lives.
        move || drop(tell.send(Told::Ending))
    };
    let mut running = Running::spawn(root, options, ending);
    let stopper = running.stopper();
    runtime.spawn(async move {
        let exit = running.wait().await;
        drop(tell.send(Told::Ended(exit)));
    });
    stopper
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
fn watch(id: &str, stopper: &Stopper, budget: &Budget, told: &mpsc::Receiver<Told>) -> Ending {
    let cut = |code, failure| Ending::Cut(Exit::failed(code, failure));
    let mut signals = 0;
    let mut limit = None;
    // However the end begins, its time runs from there.
    let begin_to_stop = |limit: &mut Option<Instant>| {
        limit.get_or_insert_with(|| {
            if let Some(tree) = budget.tree {
                stopper.limit(tree);
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
            Ok(Told::Signal(name)) => {
                signals += 1;
                match signals {
                    1 => {
                        begin_to_stop(&mut limit);
                        stopper.stop(StopCause::Shutdown);
                        let root = id.to_owned();
                        let budget = budget.told;
                        aside(move || tracing::info!(child = root, ?budget, "{name}: stopping"));
                    }
                    2 => {
                        stopper.hurry();
                        let root = id.to_owned();
                        aside(move || {
                            tracing::warn!(
                                child = root,
                                "{name} again: the drain delay is skipped"
                            );
                        });
                    }
                    _ => return cut(Exit::FORCED, forced(name, stopper)),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return cut(Exit::OVERRUN, overrun(budget.told, stopper));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return cut(Exit::OVERRUN, "error: the runtime is gone".to_owned());
            }
        }
    }
}

fn forced(name: &str, stopper: &Stopper) -> String {
    format!(
        "error: forced to end by a third {name}{}",
        still_up(stopper)
    )
}

fn overrun(budget: Duration, stopper: &Stopper) -> String {
    let help = "raise STOP_BUDGET, or give these children less to do at a stop";
    format!(
        "error: the stop took longer than its budget of {budget:?}{}\n  help: {help}",
        still_up(stopper)
    )
}

fn still_up(stopper: &Stopper) -> String {
    let up = stopper.snapshot().up();
    let lines = up.iter().map(|(path, state, age)| {
        format!(
            "\n  still there: {path}, {state} for {:.1} s",
            age.as_secs_f64()
        )
    });
    lines.collect()
}
