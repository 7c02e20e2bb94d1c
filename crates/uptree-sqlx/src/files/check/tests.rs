use super::*;

fn found(dialect: Dialect, sql: &str) -> Findings {
    check(&File::with_sql(1, "a", sql), dialect)
}

/// What is refused, without the file and without what is said of all of its kind.
#[track_caller]
fn refused(dialect: Dialect, sql: &str) -> Option<String> {
    let refusals = found(dialect, sql).refusals;
    assert!(refusals.len() <= 1, "{sql:?}: {refusals:?}");
    let refusal = refusals.first()?;
    assert!(!refusal.remedy().is_empty());
    let message = refusal.to_string();
    let message = message.strip_prefix("0001_a.sql at line ").unwrap();
    Some(message.replace(OWN_TRANSACTION, "own"))
}

#[test]
fn what_only_a_client_can_run_is_refused() {
    for (dialect, sql, expected) in [
        (
            Dialect::Postgres,
            "SELECT 1;\n\\i other.sql\n",
            "2, column 1: `\\i` is a command of psql, not of the server",
        ),
        (
            Dialect::Postgres,
            "\\restrict abc\n\nSET x = 1;",
            "1, column 1: `\\restrict` is a command of psql, not of the server",
        ),
        (
            Dialect::Postgres,
            "  \\copy a from 'it''s.csv'\nSELECT 'open",
            "1, column 3: `\\copy` is a command of psql, not of the server",
        ),
        (
            Dialect::Postgres,
            "SELECT 'DROP' \\gexec",
            "1, column 15: `\\gexec` is a command of psql, not of the server",
        ),
        (
            Dialect::Postgres,
            "SELECT 1;\ncopy s.a (b, c) from STDIN WITH (FORMAT csv);\n1\tit's\n\\.\n",
            "2, column 1: `COPY .. FROM STDIN` reads data that only a client sends",
        ),
        (
            Dialect::Postgres,
            "COPY (SELECT 1) TO STDOUT",
            "1, column 1: `COPY .. TO STDOUT` sends data that only a client takes",
        ),
        (
            Dialect::MySql,
            "-- a\nDELIMITER $$\nCREATE PROCEDURE p() BEGIN SELECT 1; END$$\n",
            "2, column 1: `DELIMITER` is a command of mysql, not of the server",
        ),
        (
            Dialect::MySql,
            "SELECT 1;\ndelimiter ;\n",
            "2, column 1: `DELIMITER` is a command of mysql, not of the server",
        ),
        (
            Dialect::MySql,
            "source other.sql;",
            "1, column 1: `SOURCE` is a command of mysql, not of the server",
        ),
        (
            Dialect::MySql,
            "SELECT 1\\G",
            "1, column 9: `\\G` is a command of mysql, not of the server",
        ),
        (
            Dialect::MySql,
            "LOAD DATA LOCAL INFILE 'a' INTO TABLE b",
            "1, column 1: `LOAD DATA LOCAL` reads a file that only a client sends",
        ),
        (
            Dialect::Sqlite,
            ".mode csv\n.import a b\n",
            "1, column 1: `.mode` is a command of sqlite3, not of SQLite",
        ),
        (
            Dialect::Sqlite,
            "SELECT 1;\n.read other.sql\nSELECT 2;",
            "2, column 1: `.read` is a command of sqlite3, not of SQLite",
        ),
        (
            Dialect::Sqlite,
            "SELECT 1;\nSELECT '\0'",
            "2, column 9: a NUL byte ends what a server reads",
        ),
    ] {
        assert_eq!(refused(dialect, sql).as_deref(), Some(expected), "{sql:?}");
    }
}

