//! How many messages a migration of Postgres takes, and that many files in one are not seen.

#![cfg(feature = "postgres")]

mod support;

use std::fmt::Write;

use support::{boot_and_stop, migrations, settings, soon, write};
use tempfile::TempDir;
use uptree_tests::{Postgres, Proxy};

fn many(count: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for n in 1..=count {
        write(
            folder.path(),
            &format!("{n:04}_t{n}.sql"),
            &format!("CREATE TABLE t{n} (id int);"),
        );
    }
    folder
}

#[tokio::test]
async fn nothing_to_do_costs_one_message_and_each_migration_one_more() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Proxy::to(server.addr());
    let url = proxy.through(&server.create_database("x"));
    let folder = many(1000);
    let settings = settings(&url, folder.path());
    let boot = async || {
        proxy.mark();
        soon(boot_and_stop(&settings)).await.unwrap();
        // The pool asks whether the database is there, by a connection of its own.
        (proxy.round_trips() - 1, proxy.flights())
    };
    let (messages, flights) = boot().await;
    let ledger = "SELECT count(*), count(DISTINCT installed_on) FROM _sqlx_migrations";
    assert_eq!(server.psql("x", ledger), "1000|1000");
    // Where it is and what there is, which is nothing; whether it is its turn; all of them.
    assert_eq!(messages, 3, "{flights}");
    let instances = "SELECT count(*), max(known) FROM _uptree_instances";
    assert_eq!(server.psql("x", instances), "1|1000");
    let (messages, flights) = boot().await;
    assert_eq!(messages, 1, "{flights}");
    assert!(!flights.contains("lock"), "{flights}");
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM pg_prepared_statements"),
        "0"
    );

    for n in 1001..=1004 {
        write(folder.path(), &format!("{n}_t{n}.sql"), "SELECT 1;");
    }
    let (messages, flights) = boot().await;
    assert_eq!(messages, 2 + 4, "{flights}");
}

/// What a folder makes of an empty database: how it ended, and what is in it.
struct Outcome {
    ended: Result<(), String>,
    schema: String,
    data: String,
    ledger: String,
}

async fn outcome(server: &Postgres, database: &str, folders: &[&TempDir]) -> Outcome {
    let url = server.create_database(database);
    let mut ended = Ok(());
    for folder in folders {
        ended = soon(boot_and_stop(&settings(&url, folder.path()))).await;
    }
    let schema = "SELECT table_name, column_name, column_default, data_type
                  FROM information_schema.columns
                  WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
                  UNION ALL SELECT conname, conrelid::regclass::text, condeferrable::text, ''
                  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
                  UNION ALL SELECT relname, relowner::regrole::text, '', '' FROM pg_class
                  WHERE relnamespace = 'public'::regnamespace
                  ORDER BY 1, 2";
    let tables = server.psql(
        database,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '_uptree|_sqlx'
         AND relnamespace = 'public'::regnamespace ORDER BY 1",
    );
    let data = tables.lines().map(|table| {
        let rows = format!("SELECT t::text FROM {table} AS t ORDER BY 1");
        format!("{table}: {}\n", server.psql(database, &rows))
    });
    Outcome {
        ended,
        schema: server.psql(database, schema),
        data: data.collect(),
        ledger: server.psql(
            database,
            "SELECT version, description, success, encode(checksum, 'hex'), execution_time >= 0
             FROM _sqlx_migrations WHERE version > 1 ORDER BY 1",
        ),
    }
}

/// A first file after which nothing goes together any more.
const FIRST: (&str, &str) = (
    "0001_first.sql",
    "CREATE TABLE first (at timestamptz DEFAULT now());",
);

