//! Commands: what a service's binary does instead of running the service.

use std::{
    ffi::OsString,
    future::Future,
    pin::Pin,
    sync::mpsc::{self, Sender},
};

use clap::ArgMatches;
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
};
use uptree_supervisor::ChildSpec;

use crate::{
    App, Exit, ProcessSettings, Setting, Signal,
    app::refusal,
    logs::{self, Output},
    process::{Told, runtime, take_signals},
    setting,
};

/// Something that a service's binary does instead of running the service, such as
/// `service migrate up`.
///
/// It has the service's own list of children, made of the same settings, and starts none of them.
/// [`main_with`](crate::main_with) takes commands.
///
/// # Examples
///
/// ```no_run
/// use clap::ArgMatches;
/// use uptree_app::{App, Command, CommandContext, CommandFuture, Exit, ProcessSettings};
///
/// struct Tree;
///
/// impl Command for Tree {
///     fn clap(&self) -> clap::Command {
///         clap::Command::new("tree").about("Prints the paths of all children")
///     }
///
///     fn run(&self, _matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
///         Box::pin(async move {
///             for (path, _) in cx.root().walk() {
///                 println!("{path}");
///             }
///             Exit::clean()
///         })
///     }
/// }
///
/// fn main() -> Exit {
///     uptree_app::main_with(&[&Tree], |_: NoSettings| App::new("shop"))
/// }
///
/// #[derive(clap::Args)]
/// struct NoSettings {}
/// ```
pub trait Command: Sync {
    /// Its name, what it does, and what it takes: arguments and commands of its own.
    fn clap(&self) -> clap::Command;

    /// The headings of the service's settings that its help shows. All settings are taken all the
    /// same. Defaults to none.
    fn headings(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it only looks at the list of children. Then it does not need the secrets that the
    /// service needs, and what is wrong with the children does not keep it from running:
    /// [`ChildSpec::check`] says what that is. Defaults to not.
    fn looks_only(&self) -> bool {
        false
    }

    /// What it does. The process ends with what comes of it.
    ///
    /// It runs on a runtime of its own; logs go to stderr, stdout is its own. Two signals are for
    /// it to heed; at the third the process ends.
    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture;
}

/// A command under way.
pub type CommandFuture = Pin<Box<dyn Future<Output = Exit> + Send>>;

/// What a [`Command`] is given.
#[derive(Clone, Debug)]
pub struct CommandContext {
    built: Built,
    signals: watch::Receiver<Signals>,
    /// The main thread, if it can build the service again.
    builder: Option<Sender<Told>>,
}

/// A service as it is with certain settings: nothing of it has been started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Built {
    /// The root of its tree.
    pub root: ChildSpec,
    /// The settings of the process.
    pub process: ProcessSettings,
    /// All its settings, if its command line is [`main`](crate::main)'s.
    pub settings: Vec<Setting>,
    /// The command that it would run instead of the service.
    pub command: Option<String>,
}

/// What is asked of the thread that has the service's builder.
pub(crate) struct Order {
    words: Vec<String>,
    built: oneshot::Sender<Result<Built, Vec<String>>>,
}

/// Builds the service for a command line.
pub(crate) type Builder<'a> = &'a dyn Fn(Vec<OsString>) -> Result<Built, Vec<String>>;

#[derive(Clone, Copy, Debug, Default)]
struct Signals {
    first: Option<Signal>,
    again: bool,
}

impl CommandContext {
    /// The root of the service's tree, of which nothing has been started.
    pub fn root(&self) -> &ChildSpec {
        &self.built.root
    }

    /// The settings of the process.
    pub fn settings(&self) -> &ProcessSettings {
        &self.built.process
    }

    /// The service as it is with the settings of this process.
    pub fn built(&self) -> &Built {
        &self.built
    }

