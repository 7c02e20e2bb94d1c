//! The pool of connections, as a handle and a child.

#[cfg(feature = "postgres")]
mod freshness;
mod meters;

use std::{borrow::Cow, sync::Arc, time::Duration};

use sqlx::{Any, Pool, pool::PoolOptions};
use tokio::time::timeout_at;
use uptree_app::{BoxError, Child, Context, Result, Slot, Starting, Unavailable};

#[cfg(feature = "postgres")]
use self::freshness::Freshness;
use crate::{
    Backend, ConnectError, DatabaseSettings, MigrateSettings, WrongDatabase, backend::OptionsOf,
    ledger::Names, retry::connect, target::Target,
};

/// How long a request waits for a connection: a handler answers 503 after it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is left of the stop timeout for the end of the child itself.
const STOP_MARGIN: Duration = Duration::from_millis(100);

/// A pool of database connections: a handle that is made before the tree, and the child that fills
/// it.
///
/// `Repo<Any>`, which [`new`](Self::new) makes, takes whatever database the URL names;
/// [`typed`](Self::typed) ones have the types of one. Clones are handles on the same pool.
///
/// # Start
///
/// It proves that the database answers: it connects, asks something, closes the connection, and is
/// ready. The pool is empty then and opens up to `POOL_SIZE` connections as they are wanted, so
/// that while a [`Migrator`](crate::Migrator) runs after it an instance has one connection, not
/// more.
///
/// What may pass is tried again, with growing pauses, until the start timeout: a connection that is
/// refused, reset or not answered within 5 s, a name that is not found, a server that starts up or
/// has too many connections, a file that is locked. At a restart it is tried for 5 s. What will not
/// pass fails at once: a wrong password, an unknown role or database, a file that is not a
/// database, a folder that cannot be written to.
///
/// # Run
///
/// A lost database does not stop it: requests fail with what
/// [`is_unavailable`](crate::is_unavailable) recognises, after 3 s at most, and succeed again when
/// it is back. If somebody closes the pool, it fails and is restarted; [`pool`](Self::pool) is the
/// new pool then.
///
/// A connection that lay idle is asked whether it is alive before it is lent. On Postgres the same
/// message tells whether migrations have been applied since, by whomever: then the connection
/// forgets its prepared statements, as the server would refuse those that return all columns of a
/// changed table (`cached plan must not change result type`). What is prepared on a connection that
/// is kept, or within the moment between the two, is not helped; and a role that may not read the
/// ledger is not told.
///
/// # Stop
///
/// First the handle is emptied, then the pool is closed. It waits for the connections that are in
/// use, within its stop timeout.
///
/// # SQLite
///
/// The file is switched to a write-ahead log, which it remembers, so that readers and a writer do
/// not wait for each other. A lock is waited for up to 5 s, foreign keys are enforced, and what is
/// committed survives a power cut (`synchronous = FULL`): a commit means what it means on Postgres.
/// A database in memory lives as long as the child.
///
/// # MySQL and MariaDB
///
/// A connection has what sqlx sets: the time zone UTC, the character set utf8mb4, and the mode
/// `PIPES_AS_CONCAT`. A lock wait that times out and a query that takes longer than
/// `max_execution_time` count as unavailable. [`sqlx::Any`] has no `TINYINT`, and so no `BOOLEAN`.
///
/// # Examples
///
/// ```
/// use uptree_sqlx::{DatabaseSettings, Repo};
///
/// let repo = Repo::new(&DatabaseSettings::new("sqlite::memory:".parse()?));
/// // The handle is there before the child runs.
/// assert_eq!(repo.pool().unwrap_err().to_string(), "repo is not running");
/// # Ok::<_, uptree_sqlx::UrlError>(())
/// ```
pub struct Repo<Db: Backend = Any> {
    shared: Arc<Shared<Db>>,
}

struct Shared<Db: Backend> {
    target: Target,
    /// How to make the pool; or why the constructor could not tell.
    options: Result<(OptionsOf<Db>, PoolOptions<Db>), WrongDatabase>,
    ignored: Vec<String>,
    migrate: MigrateSettings,
    #[cfg(feature = "postgres")]
    freshness: Option<Arc<Freshness>>,
    slot: Slot<Pool<Db>>,
}

impl Repo {
    /// A pool of whatever database the settings name.
    ///
    /// [`sqlx::Any`] has no timestamp and no UUID. A parameter is `$1` on Postgres and SQLite, and
    /// `?` on MySQL and SQLite.
    pub fn new(settings: &DatabaseSettings) -> Self {
        Self::typed(settings)
    }
}

impl<Db: Backend> Repo<Db> {
    /// A pool of one kind of database: `Repo::<Postgres>::typed(&settings)`.
    ///
    /// If the URL is of another, the tree does not start, and says so.
    pub fn typed(settings: &DatabaseSettings) -> Self {
        let pool = PoolOptions::new()
            .max_connections(settings.pool_size.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT);
        #[cfg(feature = "postgres")]
        let (pool, freshness) = match &settings.url.target {
            Target::Postgres(_) => {
                let freshness = Freshness::new(settings.migrate.names("_sqlx_migrations"));
                (freshness.install(pool), Some(freshness))
            }
            #[allow(unreachable_patterns, reason = "there may be no other database")]
            _ => (pool, None),
        };
        let options = Db::options(&settings.url).map(|options| (options, pool));
        Self::from_shared(Shared {
            target: settings.url.target.clone(),
            options,
            ignored: settings.url.ignored.clone(),
            migrate: settings.migrate.clone(),
            #[cfg(feature = "postgres")]
            freshness,
            slot: Slot::new("repo"),
        })
    }

