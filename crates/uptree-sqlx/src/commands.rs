//! `SERVICE migrate`: what a service's binary can do about its schema without running the service.
//!
//! Each command is in a file of its own. They find the [`Migrator`] in the list of children, so that
//! they have its files, its connection and its ledger. What is printed as JSON keeps its shape.

mod arguments;
mod ask;
mod baseline;
mod desk;
mod down;
mod dry_run;
mod grants;
mod output;
mod plan;
mod resolve;
mod state;
mod status;
mod up;
mod words;

use std::time::Duration;

use clap::ArgMatches;
use tokio::time::timeout;
use uptree_app::{BoxError, ChildSpec, Command, CommandContext, CommandFuture, Exit, Result, help};

use crate::{
    ConnectError, MigrateError, Migrator,
    files::File,
    ledger::Ledger,
    session::{Migratable, Session},
    split::Dialect,
    target::{Target, with_database},
};

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// `SERVICE migrate`: a command that plans, applies and explains the migrations of the [`Migrator`]
/// in the service's list of children.
///
/// The facade's `main` has it; with [`uptree_app::main_with`] it is to be named.
///
/// | | |
/// |---|---|
/// | `plan` | what `up` would do, statement by statement |
/// | `status` | what became of each migration, and who is migrating |
/// | `up` | applies what is missing, as the child does |
/// | `dry-run` | applies it in a transaction that is rolled back |
/// | `resolve` | takes the answer to what only a person can know |
/// | `baseline` | enters migrations as applied without running them |
/// | `grants` | prints what the service's role needs |
/// | `down` | undoes migrations, for development |
///
/// The exit code is 0 only if what was asked for is so: see [`Exit`]. Of `status` it is 0 if the schema
/// is as the program needs it, and 1 if not.
///
/// # JSON
///
/// With `--json` the answer is one object on stdout; a failure is on stderr alone. New members may
/// come, those that are there stay. All have `command`, `child` (the migrator's path), `database` (in
/// words, without a password) and `ledger`. No value of a row is in it, and no literal of a statement
/// but in `sql` of `dry-run` on MySQL and MariaDB.
///
/// | | members |
/// |---|---|
/// | `plan` | `offline`, `applied` (a number, or null if `offline`), `migrations`, `notes` |
/// | | a migration: `version`, `description`, `file`, `mode` (`transaction`, `stepwise`, `code`), `statements_done`, `statements`, `warnings`, `refusals` |
/// | | a statement: `number`, `line`, `kind` (`ddl`, `dml`, `patient`, `settings`, `transaction`), `blocks` (whether others' reads or writes may wait for it), `sql` (its beginning) |
/// | `status` | `up_to_date`, `locked_by` (in words, or null), `migrations`, `notes` |
/// | | a migration: `version`, `description`, `file`, `state`, `statements_done` and `statements` of one that is running, `applied_at` (RFC 3339, UTC), `took_ms`, `requires` |
/// | | a state: `applied`, `pending`, `late`, `running`, `dirty`, `changed`, `gone`, `newer` |
/// | `up` | `migrations` (the files that this process has applied), `applied` (how many are, in all), `pending` (0) |
/// | `dry-run` | `failed`, `migrations`, of which each has `version`, `file`, `outcome` (`works`, `fails`, `not tried`), `reason` |
/// | `resolve` | `version`, `answer` |
/// | `baseline` | `to`, `entered` (files) |
/// | `grants` | `role`, `for`, `grants`, of which each has `why` and `sql` (a list of statements) |
/// | `down` | `undone` (files) |
#[derive(Clone, Copy, Debug, Default)]
pub struct Migrate;

impl Command for Migrate {
    fn clap(&self) -> clap::Command {
        arguments::command()
    }