#[test]
fn a_file_does_not_begin_or_end_its_transaction() {
    use Dialect::{MySql, Postgres, Sqlite};
    for (dialects, sql, expected) in [
        (
            &[Postgres, Sqlite][..],
            "BEGIN; SELECT 1",
            "1, column 1: `BEGIN`: own",
        ),
        (
            &[Postgres, MySql],
            "SELECT 1;\nstart transaction",
            "2, column 1: `start transaction`: own",
        ),
        (
            &[Postgres, Sqlite, MySql],
            "SELECT 1; COMMIT;",
            "1, column 11: `COMMIT`: own",
        ),
        (
            &[Postgres, Sqlite, MySql],
            "ROLLBACK",
            "1, column 1: `ROLLBACK`: own",
        ),
        (
            &[Postgres, Sqlite],
            "END TRANSACTION;",
            "1, column 1: `END TRANSACTION`: own",
        ),
        (&[Postgres], "ABORT", "1, column 1: `ABORT`: own"),
        (
            &[Postgres],
            "PREPARE TRANSACTION 'a'",
            "1, column 1: `PREPARE TRANSACTION 'a'`: own",
        ),
        (
            &[Sqlite],
            "-- no-transaction\nBEGIN IMMEDIATE",
            "2, column 1: `BEGIN IMMEDIATE`: own",
        ),
        (&[MySql], "XA START 'a'", "1, column 1: `XA START 'a'`: own"),
    ] {
        for dialect in dialects {
            let refused = refused(*dialect, sql);
            assert_eq!(refused.as_deref(), Some(expected), "{sql:?} {dialect:?}");
        }
    }
    // Each is told.
    let both = found(Postgres, "BEGIN; SELECT 1; COMMIT;").refusals;
    assert_eq!(both.len(), 2);
}

#[test]
fn what_only_looks_like_it_is_not_refused() {
    use Dialect::{MySql, Postgres, Sqlite};
    for (dialects, sql) in [
        (&[Postgres, Sqlite, MySql][..], ""),
        (
            &[Postgres, Sqlite, MySql],
            "-- BEGIN;\n/* COMMIT; */ SELECT 'BEGIN;'",
        ),
        (
            &[Postgres, Sqlite, MySql],
            "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a",
        ),
        (&[Postgres], "SELECT '\n\\i other.sql\n'; SELECT E'\\\\'"),
        (&[Postgres], "DO $$ BEGIN COMMIT; END $$"),
        (
            &[Postgres],
            "DO $$\nBEGIN\n  COPY a FROM STDIN;\n\\copy\nEND $$",
        ),
        (
            &[Postgres],
            "COPY a FROM '/srv/stdin'; COPY a TO PROGRAM 'cat'",
        ),
        (
            &[Postgres],
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        ),
        (
            &[Postgres],
            "SET CONSTRAINTS ALL DEFERRED; SET TRANSACTION READ WRITE",
        ),
        (
            &[Sqlite],
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END",
        ),
        (&[Sqlite], "SELECT .5; SELECT a.b FROM a"),
        (
            &[MySql],
            "CREATE PROCEDURE p() BEGIN START TRANSACTION; COMMIT; END",
        ),
        (&[MySql], "SELECT '\\\\i', \\N; SELECT 1 AS delimiter"),
        (&[MySql], "LOAD DATA INFILE 'a' INTO TABLE b"),
        (&[MySql], "BEGIN NOT ATOMIC SELECT 1; END"),
    ] {
        for dialect in dialects {
            assert_eq!(refused(*dialect, sql), None, "{sql:?} {dialect:?}");
        }
    }
}

