//! Migrating Postgres: the ledger, the lock, and a transaction for each file.

use std::{borrow::Cow, fmt::Write, time::Duration};

use futures_util::StreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Row as _,
    error::DatabaseError,
    postgres::{PgConnection, PgDatabaseError, PgErrorPosition, PgRow},
    raw_sql,
};
use tokio::time::{Instant, timeout};

use super::brake::Engaged;
use crate::{
    classify::is_unavailable,
    files::File,
    ledger::{self, Row},
    place::{self, Place},
    session::{Failure, Lock, Session},
    split::Dialect,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that migrates.
///
/// The lock is sqlx's own advisory lock, held by the session and not by a transaction, and taken
/// by trying: neither its holder nor those who wait have a transaction open, so that
/// `CREATE INDEX CONCURRENTLY`, which waits for all transactions, waits for none of them.
///
/// All goes by the simple protocol: there are no prepared statements to be in a pooler's way.
pub(crate) struct PgSession {
    connection: PgConnection,
    engaged: Engaged,
    ledger: Ledger,
    /// Once the session has been made ready to lock: the lock's key.
    key: Option<i64>,
    locked: bool,
}

struct Ledger {
    table: String,
    /// Whether `table` names its schema: a file may change the search path.
    qualified: bool,
    missing: bool,
}

impl PgSession {
    pub(super) fn new(connection: PgConnection, ledger: &str, engaged: Engaged) -> Self {
        Self {
            connection,
            engaged,
            ledger: Ledger {
                table: ledger.to_owned(),
                qualified: false,
                missing: false,
            },
            key: None,
            locked: false,
        }
    }

    async fn execute(&mut self, sql: impl Into<Cow<'static, str>>) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.into().into_owned());
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    async fn fetch_one(&mut self, sql: String) -> Result<PgRow, sqlx::Error> {
        raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
    }

    /// What a session needs that may have to wait for the lock, and hold it: not before there is
    /// something to do.
    async fn key(&mut self) -> Result<i64, sqlx::Error> {
        if let Some(key) = self.key {
            return Ok(key);
        }
        // Should this process be killed, the server notices within a second, not at the end of
        // the statement. Not every system that Postgres runs on can do it.
        if self.connection.server_version_num() >= Some(140_000)
            && let Err(error) = self
                .execute("SET client_connection_check_interval = '1s'")
                .await
        {
            tracing::debug!(%error, "the server does not look after its clients");
        }
        let sql = "SELECT pg_backend_pid(), current_database()::text";
        let row = self.fetch_one(sql.to_owned()).await?;
        self.engaged.set(row.try_get(0)?);
        let database: String = row.try_get(1)?;
        Ok(*self.key.insert(lock_key(&database)))
    }

    /// Creates the ledger if it is not there, and learns which schema it is in. Under the lock: two
    /// sessions that create one table at once do not both succeed.
    async fn settle_ledger(&mut self) -> Result<(), sqlx::Error> {
        if self.ledger.missing {
            self.execute(ledger::create_on_postgres(&self.ledger.table))
                .await?;
            self.ledger.missing = false;
        }
        if !self.ledger.qualified {
            let table = literal(&self.ledger.table);
            let row = self
                .fetch_one(format!(
                    "SELECT quote_ident(nspname) || '.' || quote_ident(relname)
                     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                     WHERE pg_class.oid = {table}::regclass"
                ))
                .await?;
            self.ledger.table = row.try_get(0)?;
            self.ledger.qualified = true;
        }
        Ok(())
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

    fn entry(&self, file: &File, since: Instant) -> String {
        let version = file.version();
        let description = literal(file.description());
        let checksum = hex(file.checksum());
        let nanoseconds = since.elapsed().as_nanos();
        let table = &self.ledger.table;
        format!(
            "INSERT INTO {table} (version, description, success, checksum, execution_time)
             VALUES ({version}, {description}, TRUE, \
                     pg_catalog.decode('{checksum}', 'hex'), {nanoseconds})"
        )
    }
}

impl Session for PgSession {
    async fn ledger(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        let (columns, table) = (ledger::COLUMNS, &self.ledger.table);
        // `bytea_output` is the role's to choose, the encoding of `encode` is not.
        let columns = columns.replace("checksum", "encode(checksum, 'hex')");
        let sql = AssertSqlSafe(format!("SELECT {columns} FROM {table} ORDER BY version"));
        let rows = raw_sql(sql).fetch_all(&mut self.connection).await;
        self.ledger.missing = matches!(&rows, Err(error) if is_undefined_table(error));
        if self.ledger.missing {
            return Ok(Vec::new());
        }
        rows?.iter().map(row).collect()
    }

    async fn try_lock(&mut self, _file: &File) -> Result<Lock, sqlx::Error> {
        if !self.locked {
            let key = self.key().await?;
            let sql = format!("SELECT pg_try_advisory_lock({key})");
            self.locked = self.fetch_one(sql).await?.try_get(0)?;
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
        self.settle_ledger().await.map_err(Failure::Ledger)?;
        let since = Instant::now();
        if file.in_transaction() {
            self.execute("BEGIN").await.map_err(Failure::Ledger)?;
            if let Err(failure) = self.run(file).await {
                // Rolled back before anybody hears of the failure.
                let _ = self.execute("ROLLBACK").await;
                return Err(failure);
            }
            let entry = self.entry(file, since);
            self.execute(entry).await.map_err(Failure::Ledger)?;
            // A constraint that is deferred to here is the file's.
            self.execute("COMMIT")
                .await
                .map_err(|error| Failure::File(None, error))
        } else {
            // As sqlx does it: a crash between the two leaves the file run and not entered. Here
            // goes the row that says "running", to be found after a crash and recovered from.
            self.run(file).await?;
            let entry = self.entry(file, since);
            self.execute(entry).await.map_err(Failure::Ledger)
        }
    }

    async fn holder(&mut self) -> Option<String> {
        let key = self.key?;
        let sql = format!(
            "SELECT format('process %s (%s%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                           coalesce(' from ' || host(client_addr), ''))
             FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND (classid::bigint << 32) | objid::bigint = {key}
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             LIMIT 1"
        );
        self.fetch_one(sql).await.ok()?.try_get(0).ok()
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_unavailable(error)
    }

    async fn close(self) {
        // Should the server not take it, the connection is dropped, which comes to the same.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let checksum: String = row.try_get(2)?;
    Ok(Row {
        version: row.try_get(0)?,
        description: row.try_get(1)?,
        checksum: unhex(&checksum),
        success: row.try_get(3)?,
    })
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some("42P01")
}

/// The server's position, else the statement by counting those before it.
fn place_of(error: &sqlx::Error, sql: &str, completed: usize) -> Option<Place> {
    let error: &PgDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    match error.position() {
        Some(PgErrorPosition::Original(number)) => place::of_character(sql, number),
        _ => place::of_statement(sql, Dialect::Postgres, completed, None),
    }
}

/// A literal that means the same whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('\'', "''");
    format!("E'{text}'")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
        hex
    })
}

/// What cannot be read is left out: it then is not what was expected.
fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    digits.chunks_exact(2).filter_map(byte).collect()
}

/// sqlx's key for the lock on a database.
fn lock_key(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32(database.as_bytes()))
}

/// CRC-32 as zip has it. A name is too short for a table to pay.
fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_the_one_that_sqlx_takes() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(lock_key("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }

    #[test]
    fn texts_survive_the_way_into_sql() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
        assert_eq!(unhex(&hex(&[0, 1, 0xab, 255])), [0, 1, 0xab, 255]);
    }
}
