//! The ledger: the table that says which migrations have been applied.
//!
//! It is sqlx's own, `_sqlx_migrations`, to the letter, so that `sqlx migrate` and this crate can
//! be used on one database in turn.

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: i64,
    pub(crate) description: String,
    /// SHA-384 of the file.
    pub(crate) checksum: Vec<u8>,
    /// `false`: begun and not finished.
    pub(crate) success: bool,
}

/// The columns of a [`Row`], in its order.
pub(crate) const COLUMNS: &str = "version, description, checksum, success";

#[cfg(feature = "postgres")]
pub(crate) fn create_on_postgres(table: &str) -> String {
    create(table, ["TIMESTAMPTZ NOT NULL DEFAULT now()", "BYTEA"])
}

#[cfg(feature = "sqlite")]
pub(crate) fn create_on_sqlite(table: &str) -> String {
    create(
        table,
        ["TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "BLOB"],
    )
}

#[cfg(feature = "mysql")]
pub(crate) fn create_on_mysql(table: &str) -> String {
    create(
        table,
        ["TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "BLOB"],
    )
}

/// SQLite keeps the text: it is sqlx's with its line breaks.
fn create(table: &str, [installed_on, checksum]: [&str; 2]) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on {installed_on},
    success BOOLEAN NOT NULL,
    checksum {checksum} NOT NULL,
    execution_time BIGINT NOT NULL
);"
    )
}