    fn headings(&self) -> &'static [&'static str] {
        &["Database", "Migrations"]
    }

    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let Some((name, matches)) = matches.subcommand() else {
            return Box::pin(async { Exit::error(&*BoxError::from("no command")) });
        };
        let (name, matches) = (name.to_owned(), matches.clone());
        Box::pin(async move {
            let chosen = match choose(cx.root(), &matches) {
                Ok(chosen) => chosen,
                Err(error) => return Exit::error(&*error),
            };
            if name == "up" {
                return up::run(chosen, &cx).await;
            }
            // Dropped, it leaves its connection, and what was not committed is rolled back.
            tokio::select! {
                biased;
                done = run(&name, chosen, &matches) => {
                    done.unwrap_or_else(|error| Exit::error(&*error))
                }
                signal = cx.signal() => Exit::interrupted(signal, "it was not finished"),
            }
        })
    }
}

async fn run(name: &str, chosen: Chosen, matches: &ArgMatches) -> Result<Exit> {
    match name {
        "plan" => plan::run(&chosen, matches.get_flag("offline")).await,
        "status" => status::run(&chosen).await,
        "dry-run" => dry_run::run(&chosen).await,
        "resolve" => resolve::run(&chosen, matches).await,
        "baseline" => baseline::run(&chosen, matches.get_flag("yes")).await,
        "down" => down::run(&chosen, matches.get_flag("yes-i-know")).await,
        "grants" => Ok(grants::run(&chosen, matches)),
        name => Err(format!("there is no command {name}").into()),
    }
}

/// The migrator that a command is about, and how it is to answer.
struct Chosen {
    path: String,
    migrator: Migrator,
    to: Option<i64>,
    json: bool,
}

/// The one that `--child` names, or the only one.
fn choose(root: &ChildSpec, matches: &ArgMatches) -> Result<Chosen> {
    let all: Vec<_> = root
        .walk()
        .filter_map(|(path, child)| Some((path, child.get::<Migrator>()?)))
        .collect();
    let paths = || {
        let paths: Vec<_> = all.iter().map(|(path, _)| &**path).collect();
        paths.join(", ")
    };
    let wanted = matches.get_one::<String>("child");
    let is_wanted = |path: &str| match wanted {
        Some(wanted) => path == wanted || path.rsplit('/').next() == Some(wanted),
        None => true,
    };
    let mut found = all.iter().filter(|(path, _)| is_wanted(path));
    let (path, migrator) = match (found.next(), found.next(), wanted) {
        (Some(found), None, _) => found,
        (Some(_), Some(_), _) => {
            let remedy = format!("name one with --child: {}", paths());
            return Err(help("the list of children has several migrators", remedy));
        }
        (None, _, Some(wanted)) if !all.is_empty() => {
            let remedy = format!("these are: {}", paths());
            return Err(help(format!("{wanted} is no migrator"), remedy));
        }
        (None, ..) => {
            let remedy = "add a `Migrator` to it";
            return Err(help("the list of children has no migrator", remedy));
        }
    };
    let to = matches.try_get_one::<i64>("to");
    Ok(Chosen {
        path: path.clone(),
        migrator: (*migrator).clone(),
        to: to.ok().flatten().copied(),
        json: matches.get_flag("json"),
    })
}

impl Chosen {
    fn target(&self) -> &Target {
        self.migrator.target()
    }

    fn dialect(&self) -> Dialect {
        self.target().dialect()
    }

    /// The ledger's table, for people.
    fn ledger(&self) -> String {
        let names = self.migrator.names();
        match &names.schema {
            Some(schema) => format!("{schema}.{}", names.ledger),
            None => names.ledger.clone(),
        }
    }

    fn files(&self) -> Result<Vec<File>> {
        let files = self.migrator.load().map_err(MigrateError::with_help)?.files;
        if let Some(to) = self.to
            && to != 0
            && !files.iter().any(|file| file.version() == to)
        {
            let error = format!("there is no migration {to}");
            let newest = files.last().map_or(0, File::version);
            return Err(help(error, format!("the newest is {newest}")));
        }
        Ok(files)
    }

