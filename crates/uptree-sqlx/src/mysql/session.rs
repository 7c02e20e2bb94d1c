//! Migrating MySQL: the ledger and the lock.

use std::{fmt::Write, time::Duration};

use futures_util::StreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Row as _,
    mysql::{MySqlConnection, MySqlRow},
    raw_sql,
};
use tokio::time::{Instant, timeout};

use super::{brake::Engaged, code};
use crate::{
    classify::is_unavailable,
    files::File,
    ledger::{self, Row},
    session::{Failure, Lock, Session},
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the server keeps a session of ours, and its lock, that it does not hear from: what a
/// connection that was cut in silence costs the others.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of sqlx's lock on the database.
const LOCK: &str = "LOWER(HEX(1026731422 * CRC32(DATABASE())))";

/// A connection that migrates.
///
/// The lock is sqlx's own, by `GET_LOCK`, taken by trying: `GET_LOCK(…, -1)`, which is how sqlx
/// takes it, is no lock on MariaDB.
pub(crate) struct MySqlSession {
    connection: MySqlConnection,
    engaged: Engaged,
    ledger: String,
    ledger_is_missing: bool,
    locked: bool,
}

impl MySqlSession {
    pub(super) fn new(connection: MySqlConnection, ledger: &str, engaged: Engaged) -> Self {
        Self {
            connection,
            engaged,
            ledger: ledger.to_owned(),
            ledger_is_missing: false,
            locked: false,
        }
    }

    async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    async fn fetch_one(&mut self, sql: String) -> Result<MySqlRow, sqlx::Error> {
        raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
    }

    async fn run(&mut self, file: &File) -> Result<(), Failure> {
        let mut results = raw_sql(file.sql()).execute_many(&mut self.connection);
        while let Some(result) = results.next().await {
            if let Err(error) = result {
                return Err(Failure::File(None, error));
            }
        }
        Ok(())
    }
}

impl Session for MySqlSession {
    async fn ledger(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        let (columns, table) = (ledger::COLUMNS, &self.ledger);
        let sql = AssertSqlSafe(format!("SELECT {columns} FROM {table} ORDER BY version"));
        let rows = raw_sql(sql).fetch_all(&mut self.connection).await;
        self.ledger_is_missing =
            matches!(&rows, Err(error) if code::number(error) == Some(code::NO_SUCH_TABLE));
        if self.ledger_is_missing {
            return Ok(Vec::new());
        }
        rows?.iter().map(row).collect()
    }

    async fn try_lock(&mut self, _file: &File) -> Result<Lock, sqlx::Error> {
        if !self.locked {
            let seconds = WAIT_TIMEOUT.as_secs();
            let sql = format!(
                "SET SESSION wait_timeout = {seconds};
                 SELECT CONNECTION_ID(), COALESCE(GET_LOCK({LOCK}, 0), 0)"
            );
            let row = self.fetch_one(sql).await?;
            self.engaged.set(row.try_get_unchecked(0)?);
            self.locked = row.try_get_unchecked::<i64, _>(1)? == 1;
        }
        if self.locked {
            Ok(Lock::Taken)
        } else {
            Ok(Lock::Elsewhere)
        }
    }

    fn is_locked(&self) -> bool {
        self.locked
    }

    async fn unlock(&mut self) {
        // It is for all files, and ends with the connection.
    }

    async fn apply(&mut self, file: &File) -> Result<(), Failure> {
        if self.ledger_is_missing {
            let sql = ledger::create_on_mysql(&self.ledger);
            self.execute(sql).await.map_err(Failure::Ledger)?;
            self.ledger_is_missing = false;
        }
        let since = Instant::now();
        let (table, version) = (&self.ledger, file.version());
        let description = text(file.description());
        let checksum = hex(file.checksum());
        let begun = format!(
            "INSERT INTO {table} (version, description, success, checksum, execution_time)
             VALUES ({version}, {description}, FALSE, x'{checksum}', -1)"
        );
        self.execute(begun).await.map_err(Failure::Ledger)?;
        self.run(file).await?;
        let (table, nanoseconds) = (&self.ledger, since.elapsed().as_nanos());
        let done = format!(
            "UPDATE {table} SET success = TRUE, execution_time = {nanoseconds}
             WHERE version = {version}"
        );
        self.execute(done).await.map_err(Failure::Ledger)
    }

    async fn holder(&mut self) -> Option<String> {
        let sql = format!(
            "SELECT CONCAT('connection ', id, ' (', user, ' from ', host, ')')
             FROM information_schema.processlist WHERE id = IS_USED_LOCK({LOCK})"
        );
        self.fetch_one(sql).await.ok()?.try_get_unchecked(0).ok()
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_unavailable(error)
    }

    async fn close(self) {
        // Should the server not take it, the connection is dropped, which comes to the same.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }
}

fn row(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        version: row.try_get_unchecked(0)?,
        description: row.try_get_unchecked(1)?,
        checksum: row.try_get_unchecked(2)?,
        success: row.try_get_unchecked(3)?,
    })
}

/// A text as a literal that means the same whatever `sql_mode` and the character sets are.
fn text(text: &str) -> String {
    let hex = hex(text.as_bytes());
    format!("_utf8mb4 x'{hex}'")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
        hex
    })
}