    /// The service as it would be with these variables and these words on its command line, and
    /// with the settings of this process where they say nothing. Of what both say the words go
    /// before.
    ///
    /// `None` if the program reads its command line itself, see [`run_command`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the variables and the words, a text each.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn built_with(
        &self,
        variables: &[(String, String)],
        words: &[String],
    ) -> Option<Result<Built, Vec<String>>> {
        let words = setting::line(&self.built.settings, variables, words);
        let (built, answer) = oneshot::channel();
        let order = Order { words, built };
        self.builder.as_ref()?.send(Told::Build(order)).ok()?;
        answer.await.ok()
    }

    /// Completes when a signal asks the command to end.
    ///
    /// It then ends as soon as it can do so in good order, and unless it has done what it was to
    /// do, with [`Exit::interrupted`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn signal(&self) -> Signal {
        self.wait(|signals| signals.first).await
    }

    /// Completes at the second signal: what is merely polite is then skipped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn hurry(&self) {
        self.wait(|signals| signals.again.then_some(())).await;
    }

    async fn wait<T>(&self, look: impl Fn(&Signals) -> Option<T>) -> T {
        let mut signals = self.signals.clone();
        loop {
            if let Some(found) = look(&signals.borrow_and_update()) {
                return found;
            }
            if signals.changed().await.is_err() {
                // The process is at its end.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Runs a command for a program that has a command line of its own: [`main_with`](crate::main_with)
/// without the settings.
///
/// `matches` are those of [`Command::clap`]. It blocks until the command has ended, and takes
/// signals meanwhile. Logs go to stderr, unless the program has set a subscriber before.
pub fn run_command(
    command: &dyn Command,
    matches: &ArgMatches,
    app: App,
    settings: &ProcessSettings,
) -> Exit {
    let (tell, told) = mpsc::channel();
    let _signals = match take_signals(&tell) {
        Ok(taken) => taken,
        Err(exit) => return exit,
    };
    let root = app.into_root();
    let faults = match command.looks_only() {
        true => Vec::new(),
        false => root.check(),
    };
    if let Some(exit) = refusal(&faults, &[]) {
        return exit;
    }
    let built = Built {
        root,
        process: settings.clone(),
        settings: Vec::new(),
        command: None,
    };
    execute(command, matches, built, (tell, &told), None)
}

/// Runs a command, while this thread takes the signals.
pub(crate) fn execute(
    command: &dyn Command,
    matches: &ArgMatches,
    built: Built,
    (tell, told): (Sender<Told>, &mpsc::Receiver<Told>),
    builder: Option<Builder<'_>>,
) -> Exit {
    let settings = &built.process;
    logs::init(settings.log_format, &settings.log_filter, Output::Stderr);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let (signals, received) = watch::channel(Signals::default());
    let cx = CommandContext {
        built,
        signals: received,
        builder: builder.map(|_| tell.clone()),
    };
    let work = {
        let _in_runtime = runtime.enter();
        command.run(matches, cx)
    };
    spawn(&runtime, work, tell);
    let exit = watch_over(&signals, told, builder);
    // Without waiting: what is blocked would hold up the end.
    runtime.shutdown_background();
    exit
}

fn spawn(runtime: &Runtime, work: CommandFuture, tell: Sender<Told>) {
    let work = runtime.spawn(work);
    runtime.spawn(async move {
        let exit = work.await.unwrap_or_else(|error| {
            // The log has the place, by the hook.
            let panic = error.into_panic();
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "no message".to_owned());
            Exit::failed(Exit::BOOT, format!("error: the command panicked: {text}"))
        });
        drop(tell.send(Told::Ended(exit)));
    });
}

fn watch_over(
    signals: &watch::Sender<Signals>,
    told: &mpsc::Receiver<Told>,
    builder: Option<Builder<'_>>,
) -> Exit {
    let mut count = 0;
    loop {
        match told.recv() {
            Ok(Told::Ended(exit)) => return exit,
            Ok(Told::Signal(signal)) => {
                count += 1;
                if count > 2 {
                    let text = format!("error: forced to end by a third {signal}");
                    return Exit::failed(Exit::FORCED, text);
                }
                signals.send_modify(|signals| {
                    signals.again = signals.first.is_some();
                    signals.first.get_or_insert(signal);
                });
            }
            Ok(Told::Build(Order { words, built })) => {
                let words = words.into_iter().map(OsString::from);
                let words = std::env::args_os().take(1).chain(words).collect();
                if let Some(builder) = builder {
                    // Who asked may have ended.
                    _ = built.send(builder(words));
                }
            }
            Ok(Told::Ending) => {}
            Err(_) => return Exit::failed(Exit::OVERRUN, "error: the runtime is gone"),
        }
    }
}
