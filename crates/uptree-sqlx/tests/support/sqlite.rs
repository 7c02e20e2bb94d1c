//! A SQLite file of a test's own.

use sqlx::{
    ConnectOptions, Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tempfile::TempDir;

pub(crate) struct Database {
    pub(crate) folder: TempDir,
}

impl Database {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        Self { folder }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("test.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.path().display())
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        let options: SqliteConnectOptions = self.url().parse().expect("a URL");
        options.connect().await.expect("the file can be opened")
    }

    /// One row a line, columns separated by `|`.
    pub(crate) async fn query(&self, sql: &'static str) -> String {
        let mut connection = self.connect().await;
        let rows = sqlx::raw_sql(sql)
            .fetch_all(&mut connection)
            .await
            .expect(sql);
        connection.close().await.expect("it can be closed");
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let columns = (0..row.len()).map(|n| {
                    row.try_get_unchecked::<String, _>(n)
                        .or_else(|_| row.try_get_unchecked::<i64, _>(n).map(|n| n.to_string()))
                        .expect("a text or a number")
                });
                columns.collect::<Vec<_>>().join("|")
            })
            .collect();
        rows.join("\n")
    }

    pub(crate) async fn ledger(&self) -> String {
        self.query("SELECT version, description, success, hex(checksum) FROM _sqlx_migrations ORDER BY version")
            .await
    }
}
