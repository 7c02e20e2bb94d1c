//! Files on SQLite: as people write them, and what they must not do in silence.

#![cfg(feature = "sqlite")]

mod support;

use std::fmt::Write;

use sqlx::Connection;
use support::{
    Service, boot_and_stop, migrations, settings, sqlite::Database, sqlx_migrator, write,
};

/// Two tables, one of which refers to the other, with a row each.
const FAMILY: (&str, &str) = (
    "0001_family.sql",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
     CREATE TABLE child (id INTEGER PRIMARY KEY,
                         parent INTEGER REFERENCES parent ON DELETE CASCADE);
     INSERT INTO parent VALUES (1, 'one'), (2, 'two');
     INSERT INTO child VALUES (10, 1), (20, 2);",
);

/// A table is rebuilt as SQLite's manual tells it.
const REBUILD: &str = "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO parent_new SELECT id, name FROM parent;
DROP TABLE parent;
ALTER TABLE parent_new RENAME TO parent;
";

async fn family() -> (Database, tempfile::TempDir) {
    let database = Database::new();
    let folder = migrations(&[FAMILY]);
    boot_and_stop(&settings(&database.url(), folder.path()))
        .await
        .expect("two tables");
    (database, folder)
}

/// Applies one more file to the two tables: what the boot fails with.
async fn apply(file: &str) -> (Database, Result<(), String>) {
    let (database, folder) = family().await;
    write(folder.path(), "0002_next.sql", file);
    let outcome = boot_and_stop(&settings(&database.url(), folder.path())).await;
    (database, outcome)
}

#[tokio::test]
async fn a_table_is_rebuilt_without_foreign_keys_where_a_file_says_so() {
    for off in ["PRAGMA foreign_keys = OFF;", "pragma foreign_keys=0;"] {
        let file = format!("{off}\n{REBUILD}PRAGMA foreign_keys = ON;\n");
        let (database, outcome) = apply(&file).await;
        assert_eq!(outcome, Ok(()));
        let children = "SELECT count(*) FROM child JOIN parent ON parent.id = child.parent";
        assert_eq!(database.query(children).await, "2", "nothing was deleted");
        assert_eq!(database.ledger().await.lines().count(), 2);
    }
}

#[tokio::test]
async fn sqlx_itself_empties_the_children_in_silence() {
    // Why there is more to it here. Once this fails, sqlx does it right as well.
    let (database, folder) = family().await;
    let file = format!("PRAGMA foreign_keys = OFF;\n{REBUILD}");
    write(folder.path(), "0002_next.sql", &file);
    let mut connection = database.connect().await;
    let migrator = sqlx_migrator(folder.path()).await;
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM child").await, "0");
}

#[tokio::test]
async fn a_rebuild_that_would_empty_other_tables_is_refused() {
    let renamed_first = "ALTER TABLE parent RENAME TO old;
        CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO parent SELECT * FROM old;
        DROP TABLE old;";
    let deferred = format!("PRAGMA defer_foreign_keys = ON;\n{REBUILD}");
    let stepwise = format!("-- no-transaction\n{REBUILD}");
    let unsure = format!("{REBUILD}/* this comment has no end");
    for (file, place) in [
        (REBUILD, "line 3, column 1"),
        (renamed_first, "line 4, column 9"),
        (&deferred, "line 4, column 1"),
        (&stepwise, "line 4, column 1"),
        (&unsure, "line 3, column 1"),
    ] {
        let (database, outcome) = apply(file).await;
        let failure = outcome.unwrap_err();
        assert!(
            failure.contains(&format!(
                "migration 0002_next.sql failed\n  caused by: {place}: "
            )),
            "{failure}"
        );
        assert!(
            failure.contains("would delete rows of child, whose foreign key is ON DELETE CASCADE"),
            "{failure}"
        );
        assert!(
            failure.contains("help: put `PRAGMA foreign_keys = OFF;`"),
            "{failure}"
        );
        assert_eq!(database.query("SELECT count(*) FROM child").await, "2");
    }
}

