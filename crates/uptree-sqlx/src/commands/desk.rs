//! A connection for what commands do beside migrating: plain SQL, and the migrators' lock for the
//! length of a transaction.

use std::time::Duration;

use futures_util::StreamExt;
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Database, Decode, Executor, Row, Type,
    raw_sql,
};
use tokio::time::timeout;

use super::CONNECT;
#[cfg(feature = "sqlite")]
use crate::sqlite::LockFile;
use crate::{ConnectError, target::Target};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long SQLite waits for its own lock.
#[cfg(feature = "sqlite")]
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The name of sqlx's lock on a MySQL database.
#[cfg(feature = "mysql")]
const MYSQL_LOCK: &str = "LOWER(HEX(1026731422 * CRC32(DATABASE())))";

/// Has a Postgres server that knows how end within a second what it does for a client that is gone.
#[cfg(feature = "postgres")]
const CHECK_CLIENTS: &str = "
    SELECT CASE WHEN pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL
    THEN pg_catalog.set_config('client_connection_check_interval', '1000', false) END";

/// A connection and what it needs to lock.
pub(super) enum Desk {
    #[cfg(feature = "postgres")]
    Postgres {
        connection: sqlx::PgConnection,
        key: i64,
        /// Whether the server can look whether its client is there.
        checks_clients: bool,
    },
    #[cfg(feature = "sqlite")]
    Sqlite {
        connection: sqlx::SqliteConnection,
        lock_path: Option<std::path::PathBuf>,
        elected: Option<LockFile>,
    },
    #[cfg(feature = "mysql")]
    MySql { connection: sqlx::MySqlConnection },
}

/// Does the same with the connection, whichever it is.
macro_rules! with_connection {
    ($desk:expr, |$connection:ident| $body:expr) => {
        match $desk {
            #[cfg(feature = "postgres")]
            Desk::Postgres {
                connection: $connection,
                ..
            } => $body,
            #[cfg(feature = "sqlite")]
            Desk::Sqlite {
                connection: $connection,
                ..
            } => $body,
            #[cfg(feature = "mysql")]
            Desk::MySql {
                connection: $connection,
                ..
            } => $body,
        }
    };
}

/// A row, all of whose columns were selected as text.
pub(super) type TextRow = Vec<Option<String>>;

/// A statement that failed, after so many others of its text.
pub(super) struct Failed {
    /// `None`: after all of them.
    pub(super) completed: Option<usize>,
    pub(super) error: sqlx::Error,
}

impl Failed {
    /// It is the whole that failed, at its end.
    pub(super) fn whole(error: sqlx::Error) -> Self {
        let completed = None;
        Self { completed, error }
    }
}

#[allow(
    clippy::unused_async,
    reason = "what is awaited depends on the features"
)]
impl Desk {
    /// Connects, once.
    pub(super) async fn open(target: &Target) -> Result<Self, ConnectError> {
        let connecting = Self::connect(target);
        let connected = timeout(CONNECT, connecting).await;
        connected.unwrap_or_else(|_| {
            Err(ConnectError::TimedOut {
                what: format!("cannot connect to {target}"),
                limit: CONNECT,
            })
        })
    }

    async fn connect(target: &Target) -> Result<Self, ConnectError> {
        match target {
            #[cfg(feature = "postgres")]
            Target::Postgres(server) => {
                let options = server.options().clone();
                let options = options.application_name("uptree migrate");
                let options = options.disable_statement_logging();
                let mut connection = server.connect(&options).await?;
                let name = text_rows(&mut connection, "SELECT current_database()::text").await;
                let name = name.map_err(|error| server.refusal(error))?;
                let key = crate::postgres::lock_key(first(&name).unwrap_or_default());
                let checks_clients = text_rows(&mut connection, CHECK_CLIENTS).await.is_ok();
                Ok(Self::Postgres {
                    connection,
                    key,
                    checks_clients,
                })
            }
            #[cfg(feature = "sqlite")]
            Target::Sqlite(file) => {
                let options = file.options().clone().busy_timeout(BUSY_TIMEOUT);
                let connection = file.open(&options.disable_statement_logging()).await?;
                Ok(Self::Sqlite {
                    connection,
                    lock_path: file.lock_path(),
                    elected: None,
                })
            }
            #[cfg(feature = "mysql")]
            Target::MySql(server) => {
                let options = server.options().clone().disable_statement_logging();
                let connection = server.connect(&options).await?;
                Ok(Self::MySql { connection })
            }
        }
    }

