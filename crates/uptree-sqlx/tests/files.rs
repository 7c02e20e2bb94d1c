//! Files as people write them: applied as sqlx applies them, or refused before anything runs.

mod support;

use std::path::Path;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, raw_sql};
use support::{boot_and_stop, migrations, settings, soon, sqlx_migrator};
use tempfile::TempDir;

/// An empty database of either kind.
struct Database {
    url: String,
    is_postgres: bool,
    _folder: Option<TempDir>,
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Database {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("test.db");
    Database {
        url: format!("sqlite://{}?mode=rwc", file.display()),
        is_postgres: false,
        _folder: Some(folder),
    }
}

#[cfg(feature = "postgres")]
fn postgres(server: &uptree_tests::Postgres, name: &str) -> Database {
    server.create_database(name);
    Database {
        url: server.url(name),
        is_postgres: true,
        _folder: None,
    }
}

impl Database {
    async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let connection = AnyConnection::connect(&self.url).await;
        connection.expect("it is up")
    }

    /// The rows of a query, whose first column is a text.
    async fn query(&self, sql: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let _ = connection.close().await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn ledger(&self) -> Vec<String> {
        let checksum = match self.is_postgres {
            true => "encode(checksum, 'hex')",
            false => "lower(hex(checksum))",
        };
        self.query(&format!(
            "SELECT CAST(version AS TEXT) || ' ' || description || ' ' || {checksum}
             FROM _sqlx_migrations ORDER BY version"
        ))
        .await
    }

    async fn apply(&self, folder: &Path) -> Result<(), String> {
        soon(boot_and_stop(&settings(&self.url, folder))).await
    }

    async fn apply_with_sqlx(&self, folder: &Path) {
        let mut connection = self.connect().await;
        let migrator = sqlx_migrator(folder).await;
        let applied = migrator.run_direct(None, &mut connection, false).await;
        applied.expect("sqlx applies it");
        let _ = connection.close().await;
    }
}

fn a_megabyte() -> String {
    let values = (0..40_000).map(|n| format!("({n}, 'it''s; -- {n}')"));
    let values = values.collect::<Vec<_>>().join(",\n");
    format!("CREATE TABLE big (a INT, b TEXT);\nINSERT INTO big VALUES {values};\n")
}

async fn odd_files_are_applied_as_sqlx_applies_them(ours: &Database, theirs: &Database) {
    let big = a_megabyte();
    let folder = migrations(&[
        ("1_empty.sql", ""),
        ("2_comment.sql", "-- nothing to do\n/* here */ ;\n"),
        (
            "3_crlf.sql",
            "-- a\r\nCREATE TABLE a (\r\n  b TEXT\r\n);\r\n\r\nINSERT INTO a VALUES ('c;\r\nd');\r\n",
        ),
        ("4_no_end.sql", "INSERT INTO a VALUES (';') -- the end"),
        ("5_big.sql", &big),
        ("6_empty_outside.sql", "-- no-transaction\n"),
        (
            "7_more_outside.sql",
            "-- no-transaction\nINSERT INTO a VALUES ('e');",
        ),
        ("0008_zeros.up.sql", "INSERT INTO a VALUES ('ä;🦀')"),
        ("0008_zeros.down.sql", "not for now"),
    ]);
    ours.apply(folder.path()).await.expect("it is applied");
    theirs.apply_with_sqlx(folder.path()).await;
    assert_eq!(ours.ledger().await, theirs.ledger().await);
    for sql in [
        "SELECT b FROM a ORDER BY b",
        "SELECT CAST(count(*) AS TEXT) FROM big",
    ] {
        assert_eq!(ours.query(sql).await, theirs.query(sql).await);
    }
    // And in turn.
    ours.apply_with_sqlx(folder.path()).await;
    theirs.apply(folder.path()).await.expect("it is applied");
}

async fn a_byte_order_mark_is_for_the_checksum_alone(database: &Database) {
    let folder = migrations(&[("1_bom.sql", "\u{feff}CREATE TABLE a (b INT);\r\n")]);
    database.apply(folder.path()).await.expect("it is applied");
    assert_eq!(
        database.query("SELECT CAST(count(*) AS TEXT) FROM a").await,
        ["0"]
    );
    // It is sqlx's.
    database.apply_with_sqlx(folder.path()).await;
}

async fn what_cannot_be_run_is_refused_before_anything_runs(database: &Database) {
    let folder = migrations(&[
        ("1_a.sql", "CREATE TABLE a (b INT);"),
        (
            "2_own.sql",
            "-- ours\nBEGIN;\nCREATE TABLE c (d INT);\nCOMMIT;\n",
        ),
    ]);
    let message = database
        .apply(folder.path())
        .await
        .expect_err("it is refused");
    let expected = "2_own.sql at line 2, column 1: `BEGIN`: a file's transaction is not its own";
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("leave it out"), "{message}");
    let tables = match database.is_postgres {
        true => "SELECT tablename::text FROM pg_tables WHERE tablename IN ('a', 'c')",
        false => "SELECT name FROM sqlite_schema WHERE name IN ('a', 'c')",
    };
    assert_eq!(database.query(tables).await, [""; 0]);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn on_sqlite() {
    odd_files_are_applied_as_sqlx_applies_them(&sqlite(), &sqlite()).await;
    a_byte_order_mark_is_for_the_checksum_alone(&sqlite()).await;
    what_cannot_be_run_is_refused_before_anything_runs(&sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres() {
    let Some(server) = uptree_tests::Postgres::start() else {
        return;
    };
    let database = |name| postgres(&server, name);
    odd_files_are_applied_as_sqlx_applies_them(&database("a"), &database("b")).await;
    a_byte_order_mark_is_for_the_checksum_alone(&database("c")).await;
    what_cannot_be_run_is_refused_before_anything_runs(&database("d")).await;
    what_has_been_applied_is_not_refused(&database("e")).await;
}

/// sqlx takes such files on Postgres, and they cannot be changed any more.
#[cfg(feature = "postgres")]
async fn what_has_been_applied_is_not_refused(database: &Database) {
    let folder = migrations(&[("1_own.sql", "BEGIN;\nCREATE TABLE a (b INT);\nCOMMIT;\n")]);
    database.apply_with_sqlx(folder.path()).await;
    database.apply(folder.path()).await.expect("it is applied");
    support::write(folder.path(), "2_b.sql", "CREATE TABLE b (c INT)");
    database.apply(folder.path()).await.expect("it is applied");
}