    fn from_shared(shared: Shared<Db>) -> Self {
        let shared = Arc::new(shared);
        Self { shared }
    }

    fn with_target(target: Target, options: OptionsOf<Db>, pool: PoolOptions<Db>) -> Self {
        Self::from_shared(Shared {
            target,
            options: Ok((options, pool)),
            ignored: Vec::new(),
            migrate: MigrateSettings::default(),
            #[cfg(feature = "postgres")]
            freshness: None,
            slot: Slot::new("repo"),
        })
    }

    /// The pool that runs now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] before the child is ready, after it was asked to stop, and between two
    /// incarnations.
    pub fn pool(&self) -> Result<Pool<Db>, Unavailable> {
        self.shared.slot.get()
    }

    /// Waits for a pool that runs.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&self) -> Pool<Db> {
        self.shared.slot.wait().await
    }

    pub(crate) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Tells it where the ledger is.
    pub(crate) fn set_ledger(&self, names: &Names) {
        #[cfg(feature = "postgres")]
        if let Some(freshness) = &self.shared.freshness {
            freshness.set_names(names);
        }
        #[cfg(not(feature = "postgres"))]
        let _ = names;
    }

    pub(crate) fn migrate_settings(&self) -> &MigrateSettings {
        &self.shared.migrate
    }
}

#[cfg(feature = "postgres")]
impl Repo<sqlx::Postgres> {
    /// A pool with options that no setting has, such as a certificate. Its hooks are left as they
    /// are: its connections are not told of migrations.
    pub fn with_options(
        options: sqlx::postgres::PgConnectOptions,
        pool: sqlx::postgres::PgPoolOptions,
    ) -> Self {
        let server = crate::postgres::PgServer::new(options.clone());
        Self::with_target(Target::Postgres(server), options, pool)
    }
}

#[cfg(feature = "sqlite")]
impl Repo<sqlx::Sqlite> {
    /// A pool with options that no setting has. The file's journal is left as it is.
    pub fn with_options(
        options: sqlx::sqlite::SqliteConnectOptions,
        pool: sqlx::sqlite::SqlitePoolOptions,
    ) -> Self {
        let file = crate::sqlite::SqliteFile::new(options.clone());
        Self::with_target(Target::Sqlite(file), options, pool)
    }
}

#[cfg(feature = "mysql")]
impl Repo<sqlx::MySql> {
    /// A pool with options that no setting has, such as a certificate.
    pub fn with_options(
        options: sqlx::mysql::MySqlConnectOptions,
        pool: sqlx::mysql::MySqlPoolOptions,
    ) -> Self {
        let server = crate::mysql::MySqlServer::new(options.clone());
        Self::with_target(Target::MySql(server), options, pool)
    }
}

impl<Db: Backend> Clone for Repo<Db> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        Self { shared }
    }
}

impl<Db: Backend> std::fmt::Debug for Repo<Db> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repo({})", self.shared.target)
    }
}

impl<Db: Backend> Child for Repo<Db> {
    fn id(&self) -> Cow<'static, str> {
        "repo".into()
    }

    fn check(&self) -> Vec<BoxError> {
        let error = self.shared.options.as_ref().err().cloned();
        error.map(WrongDatabase::with_help).into_iter().collect()
    }

    async fn run(&self, cx: Starting) -> Result {
        let target = &self.shared.target;
        for parameter in &self.shared.ignored {
            tracing::warn!(
                parameter,
                "DATABASE_URL has a parameter that means nothing here"
            );
        }
        let (options, pool) = self
            .shared
            .options
            .clone()
            .map_err(WrongDatabase::with_help)?;

        cx.step("connect");
        let _kept = match connect(&cx, target, || target.prove()).await {
            Ok(connected) => connected.connection,
            Err(ConnectError::Cancelled) => return Ok(()),
            Err(error) => return Err(error.with_help()),
        };

        let pool = CloseOnDrop(pool.connect_lazy_with(options));
        let published = self.shared.slot.publish(pool.0.clone())?;
        let cx = cx.ready();
        let _measured = meters::measure(&pool.0, &cx);
        tokio::select! {
            biased;
            _ = cx.shutdown() => {}
            () = pool.0.close_event() => return Err(PoolClosed.into()),
        }
        // Whoever asks from here on learns that it is going, and does not wait for it.
        drop(published);
        close(&pool.0, &cx).await;
        Ok(())
    }
}

/// Closes the pool, and waits for its connections as long as the child may.
async fn close<Db: Backend>(pool: &Pool<Db>, cx: &Context) {
    let closed = pool.close();
    let Some(deadline) = cx.stop_deadline() else {
        return closed.await;
    };
    if timeout_at(deadline - STOP_MARGIN, closed).await.is_err() {
        let in_use = pool.size();
        tracing::warn!(
            in_use,
            "connections are still in use, and are left to be dropped"
        );
    }
}

/// However an incarnation ends, its pool ends with it: handles that were taken fail from then on.
struct CloseOnDrop<Db: Backend>(Pool<Db>);

impl<Db: Backend> Drop for CloseOnDrop<Db> {
    fn drop(&mut self) {
        // Closed by the call; what it returns would wait for the connections.
        drop(self.0.close());
    }
}

/// Somebody closed the pool.
#[derive(Debug, thiserror::Error)]
#[error("the pool was closed")]
struct PoolClosed;
