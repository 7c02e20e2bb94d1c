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
    activity::Activity,
    classify::is_busy,
    files::File,
    ledger::{self, COLUMNS, Instance, Ledger, Mark, Names, Row, STEP_COLUMNS, Tables},
    place::{self, Place},
    session::{Entry, Failure, Lock, Session, Verdict},
    split::Dialect,
    statement::Statement,
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
    names: Names,
    there: Tables,
    lock_path: Option<PathBuf>,
    elected: Option<LockFile>,
    in_transaction: bool,
}

impl SqliteSession {
    pub(super) fn new(
        connection: SqliteConnection,
        engaged: Engaged,
        names: &Names,
        lock_path: Option<PathBuf>,
    ) -> Self {
        Self {
            connection,
            _engaged: engaged,
            names: names.clone(),
            there: Tables::None,
            lock_path,
            elected: None,
            in_transaction: false,
        }
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    /// Reads the tables that there are.
    async fn read(&mut self) -> Result<Ledger, sqlx::Error> {
        let mut assumed = Tables::All;
        let mut reads = 1;
        loop {
            let sql = match assumed {
                Tables::All => self.rows(true),
                Tables::Sqlx => self.rows(false),
                Tables::None => return Ok(Ledger::default()),
            };
            let rows = raw_sql(AssertSqlSafe(sql))
                .fetch_all(&mut self.connection)
                .await;
            match rows {
                Ok(rows) => {
                    self.there = assumed;
                    let with_steps = assumed == Tables::All;
                    let rows = rows.iter().map(|found| row(found, with_steps));
                    return Ok(Ledger {
                        rows: rows.collect::<Result<_, _>>()?,
                        tables: assumed,
                    });
                }
                Err(error) if is_undefined_table(&error) => {
                    self.there = Tables::None;
                    assumed = match assumed {
                        Tables::All => Tables::Sqlx,
                        _ => Tables::None,
                    };
                }
                Err(error) if is_busy(&error) && reads < READS => {
                    reads += 1;
                    sleep(Duration::from_millis(fastrand::u64(10..100))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn rows(&self, with_steps: bool) -> String {
        let own = COLUMNS.map(|column| format!("l.{column}")).join(", ");
        let (ledger, steps) = (&self.names.ledger, &self.names.steps);
        if with_steps {
            let more = STEP_COLUMNS.map(|column| format!("s.{column}")).join(", ");
            format!(
                "SELECT {own}, {more} FROM {ledger} AS l
                 LEFT JOIN {steps} AS s ON s.version = l.version ORDER BY l.version"
            )
        } else {
            format!("SELECT {own} FROM {ledger} AS l ORDER BY l.version")
        }
    }

    /// Creates those of the tables that are missing.
    async fn create(&mut self) -> Result<(), sqlx::Error> {
        if self.there == Tables::All {
            return Ok(());
        }
        let Names {
            ledger,
            steps,
            instances,
            ..
        } = &self.names;
        for sql in ledger::create([ledger, steps, instances], &ledger::SQLITE) {
            raw_sql(AssertSqlSafe(sql))
                .execute(&mut self.connection)
                .await?;
        }
        self.there = Tables::All;
        Ok(())
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

    async fn enter(
        &mut self,
        file: &File,
        success: bool,
        since: Instant,
    ) -> Result<(), sqlx::Error> {
        self.create().await?;
        let sql = format!(
            "INSERT INTO {} (version, description, success, checksum, execution_time)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            self.names.ledger
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(file.description())
            .bind(success)
            .bind(file.checksum())
            .bind(i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX))
            .execute(&mut self.connection)
            .await?;
        let Some(requires) = file.requires() else {
            return Ok(());
        };
        let sql = format!(
            "INSERT INTO {} (version, requires) VALUES (?1, ?2)
             ON CONFLICT (version) DO UPDATE SET requires = excluded.requires",
            self.names.steps
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(requires)
            .execute(&mut self.connection)
            .await
            .map(drop)
    }

    /// Writes a mark, in a transaction that is open, or in one of its own.
    async fn write_mark(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        self.create().await?;
        let (ledger, steps) = (self.names.ledger.clone(), self.names.steps.clone());
        if mark.is_blank() {
            for sql in [
                format!("DELETE FROM {steps} WHERE version = ?1"),
                format!("DELETE FROM {ledger} WHERE version = ?1 AND NOT success"),
            ] {
                sqlx::query(AssertSqlSafe(sql))
                    .bind(file.version())
                    .execute(&mut self.connection)
                    .await?;
            }
            return Ok(());
        }
        if entry == Entry::New {
            self.enter(file, mark.finished, Instant::now()).await?;
        }
        let sql = format!(
            "INSERT INTO {steps}
                 (version, requires, steps_done, steps_digest, step_begun, step_before)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (version) DO UPDATE SET
                 requires = excluded.requires, steps_done = excluded.steps_done,
                 steps_digest = excluded.steps_digest, step_begun = excluded.step_begun,
                 step_before = excluded.step_before, updated_at = excluded.updated_at"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(file.requires())
            .bind(i64::try_from(mark.done).unwrap_or(i64::MAX))
            .bind(&mark.digest)
            .bind(mark.begun)
            .bind(&mark.before)
            .execute(&mut self.connection)
            .await?;
        if mark.finished {
            let sql =
                format!("UPDATE {ledger} SET success = TRUE, checksum = ?2 WHERE version = ?1");
            sqlx::query(AssertSqlSafe(sql))
                .bind(file.version())
                .bind(file.checksum())
                .execute(&mut self.connection)
                .await?;
        }
        Ok(())
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
    async fn check(&mut self, _instance: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        // To enter the instance would be to write, which only one can at a time.
        self.read().await
    }

    async fn try_lock(&mut self, next: &File) -> Result<Lock, sqlx::Error> {
        if !self.elect() {
            return Ok(Lock::Elsewhere);
        }
        if next.in_transaction() {
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => self.in_transaction = true,
                Err(error) if is_busy(&error) => return Ok(Lock::Busy(error)),
                Err(error) => return Err(error),
            }
        }
        self.read().await.map(Lock::Taken)
    }

    fn is_locked_for(&self, next: &File) -> bool {
        match next.in_transaction() {
            true => self.in_transaction,
            false => self.elected.is_some() || self.lock_path.is_none(),
        }
    }

    async fn unlock(&mut self) {
        if self.in_transaction {
            self.roll_back().await;
        }
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        match self.execute("BEGIN IMMEDIATE").await {
            Ok(()) => {}
            Err(error) if is_busy(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let created = self.create().await;
        match created {
            Ok(()) => self.execute("COMMIT").await,
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    fn is_stepwise(&self, file: &File) -> bool {
        !file.in_transaction()
    }

    async fn apply(&mut self, files: &[&File], _activity: &Activity) -> Result<usize, Failure> {
        let file = files[0];
        let since = Instant::now();
        let ran = match file.code() {
            None => self.run(file).await,
            Some(code) => match code.of::<sqlx::Sqlite>() {
                Some(code) => code(&mut self.connection).await.map_err(Failure::Code),
                None => Err(Failure::Code("it is written for another database".into())),
            },
        };
        if let Err(failure) = ran {
            self.roll_back().await;
            return Err(failure);
        }
        if let Err(error) = self.enter(file, true, since).await {
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
        Ok(1)
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        !statement.needs_no_transaction()
    }

    async fn picture(&mut self, _statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        Ok(String::new())
    }

    async fn inspect(
        &mut self,
        _statement: &Statement<'_>,
        _before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        // What cannot be in a transaction here can be done twice: VACUUM and PRAGMA.
        Ok(Verdict::NotDone)
    }

    async fn mark(&mut self, file: &File, mark: &Mark, entry: Entry) -> Result<(), sqlx::Error> {
        self.wait_for_locks(PATIENCE).await;
        self.execute("BEGIN IMMEDIATE").await?;
        let written = self.write_mark(file, mark, entry).await;
        match written {
            Ok(()) => self.execute("COMMIT").await,
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        _activity: &Activity,
    ) -> Result<(), Failure> {
        self.wait_for_locks(PATIENCE).await;
        let place = place::of_offset(file.sql(), statement.at);
        let failed = |error| Failure::File(Some(place), error);
        let sql = AssertSqlSafe(statement.sql);
        if !self.is_atomic(statement) {
            let ran = raw_sql(sql).execute(&mut self.connection).await;
            ran.map_err(failed)?;
            return self.mark(file, mark, entry).await.map_err(Failure::Ledger);
        }
        self.execute("BEGIN IMMEDIATE")
            .await
            .map_err(Failure::Ledger)?;
        let ran = raw_sql(sql).execute(&mut self.connection).await;
        if let Err(error) = ran {
            self.roll_back().await;
            return Err(failed(error));
        }
        let written = self.write_mark(file, mark, entry).await;
        if let Err(error) = written {
            self.roll_back().await;
            return Err(Failure::Ledger(error));
        }
        self.execute("COMMIT").await.map_err(failed)
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.wait_for_locks(BUSY_TIMEOUT).await;
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

fn row(row: &SqliteRow, with_steps: bool) -> Result<Row, sqlx::Error> {
    let success = row.try_get(3)?;
    let (mut requires, mut mark) = (None, None);
    if with_steps {
        requires = row.try_get(4)?;
        let done: Option<i64> = row.try_get(5)?;
        mark = done.map(|done| {
            Ok::<_, sqlx::Error>(Mark {
                done: usize::try_from(done).unwrap_or_default(),
                digest: row.try_get::<Option<String>, _>(6)?.unwrap_or_default(),
                begun: row.try_get(7)?,
                before: row.try_get(8)?,
                finished: success,
            })
        });
    }
    Ok(Row {
        version: row.try_get(0)?,
        description: row.try_get(1)?,
        checksum: row.try_get(2)?,
        success,
        requires,
        mark: mark.transpose()?,
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
