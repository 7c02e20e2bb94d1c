//! The commands that every service has.

use clap::{ArgMatches, Args, FromArgMatches, Subcommand, error::ErrorKind};
use uptree_app::{App, Command, Exit, ProcessSettings, run_command};

/// Those of the features.
const COMMANDS: &[&dyn Command] = &[
    &uptree_app::Plan,
    #[cfg(feature = "http")]
    &uptree_http::Healthcheck,
    #[cfg(feature = "kubernetes")]
    &uptree_kubernetes::Manifest,
    #[cfg(feature = "kubernetes")]
    &uptree_kubernetes::Check,
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    &uptree_sqlx::Migrate,
];

/// Runs a service: [`uptree_app::main`], with the commands of the features: `plan`, `healthcheck`,
/// `manifest`, `check`, and with a database `migrate`.
///
/// # Panics
///
/// If `build` does.
///
/// # Examples
///
/// ```no_run
/// use uptree::prelude::*;
///
/// async fn tick((): (), cx: Context) -> Result {
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// #[derive(clap::Args)]
/// struct Settings {}
///
/// fn main() -> Exit {
///     uptree::main(|_: Settings| App::new("clock").child(worker("ticker", (), tick)))
/// }
/// ```
pub fn main<S: Args>(build: impl Fn(S) -> App) -> Exit {
    uptree_app::main_with(COMMANDS, build)
}

/// Runs a service as [`main`] does, with commands of its own beside those of the features:
/// [`uptree_app::main_with`]. One that has the name of another of these replaces it.
///
/// # Panics
///
/// If `build` does.
pub fn main_with<S: Args>(commands: &[&dyn Command], build: impl Fn(S) -> App) -> Exit {
    let all: Vec<_> = commands.iter().chain(COMMANDS).copied().collect();
    uptree_app::main_with(&all, build)
}

/// The commands of the features, for a program with a command line of its own.
///
/// A setting of the program stands after the command too if its argument is `global`. `manifest` and
/// `check` do not know the program's settings then: the first names no secret, and the second takes of
/// a manifest's variables those that are Uptree's own.
///
/// # Examples
///
/// ```
/// use clap::Parser;
/// use uptree::{App, Commands, Exit, ProcessSettings};
///
/// #[derive(clap::Parser)]
/// struct Line {
///     #[command(subcommand)]
///     command: Own,
///     /// How many ticks
///     #[arg(long, global = true, default_value_t = 3)]
///     ticks: u32,
/// }
///
/// #[derive(clap::Subcommand)]
/// enum Own {
///     /// Says hello
///     Greet,
///     #[command(flatten)]
///     Uptree(Commands),
/// }
///
/// fn run(line: Line) -> Exit {
///     match line.command {
///         Own::Greet => Exit::clean(),
///         Own::Uptree(command) => command.run(App::new("shop"), &ProcessSettings::default()),
///     }
/// }
///
/// let line = Line::parse_from(["shop", "plan"]);
/// assert_eq!(run(line).code(), 0);
/// # #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))] {
/// let line = Line::parse_from(["shop", "migrate", "status"]);
/// // The list has no migrator.
/// assert_eq!(run(line).code(), 1);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Commands {
    name: String,
    matches: ArgMatches,
}

impl Commands {
    /// Runs the command that was given: [`run_command`].
    pub fn run(self, app: App, settings: &ProcessSettings) -> Exit {
        match find(&self.name) {
            Some(command) => run_command(command, &self.matches, app, settings),
            // `from_arg_matches` has found it.
            None => unreachable!("there is a command {}", self.name),
        }
    }
}

fn find(name: &str) -> Option<&'static dyn Command> {
    let mut commands = COMMANDS.iter();
    let found = commands.find(|command| command.clap().get_name() == name);
    found.copied()
}

impl FromArgMatches for Commands {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = matches
            .subcommand()
            .filter(|(name, _)| find(name).is_some());
        let (name, matches) =
            given.ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        Ok(Self {
            name: name.to_owned(),
            matches: matches.clone(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Commands {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command.subcommands(COMMANDS.iter().map(|command| command.clap()))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        find(name).is_some()
    }
}
