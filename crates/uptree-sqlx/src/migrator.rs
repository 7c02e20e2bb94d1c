//! The migrator, as a child: its work is its start.

use std::{borrow::Cow, path::PathBuf, pin::Pin, time::Duration};

use uptree_app::{BoxError, Child, Fact, Migrates, Options, Result, Starting};

use crate::{
    Backend, MigrateError, MigrateRole, MigrateSettings, Native, Repo, WrongDatabase,
    code::Code,
    files::{File, Loaded, Source, check::check_requires},
    ledger::{Ledger, Names},
    migrate::{Job, Reached, migrate},
    plan::plan,
    target::{Target, with_database},
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
/// said. A file that begins with `-- no-transaction` runs outside, one statement at a time, for
/// statements that demand it.
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
/// # Postgres
///
/// Of a file outside a transaction each statement that can be is committed with the ledger's word
/// that it is done. Of the others the ledger says before that they are begun, and after a crash the
/// migrator looks what became of them: an index that is valid is accepted, one that is not is
/// dropped and built again, a partition that is half detached is detached, what may be repeated is.
/// Only of a `CALL` or a `DO` that commits something itself nobody can tell: that is for
/// `migrate resolve`. What the file SETs holds until its end, also if it is gone on with later.
///
/// Such a file keeps a lock for longer than a transaction, which a pooler in transaction mode cannot:
/// it is refused then, before anything is locked, unless `MIGRATE_URL` leads past the pooler. To find
/// out takes a second connection. While it runs, `sqlx migrate` does not wait, but stops and says
/// that the migration is not finished; who waited for sqlx's lock before goes first.
///
/// # MySQL and MariaDB
///
/// A statement that changes the schema commits by itself there, and so does what was done before
/// it: a file that fails stays done up to the statement that failed, and goes on there once it is
/// mended; what is done of it may not be changed any more. Statements that change rows alone are one
/// transaction up to the next that changes the schema. After a crash the migrator looks whether the
/// statement that was begun was done, and goes on; no hand is needed but for a routine that has
/// committed something, a few statements that no look can tell (`EXCHANGE PARTITION`, accounts, a
/// ring of renamings), and rows of tables without transactions. All that holds from MySQL 8 and
/// MariaDB 10.6 on, where one change of the schema is done whole or not at all.
///
/// A change of the schema waits a second for its lock, the least that MySQL has, and meanwhile holds
/// up others on that table. A process that is killed leaves the server with the file that it was
/// given, which the server runs to its end; the lock is free after that. One that was cut off in
/// silence has lost the lock ten seconds after its statement has ended. `sqlx migrate` takes the same
/// lock on MySQL; on MariaDB it takes none, and only the row in the ledger stands between the two.
/// In a cluster (Galera, Group Replication) the lock is that of one node: let all migrators connect
/// to the same one.
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
    app: Target,
    source: Source,
    /// Whether the source was set by `MIGRATIONS_DIR`.
    replaced: bool,
    /// Those that are written in Rust for this database.
    codes: Vec<File>,
    names: Names,
    settings: MigrateSettings,
    to: Option<i64>,
    wrong: Option<WrongDatabase>,
}