    /// What a query returns, if all its columns are texts.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, sqlx::Error> {
        with_connection!(self, |connection| text_rows(connection, sql).await)
    }

    /// Runs any number of statements.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Failed> {
        with_connection!(self, |connection| run(connection, sql).await)
    }

    /// Runs one statement of ours, and says how many rows it has changed.
    pub(super) async fn change(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        with_connection!(self, |connection| {
            let done = raw_sql(sql).execute(connection).await?;
            Ok(done.rows_affected())
        })
    }

    /// Begins a transaction in which no migrator is at work; answers `false` if one is.
    pub(super) async fn begin(&mut self) -> Result<bool, sqlx::Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres {
                connection, key, ..
            } => {
                let sql = format!(
                    "BEGIN; SET LOCAL lock_timeout = '2s';
                     SELECT pg_catalog.pg_try_advisory_xact_lock({key})::text"
                );
                let rows = text_rows(connection, &sql).await?;
                Ok(first(&rows) == Some("true"))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite {
                connection,
                lock_path,
                elected,
            } => {
                let elected = elect(lock_path.as_deref(), elected);
                if elected {
                    raw_sql("BEGIN IMMEDIATE").execute(connection).await?;
                }
                Ok(elected)
            }
            #[cfg(feature = "mysql")]
            Self::MySql { .. } => {
                let locked = self.lock().await?;
                if locked {
                    self.change("START TRANSACTION").await?;
                }
                Ok(locked)
            }
        }
    }

    /// Keeps migrators away until the connection ends; answers `false` if one is at work.
    pub(super) async fn lock(&mut self) -> Result<bool, sqlx::Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres {
                connection, key, ..
            } => {
                let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({key})::text");
                let rows = text_rows(connection, &sql).await?;
                Ok(first(&rows) == Some("true"))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite {
                lock_path, elected, ..
            } => Ok(elect(lock_path.as_deref(), elected)),
            #[cfg(feature = "mysql")]
            Self::MySql { connection } => {
                let sql = format!("SELECT CAST(COALESCE(GET_LOCK({MYSQL_LOCK}, 0), 0) AS CHAR)");
                let rows = text_rows(connection, &sql).await?;
                Ok(first(&rows) == Some("1"))
            }
        }
    }

    /// Turns SQLite's foreign keys on or off, which it does only outside a transaction. Others have
    /// them as they have them.
    pub(super) async fn set_foreign_keys(&mut self, on: bool) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => {
                let sql = format!("PRAGMA foreign_keys = {}", i32::from(on));
                self.change(&sql).await.map(drop)
            }
            #[allow(unreachable_patterns, reason = "SQLite may be the only one")]
            _ => {
                _ = on;
                Ok(())
            }
        }
    }

    /// A table of SQLite's whose rows refer to what is not there, while foreign keys were off.
    pub(super) async fn broken_reference(&mut self) -> Result<Option<String>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => {
                let sql = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
                let rows = self.rows(sql).await?;
                Ok(first(&rows).map(str::to_owned))
            }
            #[allow(unreachable_patterns, reason = "SQLite may be the only one")]
            _ => Ok(None),
        }
    }

    /// Takes back, in a transaction, what a file has set on Postgres, and has its constraints
    /// checked.
    pub(super) async fn reset(&mut self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres { checks_clients, .. } => {
                let reset = "SET CONSTRAINTS ALL IMMEDIATE; SET SESSION AUTHORIZATION DEFAULT;
                             RESET ROLE; RESET ALL; SET LOCAL lock_timeout = '2s'";
                let sql = match checks_clients {
                    true => format!("{reset}; {CHECK_CLIENTS}"),
                    false => reset.to_owned(),
                };
                self.change(&sql).await.map(drop)
            }
            #[allow(unreachable_patterns, reason = "Postgres may be the only one")]
            _ => Ok(()),
        }
    }

    /// Ends the transaction.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.change("COMMIT").await.map(drop)
    }

    /// Ends the connection, and with it what was not committed.
    pub(super) async fn close(self) {
        with_connection!(self, |connection| {
            let _ = timeout(GOODBYE, connection.close()).await;
        });
    }
}

/// Takes the lock of SQLite's migrators, unless it is there already.
#[cfg(feature = "sqlite")]
fn elect(path: Option<&std::path::Path>, elected: &mut Option<LockFile>) -> bool {
    let Some(path) = path.filter(|_| elected.is_none()) else {
        return true;
    };
    match LockFile::try_take(path) {
        Ok(lock) => *elected = lock,
        // Not every file system has such locks.
        Err(error) => {
            tracing::debug!(%error, "no lock file {}", path.display());
            return true;
        }
    }
    elected.is_some()
}

/// The first column of the first row.
pub(super) fn first(rows: &[TextRow]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

async fn text_rows<C>(connection: &mut C, sql: &str) -> Result<Vec<TextRow>, sqlx::Error>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    for<'r> String: Decode<'r, C::Database> + Type<C::Database>,
    usize: ColumnIndex<<C::Database as Database>::Row>,
{
    let sql = AssertSqlSafe(sql.to_owned());
    let rows = raw_sql(sql).fetch_all(connection).await?;
    let texts = rows.iter().map(|row| {
        let columns = (0..row.len()).map(|column| row.try_get_unchecked(column));
        columns.collect()
    });
    texts.collect()
}

async fn run<C>(connection: &mut C, sql: &str) -> Result<(), Failed>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    let mut completed = 0;
    let mut results = raw_sql(AssertSqlSafe(sql.to_owned())).execute_many(connection);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) => completed += 1,
            Err(error) => {
                let completed = Some(completed);
                return Err(Failed { completed, error });
            }
        }
    }
    Ok(())
}
