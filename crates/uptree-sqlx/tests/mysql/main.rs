//! The repo and the migrator on MariaDB.

#![cfg(feature = "mysql")]

#[path = "../support/mod.rs"]
mod support;

mod connecting;
mod files;
mod others;

use sqlx::{ConnectOptions, mysql::MySqlConnectOptions};
use support::eventually;
use uptree_tests::MariaDb;

pub(crate) const TABLES: &[(&str, &str)] = &[
    ("0001_a.sql", "CREATE TABLE a (id BIGINT PRIMARY KEY);"),
    (
        "0002_b.sql",
        "CREATE TABLE b (id BIGINT PRIMARY KEY);\nINSERT INTO b VALUES (1);",
    ),
    (
        "0003_view.sql",
        "CREATE VIEW v AS SELECT id FROM b;\n-- für später\nINSERT INTO a SELECT id FROM v;",
    ),
];

pub(crate) const SLEEP: (&str, &str) = (
    "0002_sleep.sql",
    "CREATE TABLE s (id INT);\nINSERT INTO s SELECT SLEEP(30);",
);

pub(crate) const LEDGER: &str = "SELECT version, description, success, HEX(checksum)
                      FROM _sqlx_migrations ORDER BY version";
pub(crate) const SESSIONS: &str =
    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'x'";
pub(crate) const SLEEPING: &str = "SELECT COUNT(*) FROM information_schema.processlist
                        WHERE db = 'x' AND state = 'User sleep'";

pub(crate) async fn connect(url: &str) -> sqlx::MySqlConnection {
    let options: MySqlConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

pub(crate) async fn until(server: &MariaDb, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.query(database, sql) == answer).then_some(())).await;
}

/// Tables, columns, indexes, foreign keys, views, and the ledger.
pub(crate) fn schema(server: &MariaDb, database: &str) -> String {
    let columns = "SELECT table_name, column_name, column_default, is_nullable, column_type, extra
                   FROM information_schema.columns WHERE table_schema = DATABASE()
                   AND table_name NOT LIKE '\\_uptree%' ORDER BY 1, 2";
    let indexes = "SELECT table_name, index_name, seq_in_index, column_name
                   FROM information_schema.statistics WHERE table_schema = DATABASE()
                   AND table_name NOT LIKE '\\_uptree%' ORDER BY 1, 2, 3";
    [columns, indexes, LEDGER]
        .map(|sql| server.query(database, sql))
        .join("\n")
}
