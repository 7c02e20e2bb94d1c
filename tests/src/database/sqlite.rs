//! A SQLite file for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, raw_sql};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a test waits for a service to let it at a SQLite file.
const BUSY: Duration = Duration::from_secs(10);

/// A SQLite file in a temporary folder.
pub struct Sqlite {
    runtime: Runtime,
    file: PathBuf,
    folder: TempDir,
}

impl Sqlite {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime needs little");
        Self {
            runtime,
            file: folder.path().join("shop.db"),
            folder,
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The folder that the file is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn hold(&self) -> HeldFile<'_> {
        let mut connection = self.connect();
        let begun = raw_sql("BEGIN IMMEDIATE").execute(&mut connection);
        self.runtime.block_on(begun).expect("nobody holds it");
        HeldFile {
            runtime: &self.runtime,
            connection: Some(connection),
        }
    }

    #[track_caller]
    pub(super) fn query(&self, sql: &str) -> String {
        let mut connection = self.connect();
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection);
        let rows = self.runtime.block_on(rows);
        let rows = rows.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let _ = self.runtime.block_on(connection.close());
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(&self.file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY);
        let connection = self.runtime.block_on(options.connect());
        connection.unwrap_or_else(|error| panic!("{}: {error}", self.file.display()))
    }

    pub(super) fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal", "-migrate"] {
            let mut file = self.file.clone().into_os_string();
            file.push(suffix);
            let _ = std::fs::remove_file(file);
        }
    }
}

/// The lock of a SQLite file.
pub struct HeldFile<'a> {
    runtime: &'a Runtime,
    connection: Option<SqliteConnection>,
}

impl Drop for HeldFile<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}

/// As psql shows it.
fn line(row: &SqliteRow) -> String {
    let columns = (0..row.len()).map(|column| {
        // SQLite makes a text of any value that is not NULL.
        let text: Option<String> = row.try_get_unchecked(column).expect("there is the column");
        text.unwrap_or_default()
    });
    columns.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_can_be_read_but_not_written() {
        let sqlite = Sqlite::new();
        sqlite.query("CREATE TABLE t (a)");
        let write = |connection: &mut SqliteConnection| {
            let sql = raw_sql("PRAGMA busy_timeout = 0; INSERT INTO t VALUES (1)");
            sqlite.runtime.block_on(sql.execute(connection)).is_ok()
        };
        let mut other = sqlite.connect();
        let held = sqlite.hold();
        assert!(!write(&mut other));
        assert_eq!(sqlite.query("SELECT count(*) FROM t"), "0");
        drop(held);
        assert!(write(&mut other));
    }
}