#[tokio::test]
async fn a_rebuild_that_takes_no_rows_with_it_is_run() {
    for before in [
        "DELETE FROM child;",
        "UPDATE child SET parent = NULL;",
        "DROP TABLE child;",
        "CREATE TABLE other (id INTEGER REFERENCES parent ON DELETE SET NULL); DELETE FROM child;",
    ] {
        let (database, outcome) = apply(&format!("{before}\n{REBUILD}")).await;
        assert_eq!(outcome, Ok(()), "{before}");
        assert_eq!(database.query("SELECT count(*) FROM parent").await, "2");
    }
    // A child that goes as well.
    let (_database, outcome) = apply(&format!("{REBUILD}DROP TABLE child;")).await;
    assert_eq!(outcome, Ok(()));
    // For good: it was declared that the rows go too.
    let (database, outcome) = apply("DROP TABLE parent;").await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(database.query("SELECT count(*) FROM child").await, "0");
}

#[tokio::test]
async fn rows_that_would_be_set_to_null_are_kept_as_well() {
    let (_database, outcome) = apply(&format!(
        "CREATE TABLE pet (parent INTEGER REFERENCES parent (id) ON DELETE SET NULL);
         INSERT INTO pet VALUES (1);
         DELETE FROM child;
         {REBUILD}"
    ))
    .await;
    let failure = outcome.unwrap_err();
    assert!(
        failure.contains("would change rows of pet, whose foreign key is ON DELETE SET NULL"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_file_without_foreign_keys_may_not_leave_rows_that_refer_to_nothing() {
    let orphan = "PRAGMA foreign_keys = OFF;\nDELETE FROM parent WHERE id = 1;";
    let (database, outcome) = apply(orphan).await;
    let failure = outcome.unwrap_err();
    assert!(
        failure.contains(
            "caused by: it would leave foreign keys that refer to nothing: 1 row of child to parent"
        ),
        "{failure}"
    );
    assert_eq!(database.query("SELECT count(*) FROM parent").await, "2");

    // Those that were there before are not the file's.
    database
        .query("PRAGMA foreign_keys = OFF; DELETE FROM parent WHERE id = 2")
        .await;
    let folder = migrations(&[FAMILY, ("0002_next.sql", orphan)]);
    let settings = settings(&database.url(), folder.path());
    let failure = boot_and_stop(&settings).await.unwrap_err();
    assert!(failure.contains("1 row of child to parent"), "{failure}");
    let rebuild = format!("PRAGMA foreign_keys = OFF;\n{REBUILD}");
    write(folder.path(), "0002_next.sql", &rebuild);
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM child").await, "2");
}

#[tokio::test]
async fn what_a_file_sets_does_not_reach_the_next() {
    for (name, first) in [
        ("an attached file", "ATTACH ':memory:' AS other;"),
        ("a temporary table", "CREATE TEMP TABLE child (x);"),
        ("a setting", "PRAGMA recursive_triggers = ON;"),
        (
            "a transaction",
            "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = ON;
             PRAGMA ignore_check_constraints = ON; PRAGMA legacy_alter_table = ON;
             PRAGMA case_sensitive_like = ON; PRAGMA cache_size = 77;
             CREATE TEMP TABLE child (x); ATTACH ':memory:' AS other;",
        ),
        (
            "none",
            "-- no-transaction
             PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = ON;
             PRAGMA ignore_check_constraints = ON; PRAGMA legacy_alter_table = ON;
             PRAGMA case_sensitive_like = ON; PRAGMA cache_size = 77;
             PRAGMA synchronous = OFF; PRAGMA query_only = OFF;
             CREATE TEMP TABLE child (x); ATTACH ':memory:' AS other;",
        ),
    ] {
        let (database, folder) = family().await;
        write(folder.path(), "0002_sets.sql", first);
        write(
            folder.path(),
            "0003_next.sql",
            "CREATE TABLE found AS SELECT
                (SELECT foreign_keys FROM pragma_foreign_keys) AS keys,
                (SELECT recursive_triggers FROM pragma_recursive_triggers) AS triggers,
                (SELECT ignore_check_constraints FROM pragma_ignore_check_constraints) AS checks,
                (SELECT legacy_alter_table FROM pragma_legacy_alter_table) AS legacy,
                (SELECT synchronous FROM pragma_synchronous) AS synchronous,
                (SELECT cache_size = 77 FROM pragma_cache_size) AS cache,
                'A' LIKE 'a' AS alike,
                (SELECT count(*) FROM pragma_database_list WHERE name = 'other') AS attached,
                (SELECT count(*) FROM sqlite_temp_schema) AS temporary;",
        );
        boot_and_stop(&settings(&database.url(), folder.path()))
            .await
            .unwrap();
        let found = database.query("SELECT * FROM found").await;
        assert_eq!(found, "1|0|0|0|2|0|1|0|0", "{name}");
    }
}

#[tokio::test]
async fn files_that_are_run_in_one_transaction_end_as_if_each_had_its_own() {
    // One that fails: those before it stay, with their rows, and nothing of its own does.
    let broken = "CREATE TABLE c (id); INSERT INTO a VALUES (1); INSERT INTO a VALUES (1);";
    // What is deferred is checked when each file ends: the third would mend it.
    let deferred = "CREATE TABLE d (a REFERENCES a DEFERRABLE INITIALLY DEFERRED);";
    let orphan = "INSERT INTO d VALUES (7);";
    let rolls_back = "CREATE TABLE e (id INTEGER PRIMARY KEY ON CONFLICT ROLLBACK);
        INSERT INTO e VALUES (1); INSERT INTO e VALUES (1);";
    for (files, applied, error) in [
        (
            &[
                ("0002_b.sql", "CREATE TABLE b (id)"),
                ("0003_c.sql", broken),
            ][..],
            2,
            "0003_c.sql failed at line 1\n  caused by: UNIQUE constraint failed: a.id",
        ),
        (
            &[
                ("0002_d.sql", deferred),
                ("0003_orphan.sql", orphan),
                ("0004_mend.sql", "INSERT INTO a VALUES (7)"),
            ],
            2,
            "0003_orphan.sql failed\n  caused by: FOREIGN KEY constraint failed",
        ),
        (
            &[
                ("0002_b.sql", "CREATE TABLE b (id)"),
                ("0003_e.sql", rolls_back),
            ],
            2,
            "0003_e.sql failed at line 2\n  caused by: UNIQUE constraint failed: e.id",
        ),
    ] {
        let database = Database::new();
        let folder = migrations(&[("0001_a.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY)")]);
        for (name, sql) in files {
            write(folder.path(), name, sql);
        }
        write(folder.path(), "0009_last.sql", "CREATE TABLE last (id)");
        let settings = settings(&database.url(), folder.path());
        let failure = boot_and_stop(&settings).await.unwrap_err();
        assert!(failure.contains(error), "{failure}");
        assert_eq!(database.ledger().await.lines().count(), applied);
        assert_eq!(database.query("SELECT count(*) FROM a").await, "0");
        let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
                      AND name NOT LIKE '\\_%' ESCAPE '\\'";
        assert_eq!(database.query(tables).await, applied.to_string());
    }
}

#[tokio::test]
async fn files_are_taken_as_people_write_them() {
    let mut inserts = String::new();
    let value = "x".repeat(100);
    for id in 0..10_000 {
        writeln!(inserts, "INSERT INTO big VALUES ({id}, '{value};');").unwrap();
    }
    assert!(inserts.len() > 1_000_000);
    let files = [
        ("0001_bom.sql", "\u{feff}CREATE TABLE bom (id INTEGER);"),
        (
            "0002_crlf.sql",
            "-- comment\r\nCREATE TABLE crlf (id INTEGER);\r\n\r\nINSERT INTO crlf VALUES (1);\r\n",
        ),
        ("0003_empty.sql", ""),
        (
            "0004_comment.sql",
            "-- nothing yet; later\n/* or ; never */",
        ),
        (
            "0005_semicolons.sql",
            ";;\n; CREATE TABLE semicolons (id);;",
        ),
        (
            "0006_trigger.sql",
            "CREATE TRIGGER t AFTER INSERT ON crlf WHEN new.id > 5 BEGIN
                INSERT INTO bom VALUES (new.id);
                UPDATE bom SET id = CASE WHEN id > 7 THEN 0 ELSE 1 END;
             END;
             INSERT INTO crlf VALUES (8);",
        ),
        (
            "0007_big.sql",
            &format!("CREATE TABLE big (id, text);\n{inserts}"),
        ),
        (
            "0008_quotes.sql",
            "INSERT INTO big VALUES ('it''s;', \"--\"\n);".trim(),
        ),
        ("0009_no_newline.sql", "SELECT count(*) FROM big"),
        (
            "0010_select.sql",
            "SELECT * FROM big; SELECT 1; VALUES (1), (2);",
        ),
    ];
    let files = files.map(|(name, sql)| match name {
        // A name in double quotes is a string where there is no such column; not in all builds.
        "0008_quotes.sql" => (name, "INSERT INTO big VALUES ('it''s;', '--');"),
        _ => (name, sql),
    });
    let (ours, theirs) = (Database::new(), Database::new());
    let folder = migrations(&files);
    boot_and_stop(&settings(&ours.url(), folder.path()))
        .await
        .unwrap();
    let mut connection = theirs.connect().await;
    let migrator = sqlx_migrator(folder.path()).await;
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(ours.ledger().await, theirs.ledger().await);
    for sql in [
        "SELECT count(*), sum(length(text)) FROM big",
        "SELECT id FROM bom",
        "SELECT id FROM crlf ORDER BY id",
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE '\\_uptree%' ESCAPE '\\' \
         AND name NOT LIKE 'sqlite_%' ORDER BY name",
    ] {
        assert_eq!(ours.query(sql).await, theirs.query(sql).await, "{sql}");
    }
}

#[tokio::test]
async fn a_full_disk_rolls_back_and_is_told() {
    let database = Database::new();
    let full = "CREATE TABLE big (text);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
        INSERT INTO big SELECT hex(zeroblob(1000)) FROM n;";
    let folder = migrations(&[
        ("0001_a.sql", "CREATE TABLE a (id)"),
        (
            "0002_full.sql",
            &format!("PRAGMA max_page_count = 30;\n{full}"),
        ),
    ]);
    let settings = settings(&database.url(), folder.path());
    let failure = boot_and_stop(&settings).await.unwrap_err();
    assert!(
        failure.contains(
            "0002_full.sql failed at line 3\n  caused by: database or disk is full (SQLite code 13)"
        ),
        "{failure}"
    );
    assert!(failure.contains("help: make room"), "{failure}");
    assert_eq!(database.ledger().await.lines().count(), 1);
    write(folder.path(), "0002_full.sql", full);
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM big").await, "1000");
}

#[tokio::test]
async fn progress_names_the_statement() {
    let database = Database::new();
    let folder = migrations(&[(
        "0001_slow.sql",
        "CREATE TABLE a (id);
         INSERT INTO a VALUES (1);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000)
         INSERT INTO a SELECT max(i) FROM n;
         INSERT INTO a VALUES (2);",
    )]);
    let mut service = Service::spawn(&settings(&database.url(), folder.path()));
    service
        .event(&["progress 0/1 0001_slow.sql, statement 3 of 4"])
        .await;
    service.stop().await;
}