const FOLDERS: &[(&str, &[&str])] = &[
    (
        "a failing file in the middle",
        &[
            "CREATE TABLE a ();",
            "CREATE TABLE b ();\nSELECT 1 / 0;",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "a file that cannot be read",
        &[
            "CREATE TABLE a ();",
            "CREATE TABEL b ();",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "a quote that ends in the next file",
        &[
            "CREATE TABLE a ();",
            "SELECT 'open;",
            "SELECT ';CREATE TABLE c ();",
        ],
    ),
    (
        "a new value that is used in the next file",
        &[
            "CREATE TYPE e AS ENUM ('a');",
            "ALTER TYPE e ADD VALUE 'b';",
            "CREATE TABLE a (e e DEFAULT 'b');\nINSERT INTO a VALUES (DEFAULT);",
        ],
    ),
    (
        "a search path",
        &[
            "CREATE SCHEMA s;",
            "SET search_path = s;\nCREATE TABLE a ();",
            "CREATE TABLE b ();",
            "SELECT set_config('search_path', '', false);",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "a role",
        &[
            "CREATE TABLE a ();",
            "GRANT CREATE, USAGE ON SCHEMA public TO helper;\nSET ROLE helper;\nCREATE TABLE b ();",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "a session's authorization",
        &[
            "CREATE TABLE a ();",
            "GRANT CREATE, USAGE ON SCHEMA public TO helper;\nSET SESSION AUTHORIZATION helper;\nCREATE TABLE b ();",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "settings of a transaction",
        &[
            "SET LOCAL TimeZone = 'Asia/Tokyo';\nCREATE TABLE a (at timestamptz DEFAULT '2000-01-01 00:00:00');",
            "CREATE TABLE b (at timestamptz DEFAULT '2000-01-01 00:00:00');",
            "SET my.own = 'x'; SET statement_timeout = '1h';",
            "CREATE TABLE c AS SELECT current_setting('my.own', true) AS x, current_setting('statement_timeout') AS y;",
        ],
    ),
    (
        "constraints that fail at the end",
        &[
            "CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);",
            "INSERT INTO a VALUES (1), (1);",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "constraints that hold at the end",
        &[
            "CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1);",
            "INSERT INTO a VALUES (1);\nUPDATE a SET id = id + 1 WHERE ctid = (SELECT max(ctid) FROM a);",
        ],
    ),
    (
        "a constraint that fails where it is caught",
        &[
            "CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);",
            "DO $$ BEGIN INSERT INTO a VALUES (1); INSERT INTO a VALUES (1); EXCEPTION WHEN unique_violation THEN NULL; END $$;",
        ],
    ),
    (
        "temporary tables that end with their transaction",
        &[
            "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1 AS x;",
            "CREATE TEMP TABLE IF NOT EXISTS a ON COMMIT DROP AS SELECT 2 AS x;\nCREATE TABLE b AS SELECT * FROM a;",
        ],
    ),
    (
        "an index that wants no transaction",
        &[
            "CREATE TABLE a (id int);",
            "CREATE INDEX CONCURRENTLY i ON a (id);",
            "CREATE TABLE c ();",
        ],
    ),
    (
        "discard all",
        &["CREATE TABLE a ();", "DISCARD ALL;", "CREATE TABLE c ();"],
    ),
    (
        "discard parts",
        &[
            "CREATE TABLE a (id serial);\nINSERT INTO a VALUES (DEFAULT);",
            "DISCARD PLANS;\nDISCARD SEQUENCES;",
            "SELECT currval('a_id_seq');",
        ],
    ),
    (
        "listen and notify",
        &[
            "LISTEN a;",
            "NOTIFY a, 'x';",
            "UNLISTEN *;\nCREATE TABLE c ();",
        ],
    ),
    (
        "locks of the file's own",
        &[
            "SELECT pg_advisory_lock(1);\nSELECT pg_advisory_xact_lock(2);",
            "CREATE TABLE a AS SELECT pg_try_advisory_lock(1), pg_try_advisory_xact_lock(2), pg_advisory_unlock(1);",
        ],
    ),
    (
        "prepared statements",
        &[
            "PREPARE p AS SELECT 1 AS x;",
            "CREATE TABLE a AS EXECUTE p;",
            "DEALLOCATE p;",
            "EXECUTE p;",
        ],
    ),
    (
        "a cursor that is over",
        &[
            "CREATE TABLE a ();\nDECLARE c CURSOR FOR SELECT * FROM a;",
            "CREATE TABLE b ();\nCLOSE c;",
        ],
    ),
    (
        "the time of a transaction",
        &[
            "CREATE TABLE a (at timestamptz DEFAULT now());",
            "INSERT INTO a VALUES (DEFAULT), (DEFAULT);",
            "INSERT INTO a VALUES (DEFAULT);",
            "CREATE TABLE b AS SELECT count(*) AS x, count(DISTINCT at) AS y FROM a;\nDROP TABLE a;",
        ],
    ),
    (
        "savepoints of another file",
        &[
            "CREATE TABLE a ();\nSAVEPOINT s;",
            "CREATE TABLE b ();",
            "ROLLBACK TO s;",
        ],
    ),
    (
        "an isolation level",
        &[
            "CREATE TABLE a AS SELECT current_setting('transaction_isolation') AS level;",
            "-- first\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nINSERT INTO a SELECT current_setting('transaction_isolation');",
            "INSERT INTO a SELECT current_setting('transaction_isolation');",
        ],
    ),
    (
        "an isolation level too late",
        &[
            "CREATE TABLE a ();",
            "SELECT 1;\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
        ],
    ),
    (
        "a transaction that may only read",
        &[
            "CREATE TABLE a ();",
            "SET TRANSACTION READ ONLY;\nSELECT 1;",
        ],
    ),
    (
        "nothing",
        &[
            "",
            "-- only a comment",
            ";;",
            "/* and */ ; -- that\n",
            "CREATE TABLE a ();",
        ],
    ),
    (
        "a function with statements of its own",
        &[
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;",
            "CREATE TABLE a AS SELECT f();\nDO $$ BEGIN PERFORM 1; END $$;",
        ],
    ),
    (
        "a strict reading of strings",
        &[
            "SET standard_conforming_strings = off;",
            "CREATE TABLE a AS SELECT 'a\\nb' AS x;",
        ],
    ),
];

#[tokio::test]
async fn that_files_go_together_on_an_empty_database_cannot_be_seen() {
    let Some(server) = Postgres::start() else {
        return;
    };
    server.psql("postgres", "CREATE ROLE helper");
    for (n, (what, texts)) in FOLDERS.iter().enumerate() {
        let first = migrations(&[FIRST]);
        let folder = migrations(&[FIRST]);
        for (n, text) in texts.iter().enumerate() {
            write(folder.path(), &format!("{:04}_file{n}.sql", n + 2), text);
        }
        let together = outcome(&server, &format!("together{n}"), &[&folder]).await;
        let single = outcome(&server, &format!("single{n}"), &[&first, &folder]).await;
        assert_eq!(together.ended, single.ended, "{what}");
        assert_eq!(together.schema, single.schema, "{what}");
        assert_eq!(together.data, single.data, "{what}");
        assert_eq!(together.ledger, single.ledger, "{what}");
        println!(
            "{what}: {}",
            single.ended.err().unwrap_or_default().replace('\n', " ")
        );
        for database in ["together", "single"] {
            server.psql(
                "postgres",
                &format!("DROP DATABASE {database}{n} WITH (FORCE)"),
            );
        }
        server.psql("postgres", "DROP OWNED BY helper");
    }
}

#[tokio::test]
async fn a_megabyte_of_inserts_is_one_message() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Proxy::to(server.addr());
    let url = proxy.through(&server.create_database("x"));
    let folder = migrations(&[("0001_t.sql", "CREATE TABLE t (id int, x text);")]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    let mut inserts = String::new();
    for n in 0..10_000 {
        let text = "für ; -- ".repeat(10);
        writeln!(inserts, "INSERT INTO t VALUES ({n}, '{text}');").expect("a string takes all");
    }
    assert!(inserts.len() > 1_000_000);
    write(folder.path(), "0002_data.sql", &inserts);
    proxy.mark();
    soon(boot_and_stop(&settings)).await.unwrap();
    assert_eq!(server.psql("x", "SELECT count(*) FROM t"), "10000");
    assert_eq!(proxy.round_trips() - 1, 3);
    // One of them fails: it is named by its line.
    write(
        folder.path(),
        "0003_data.sql",
        &(inserts + "INSERT INTO t\nVALUES (1 / 0);\n"),
    );
    let failure = soon(boot_and_stop(&settings)).await.unwrap_err();
    assert!(
        failure.contains("0003_data.sql failed at line 10001\n"),
        "{failure}"
    );
}
