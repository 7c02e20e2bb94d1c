//! Migrating SQLite: the ledger, the locks, and a transaction for each file.

use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Row as _, raw_sql,
    sqlite::{SqliteConnection, SqliteRow},
};
use tokio::time::{Instant, sleep, timeout};

use super::{BUSY_TIMEOUT, brake::Engaged, lock_file::LockFile};
use crate::{
    classify::is_busy,
    files::File,
    ledger::{self, Row},
    place::{self, Place},
    session::{Failure, Lock, Session},
    split::Dialect,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a file that is not in a transaction, and so does not have the lock, waits for it in its
/// midst: it cannot be begun again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a read is tried while the file is locked, which a WAL is only for a moment.
const READS: u32 = 50;

/// A connection that migrates.
///
/// Two locks are taken, by trying: first that of a [`LockFile`], which is between migrators; then,
/// by `BEGIN IMMEDIATE`, SQLite's own, which is between all who write. The ledger is read again
/// inside, so that the second alone would do, were it not for files that cannot run in a
/// transaction.
pub(crate) struct SqliteSession {
    connection: SqliteConnection,
    _engaged: Engaged,
    ledger: String,
    ledger_is_missing: bool,
    lock_path: Option<PathBuf>,
    elected: Option<LockFile>,
    in_transaction: bool,
}

impl SqliteSession {
    pub(super) fn new(
        connection: SqliteConnection,
        engaged: Engaged,
        ledger: &str,
        lock_path: Option<PathBuf>,
    ) -> Self {
        Self {
            connection,
            _engaged: engaged,
            ledger: ledger.to_owned(),
            ledger_is_missing: false,
            lock_path,
            elected: None,
            in_transaction: false,
        }
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    /// Whether no other migrator is at work.
    fn elect(&mut self) -> bool {
        let Some(path) = self.lock_path.as_ref().filter(|_| self.elected.is_none()) else {
            return true;
        };
        match LockFile::try_take(path) {
            Ok(lock) => {
                self.elected = lock;
                self.elected.is_some()
            }
            // Not every file system has such locks; and a folder that takes no files lets SQLite
            // say so itself.
            Err(error) => {
                tracing::debug!(%error, "no lock file {}", path.display());
                self.lock_path = None;
                true
            }
        }
    }

    async fn run(&mut self, file: &File) -> Result<(), Failure> {
        let sql = file.sql();
        let mut completed = 0;
        let mut results = raw_sql(AssertSqlSafe(sql)).execute_many(&mut self.connection);
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => completed += 1,
                Err(error) => {
                    let place = place_of(&error, sql, completed);
                    return Err(Failure::File(place, error));
                }
            }
        }
        Ok(())
    }

    async fn enter(&mut self, file: &File, since: Instant) -> Result<(), sqlx::Error> {
        if self.ledger_is_missing {
            let sql = AssertSqlSafe(ledger::create_on_sqlite(&self.ledger));
            raw_sql(sql).execute(&mut self.connection).await?;
            self.ledger_is_missing = false;
        }
        let sql = format!(
            "INSERT INTO {} (version, description, success, checksum, execution_time)
             VALUES (?1, ?2, TRUE, ?3, ?4)",
            self.ledger
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(file.description())
            .bind(file.checksum())
            .bind(i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX))
            .execute(&mut self.connection)
            .await
            .map(drop)
    }

    /// Says how long a statement waits for a lock.
    async fn wait_for_locks(&mut self, limit: Duration) {
        let sql = format!("PRAGMA busy_timeout = {}", limit.as_millis());
        // It cannot fail, and if it did only the wait would be shorter.
        let _ = raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await;
    }

    async fn roll_back(&mut self) {
        self.in_transaction = false;
        // It may have been rolled back by the error itself.
        let _ = self.execute("ROLLBACK").await;
    }
}

impl Session for SqliteSession {
    async fn ledger(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY version",
            ledger::COLUMNS,
            self.ledger
        );
        let mut reads = 1;
        loop {
            let sql = AssertSqlSafe(sql.as_str());
            let rows = raw_sql(sql).fetch_all(&mut self.connection).await;
            self.ledger_is_missing = matches!(&rows, Err(error) if is_undefined_table(error));
            match rows {
                Ok(rows) => return rows.iter().map(row).collect(),
                Err(_) if self.ledger_is_missing => return Ok(Vec::new()),
                Err(error) if is_busy(&error) && reads < READS => {
                    reads += 1;
                    sleep(Duration::from_millis(fastrand::u64(10..100))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_lock(&mut self, file: &File) -> Result<Lock, sqlx::Error> {
        if !self.elect() {
            return Ok(Lock::Elsewhere);
        }
        if !file.in_transaction() {
            return Ok(Lock::Taken);
        }
        match self.execute("BEGIN IMMEDIATE").await {
            Ok(()) => {
                self.in_transaction = true;
                Ok(Lock::Taken)
            }
            Err(error) if is_busy(&error) => Ok(Lock::Busy(error)),
            Err(error) => Err(error),
        }
    }

    fn is_locked(&self) -> bool {
        self.in_transaction
    }

    async fn unlock(&mut self) {
        if self.in_transaction {
            self.roll_back().await;
        }
    }

    async fn apply(&mut self, file: &File) -> Result<(), Failure> {
        let since = Instant::now();
        if !file.in_transaction() {
            // As sqlx does it: a crash between the two leaves the file run and not entered. Here
            // goes the row that says "running", to be found after a crash and recovered from.
            self.wait_for_locks(PATIENCE).await;
            self.run(file).await?;
            let entered = self.enter(file, since).await;
            self.wait_for_locks(BUSY_TIMEOUT).await;
            return entered.map_err(Failure::Ledger);
        }
        if let Err(failure) = self.run(file).await {
            self.roll_back().await;
            return Err(failure);
        }
        if let Err(error) = self.enter(file, since).await {
            self.roll_back().await;
            return Err(Failure::Ledger(error));
        }
        // A constraint that is deferred to here is the file's.
        let committed = self.execute("COMMIT").await;
        if let Err(error) = committed {
            self.roll_back().await;
            return Err(Failure::File(None, error));
        }
        self.in_transaction = false;
        Ok(())
    }

    async fn holder(&mut self) -> Option<String> {
        None
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_busy(error)
    }

    async fn close(self) {
        // Closed by its thread, which rolls back what is open.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }
}

fn row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        version: row.try_get(0)?,
        description: row.try_get(1)?,
        checksum: row.try_get(2)?,
        success: row.try_get(3)?,
    })
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.message().starts_with("no such table"))
}

/// SQLite names the word at a syntax error; otherwise it is known which statement it was.
fn place_of(error: &sqlx::Error, sql: &str, completed: usize) -> Option<Place> {
    let message = error.as_database_error()?.message();
    let near = message
        .strip_prefix("near \"")
        .and_then(|rest| rest.rsplit_once("\": "))
        .map(|(word, _)| word);
    place::of_statement(sql, Dialect::Sqlite, completed, near)
}
