//! The migrator, as a child: its work is its start.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use uptree_app::{BoxError, Child, Options, Result, Starting};

use crate::{
    Backend, MigrateError, Repo, files::Source, migrate::migrate, plan::plan, target::Target,
};

/// How long a migration may take to be stopped on the server.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Brings the schema to what this program needs, before the children after it start.
///
/// It applies the files that `sqlx::migrate!` has embedded, or those of a folder, and ends: there
/// is nothing left to supervise. If a migration fails, the tree does not start. Its ledger is
/// sqlx's, so that `sqlx migrate` can be used on the same database in turn.
///
/// # Any number at once
///
/// Any number of processes may start at once. One of them applies what there is to apply, the
/// others wait, and leave as soon as it is done. With nothing to do there is one query and no lock.
/// It has one connection of its own, and closes it, whatever happens. To wait is progress as long
/// as somebody else is migrating, and so is a statement that runs: neither ends by the start
/// timeout, because to begin again would take as long.
///
/// # Each file once, whole or not at all
///
/// A file runs in a transaction with its row of the ledger. If it fails it is rolled back, and
/// those before it stay applied; the error names the file, the place in it, and what the database
/// said. A file that begins with `-- no-transaction` runs outside, for statements that demand it:
/// on Postgres it must have but one.
///
/// | the ledger and the files | |
/// |---|---|
/// | the database is ahead of the program | a warning: an older release runs on a newer schema |
/// | an applied file is gone | a warning |
/// | a file comes with a lower version than what is applied | applied, with a warning |
/// | an applied file was changed | an error |
/// | two files have one version | an error |
/// | a migration was begun and did not finish | an error |
///
/// # Called off
///
/// The statement under way is cancelled on the server and rolled back, and the lock is free; so is
/// it when the process is killed (on Postgres 14 and later, within a second).
///
/// # Differences from `sqlx::migrate::Migrator`
///
/// That holds its lock after a failure, has none on SQLite, deadlocks when two of it come upon
/// `CREATE INDEX CONCURRENTLY`, and does not run on a newer schema.
///
/// # Examples
///
/// ```
/// use sqlx::migrate::Migrator as Embedded;
/// use uptree_sqlx::{DatabaseSettings, Migrator, Repo};
///
/// let repo = Repo::new(&DatabaseSettings::new("sqlite::memory:".parse()?));
/// // In a program: `sqlx::migrate!()`.
/// let migrator = Migrator::new(&repo, Embedded::with_migrations(Vec::new()));
/// # let _ = migrator;
/// # Ok::<_, uptree_sqlx::UrlError>(())
/// ```
#[derive(Clone)]
pub struct Migrator {
    target: Target,
    source: Source,
    /// Whether the source was set by `MIGRATIONS_DIR`.
    replaced: bool,
    ledger: Cow<'static, str>,
}

impl Migrator {
    /// Migrates the database of `repo`, by a connection of its own.
    ///
    /// The folder that `MIGRATIONS_DIR` names, if it is set, replaces `migrations`.
    pub fn new<Db: Backend>(repo: &Repo<Db>, migrations: sqlx::migrate::Migrator) -> Self {
        let folder = repo.migrations_dir();
        Self {
            target: repo.target().clone(),
            source: match folder {
                Some(folder) => Source::Folder(folder.clone()),
                None => Source::embedded(&migrations.migrations),
            },
            replaced: folder.is_some(),
            ledger: migrations.table_name,
        }
    }

    /// Takes the files of a folder, read at each start. `MIGRATIONS_DIR`, if set, goes before.
    ///
    /// Defaults to the files that [`new`](Self::new) was given.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        if !self.replaced {
            self.source = Source::Folder(path.into());
        }
        self
    }

    fn check_files(&self) -> Result<(), MigrateError> {
        let files = self.source.load()?;
        plan(&[], &files, &self.ledger).map(drop)
    }

    async fn migrate(&self, cx: &Starting) -> Result<(), MigrateError> {
        let files = self.source.load()?;
        if files.is_empty() {
            tracing::warn!("there are no migrations in {}", self.source);
        }
        match &self.target {
            #[cfg(feature = "postgres")]
            Target::Postgres(server) => migrate(cx, server, &files, &self.ledger).await,
            #[cfg(feature = "sqlite")]
            Target::Sqlite(file) => migrate(cx, file, &files, &self.ledger).await,
            #[cfg(feature = "mysql")]
            Target::MySql(server) => migrate(cx, server, &files, &self.ledger).await,
        }
    }
}

impl std::fmt::Debug for Migrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Migrator({} from {})", self.target, self.source)
    }
}

impl Child for Migrator {
    fn id(&self) -> Cow<'static, str> {
        "migrator".into()
    }

    fn defaults(&self, options: Options) -> Options {
        options.cancel_grace(CANCEL_GRACE)
    }

    fn check(&self) -> Vec<BoxError> {
        let checked = self.check_files().map_err(MigrateError::with_help);
        checked.err().into_iter().collect()
    }

    async fn run(&self, cx: Starting) -> Result {
        match self.migrate(&cx).await {
            Ok(()) => cx.done(),
            Err(MigrateError::Cancelled) => Ok(()),
            Err(error) => Err(error.with_help()),
        }
    }
}