    /// What the ledger says now, and who is migrating, if that can be known. Nothing is written.
    async fn read(&self) -> Result<Found> {
        #[cfg(feature = "sqlite")]
        if let Target::Sqlite(file) = self.target()
            && file.is_missing()
        {
            // To look at it would make it.
            return Ok(Found::default());
        }
        with_database!(self.target(), |database| self.read_from(database).await)
    }

    async fn read_from<M: Migratable>(&self, database: &M) -> Result<Found> {
        let brake = database.brake();
        let mut session = self.session(database, &brake).await?;
        let ledger = session.check(None).await;
        let holder = match &ledger {
            Ok(_) => session.holder().await,
            Err(_) => None,
        };
        session.close().await;
        let ledger = ledger.map_err(|error| self.unreadable(error))?;
        Ok(Found { ledger, holder })
    }

    /// A migrator's connection; one attempt.
    async fn session<M: Migratable>(&self, database: &M, brake: &M::Brake) -> Result<M::Session> {
        let session = timeout(CONNECT, database.session(self.migrator.names(), brake)).await;
        let session = session.unwrap_or_else(|_| {
            Err(ConnectError::TimedOut {
                what: format!("cannot connect to {database}"),
                limit: CONNECT,
            })
        });
        session.map_err(ConnectError::with_help)
    }

    fn unreadable(&self, error: sqlx::Error) -> BoxError {
        let error = MigrateError::Ledger {
            ledger: self.ledger(),
            source: error.into(),
        };
        error.with_help()
    }
}

/// What was found in the database.
#[derive(Default)]
struct Found {
    ledger: Ledger,
    /// Who is migrating.
    holder: Option<String>,
}

/// Another process is migrating.
fn elsewhere() -> BoxError {
    help(
        "another process is migrating this database",
        "wait until it has ended; `migrate status` shows who it is",
    )
}

/// The ledger's tables take no writing.
fn unwritable(error: sqlx::Error) -> BoxError {
    let error = MigrateError::Entry {
        file: "rows".to_owned(),
        source: error.into(),
    };
    error.with_help()
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use sqlx::migrate::Migrator as Embedded;
    use uptree_app::{IntoChild, Supervisor};

    use super::*;
    use crate::{DatabaseSettings, Repo};

    fn tree(ids: &[&'static str]) -> ChildSpec {
        let repo = Repo::new(&DatabaseSettings::new("sqlite::memory:".parse().unwrap()));
        let migrator = || Migrator::new(&repo, Embedded::with_migrations(Vec::new()));
        let group = Supervisor::new("group");
        let group = group.children(ids.iter().map(|id| migrator().with_id(*id)));
        Supervisor::new("app")
            .child(repo.clone())
            .child(group)
            .into_child()
    }

    fn chosen(ids: &[&'static str], words: &[&str]) -> String {
        let words = ["migrate", "status"].iter().chain(words);
        let matches = Migrate.clap().try_get_matches_from(words).unwrap();
        match choose(&tree(ids), matches.subcommand_matches("status").unwrap()) {
            Ok(chosen) => chosen.path,
            Err(error) => uptree_app::chain(&*error),
        }
    }

    #[test]
    fn a_migrator_is_found_in_the_list_of_children() {
        let several = "error: the list of children has several migrators\n  \
                       help: name one with --child: app/group/a, app/group/b";
        for (ids, words, expected) in [
            (&["a"][..], &[][..], "app/group/a"),
            (&["a", "b"], &["--child", "b"], "app/group/b"),
            (&["a", "b"], &["--child", "app/group/a"], "app/group/a"),
            (&["a", "b"], &[], several),
            (
                &["a"],
                &["--child", "repo"],
                "error: repo is no migrator\n  help: these are: app/group/a",
            ),
            (
                &[],
                &[],
                "error: the list of children has no migrator\n  help: add a `Migrator` to it",
            ),
        ] {
            assert_eq!(chosen(ids, words), expected);
        }
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Migrate.clap().debug_assert();
    }
}