#[track_caller]
fn warned(dialect: Dialect, sql: &str) -> Vec<String> {
    let findings = found(dialect, sql);
    assert!(findings.refusals.is_empty(), "{:?}", findings.refusals);
    findings.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_needs_to_be_outside_a_transaction_is_warned_of() {
    let sql = "SELECT 1;\nCREATE INDEX CONCURRENTLY i ON a (b);";
    let expected = "0001_a.sql, line 2: `CREATE INDEX CONCURRENTLY` cannot run in a transaction: \
                    give it a file of its own that begins with `-- no-transaction`";
    assert_eq!(warned(Dialect::Postgres, sql), [expected]);
    assert_eq!(warned(Dialect::Sqlite, "VACUUM").len(), 1);
    for (dialect, sql) in [
        (
            Dialect::Postgres,
            "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b)",
        ),
        (Dialect::Postgres, "ALTER TYPE a ADD VALUE 'b'"),
        (Dialect::Sqlite, "PRAGMA foreign_keys = off"),
        (Dialect::MySql, "CREATE TABLE a (b int)"),
    ] {
        assert_eq!(warned(dialect, sql), [""; 0], "{sql}");
    }
}

#[test]
fn many_rows_before_a_strong_lock_are_warned_of() {
    let sql = "UPDATE a SET b = 1;\n\nALTER TABLE c ADD d int";
    let expected = "0001_a.sql, line 1: `UPDATE a SET` may change many rows, and is done again \
                    each time that `ALTER TABLE c` in line 3 does not get its lock at once: put it \
                    into a migration of its own";
    assert_eq!(warned(Dialect::Postgres, sql), [expected]);
    for (sql, is_warned) in [
        ("DELETE FROM ONLY a; DROP TABLE b", true),
        ("INSERT INTO a SELECT * FROM b; CREATE INDEX ON a (b)", true),
        (
            "WITH c AS (SELECT 1) UPDATE a SET b = 1; ALTER TABLE a ADD c int",
            true,
        ),
        (
            "WITH c AS (DELETE FROM a RETURNING *) SELECT 1; DROP TABLE d",
            true,
        ),
        (
            "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE; DROP TABLE b",
            true,
        ),
        (
            "CREATE TABLE a (b int); UPDATE c SET d = 1; ALTER TABLE c ADD e int",
            true,
        ),
        // The other way round, or not both.
        ("ALTER TABLE a ADD c int; UPDATE a SET c = 1", false),
        ("UPDATE a SET c = 1; COMMENT ON TABLE a IS ''", false),
        ("UPDATE a SET c = 1; CREATE TABLE b (c int)", false),
        // Few rows.
        (
            "INSERT INTO a VALUES (1), (2); ALTER TABLE a ADD c int",
            false,
        ),
        (
            "INSERT INTO a SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM a); DROP TABLE b",
            false,
        ),
        (
            "DELETE FROM a WHERE b IN (SELECT b FROM a LIMIT 9); DROP TABLE b",
            false,
        ),
        ("SELECT 1 FROM a FOR UPDATE; DROP TABLE b", false),
        (
            "WITH c AS (SELECT 1 FROM a FOR UPDATE) SELECT 1; DROP TABLE b",
            false,
        ),
        // Tables that nobody else knows.
        (
            "CREATE TABLE a AS SELECT 1; UPDATE a SET b = 1; DROP TABLE c",
            false,
        ),
        (
            "CREATE TABLE \"A\" (b int); UPDATE s.\"A\" SET b = 1; DROP TABLE c",
            false,
        ),
        (
            "CREATE TABLE a (b int); INSERT INTO c SELECT 1 FROM d; CREATE INDEX ON a (b)",
            false,
        ),
        // Nothing is rolled back.
        (
            "-- no-transaction\nUPDATE a SET b = 1; ALTER TABLE c ADD d int",
            false,
        ),
    ] {
        let warned = !warned(Dialect::Postgres, sql).is_empty();
        assert_eq!(warned, is_warned, "{sql}");
    }
    for dialect in [Dialect::Sqlite, Dialect::MySql] {
        assert_eq!(warned(dialect, sql), [""; 0]);
    }
}

#[test]
fn what_is_required_must_be_there() {
    let file = |version, requires: i64| {
        File::with_sql(version, "a", &format!("-- requires: {requires}\n"))
    };
    assert!(check_requires(&[]).is_empty());
    assert!(check_requires(&[file(1, 1), file(2, 1)]).is_empty());
    assert!(check_requires(&[file(1, 2), file(2, 2)]).is_empty());
    let errors = check_requires(&[file(1, 3), file(2, 1)]);
    let [error] = &*errors else {
        panic!("{errors:?}")
    };
    assert_eq!(
        error.to_string(),
        "0001_a.sql requires migration 3, and the newest is 2"
    );
}