impl Migrator {
    /// Migrates the database of `repo`, by a connection of its own: that of `MIGRATE_URL`, if it is
    /// set.
    ///
    /// The folder that `MIGRATIONS_DIR` names, if it is set, replaces `migrations`.
    pub fn new<Db: Backend>(repo: &Repo<Db>, migrations: sqlx::migrate::Migrator) -> Self {
        let settings = repo.migrate_settings().clone();
        let ledger = migrations.table_name;
        let names = settings.names(&ledger);
        repo.set_ledger(&names);
        let (target, wrong) = match &settings.url {
            Some(url) => (url.target.clone(), repo.target().differs_from(&url.target)),
            None => (repo.target().clone(), None),
        };
        Self {
            target,
            app: repo.target().clone(),
            source: match &settings.dir {
                Some(folder) => Source::Folder(folder.clone()),
                None => Source::embedded(&migrations.migrations),
            },
            replaced: settings.dir.is_some(),
            codes: Vec::new(),
            names,
            settings,
            to: None,
            wrong,
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

    /// Adds a migration that is written in Rust, for one kind of database: on others it is left
    /// out. It has its place among the files by its version.
    ///
    /// It runs in a transaction with its row of the ledger, and fails or succeeds as a whole; on
    /// MySQL and MariaDB that holds for data alone, as `CREATE` and its kind commit there. `sqlx
    /// migrate` knows nothing of it, and takes it for a file that is gone.
    ///
    /// What it does cannot be seen to have changed: give a change another version.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use sqlx::{Sqlite, SqliteConnection, migrate::Migrator as Embedded};
    /// use uptree_app::Result;
    /// use uptree_sqlx::{DatabaseSettings, Migrator, Repo};
    ///
    /// async fn trim_names(connection: &mut SqliteConnection) -> Result {
    ///     sqlx::raw_sql("UPDATE people SET name = trim(name)").execute(connection).await?;
    ///     Ok(())
    /// }
    ///
    /// let repo = Repo::new(&DatabaseSettings::new("sqlite::memory:".parse().unwrap()));
    /// let migrator = Migrator::new(&repo, Embedded::with_migrations(Vec::new()))
    ///     .code::<Sqlite>(3, "trim names", |connection| Box::pin(trim_names(connection)));
    /// # let _ = migrator;
    /// # }
    /// ```
    pub fn code<Db: Native>(
        mut self,
        version: i64,
        description: impl Into<Cow<'static, str>>,
        run: impl for<'c> Fn(
            &'c mut Db::Connection,
        ) -> Pin<Box<dyn Future<Output = Result> + Send + 'c>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        if self.target.is::<Db>() {
            let code = Code::new::<Db>(Box::new(run));
            self.codes
                .push(File::from_code(version, description.into(), code));
        }
        self
    }

    /// Applies no file after this version.
    pub(crate) fn to(mut self, version: i64) -> Self {
        self.to = Some(version);
        self
    }

    /// All the migrations, in the order of their versions.
    pub(crate) fn load(&self) -> Result<Loaded, MigrateError> {
        let mut loaded = self.source.load()?;
        loaded.files.extend(self.codes.iter().cloned());
        loaded.files.sort_by_key(File::version);
        if let Some(error) = check_requires(&loaded.files).into_iter().next() {
            return Err(error.into());
        }
        Ok(loaded)
    }

    fn check_files(&self) -> Result<(), MigrateError> {
        let files = self.load()?.files;
        plan(&Ledger::default(), &files, None, &self.names.ledger).map(drop)
    }

    /// The database that is migrated, by the connection that migrates.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The database as the service itself connects to it.
    pub(crate) fn app(&self) -> &Target {
        &self.app
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn role(&self) -> MigrateRole {
        self.settings.role
    }

    /// Applies what is missing, whatever the role; for `migrate up`.
    pub(crate) async fn reach(&self, cx: &Starting) -> Result<Reached, MigrateError> {
        self.migrate(cx, false, true).await
    }

    async fn migrate(
        &self,
        cx: &Starting,
        only_wait: bool,
        reads_back: bool,
    ) -> Result<Reached, MigrateError> {
        let Loaded { files, warnings } = self.load()?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if files.is_empty() {
            tracing::warn!("there are no migrations in {}", self.source);
        }
        let job = Job {
            files: &files,
            to: self.to,
            names: &self.names,
            only_wait,
            lock_retry_budget: self.settings.lock_retry_budget,
            show_blocking_queries: self.settings.show_blocking_queries,
            reads_back,
        };
        // Boxed: it is large, and there is one of it.
        with_database!(&self.target, |database| Box::pin(migrate(
            cx, database, &job
        ))
        .await)
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
        let wrong = self.wrong.clone().map(WrongDatabase::with_help);
        let files = self.check_files().map_err(MigrateError::with_help);
        wrong.into_iter().chain(files.err()).collect()
    }

    fn facts(&self) -> Vec<Fact> {
        let facts = (self.settings.role != MigrateRole::Off).then(|| Migrates {
            applies: self.settings.role == MigrateRole::Apply,
            longest_wait: self.settings.lock_retry_budget,
        });
        facts
            .into_iter()
            .map(|fact| Box::new(fact) as Fact)
            .collect()
    }

    async fn run(&self, cx: Starting) -> Result {
        if self.settings.role == MigrateRole::Off {
            tracing::info!("MIGRATE=off: the schema is taken as it is");
            return cx.done();
        }
        let only_wait = self.settings.role == MigrateRole::Wait;
        match self.migrate(&cx, only_wait, false).await {
            Ok(_) => cx.done(),
            Err(MigrateError::Cancelled) => Ok(()),
            Err(error) => Err(error.with_help()),
        }
    }
}
