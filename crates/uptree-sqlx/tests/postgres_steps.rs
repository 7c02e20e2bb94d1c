//! Files outside a transaction on Postgres: wherever one is cut off, it goes on by itself.

#![cfg(feature = "postgres")]

mod support;

use std::time::Duration;

use support::{Service, boot_and_stop, eventually, migrations, settings, write};
use uptree_tests::{Cut, Postgres, Proxy};

const BASE: &str = "
    CREATE TABLE t (id int, name text);
    INSERT INTO t VALUES (1, 'a'), (2, 'b');
    CREATE INDEX t_name ON t (name);
    CREATE TABLE p (k int) PARTITION BY LIST (k);
    CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
    CREATE TYPE mood AS ENUM ('glad');
    CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO t VALUES (10, 'first');
        COMMIT;
        INSERT INTO t VALUES (11, 'second');
    END $$";

/// All that the statements of these tests change, and the ledger.
const STATE: &str = "
    SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1;
    SELECT indexrelid::regclass::text, indisvalid FROM pg_index
    WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    ORDER BY 1;
    SELECT id, name FROM t ORDER BY 1;
    SELECT inhrelid::regclass, inhdetachpending FROM pg_inherits WHERE inhparent = 'p'::regclass;
    SELECT enumlabel FROM pg_enum ORDER BY enumsortorder;
    SELECT count(*) FROM pg_database WHERE datname = current_database() || '_made';
    SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace;
    SELECT version, description, success FROM _sqlx_migrations ORDER BY 1;
    SELECT version, steps_done, step_begun, step_before FROM _uptree_migrations ORDER BY 1";

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const INVALID: &str = "SELECT count(*) > 0 FROM pg_index WHERE NOT indisvalid";
const END_MIGRATOR: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                            WHERE application_name = 'uptree migrator' AND state = 'active'";

fn base(server: &Postgres, name: &str) {
    server.create_database(name);
    server.psql(name, BASE);
}

fn copy(server: &Postgres, name: &str) -> String {
    server.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE base"));
    server.url(name)
}

async fn until(server: &Postgres, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.psql(database, sql) == answer).then_some(())).await;
}

/// Waits until the migrator executes something that begins so.
async fn runs(server: &Postgres, database: &str, sql: &str) {
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'uptree migrator'
         AND state = 'active' AND query LIKE '{sql}%'"
    );
    until(server, database, &query, "1").await;
}

/// The points of the flights that have this text in them.
fn points(proxy: &Proxy, text: &str) -> Vec<u64> {
    let flights = proxy.flights();
    let lines = flights.lines().filter(|line| line.contains(text));
    lines
        .map(|line| {
            let number = line.trim_start().split(|c: char| !c.is_ascii_digit());
            let number = number.into_iter().next().expect("it is never empty");
            number.parse().expect("a line begins with its point")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_cut_off_is_done_once() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    for (kind, statement) in [
        "CREATE INDEX CONCURRENTLY t_id ON t (id)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"T Id\" ON public.t (id)",
        "CREATE INDEX CONCURRENTLY ON t (id)",
        "DROP INDEX CONCURRENTLY t_name",
        "REINDEX TABLE CONCURRENTLY t",
        "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
        "VACUUM t",
        "ALTER TYPE mood ADD VALUE 'sad'",
        "CREATE DATABASE {made}",
        "ALTER SYSTEM SET work_mem = '5MB'",
        "ALTER TABLE t ADD CHECK (id > 0)",
    ]
    .iter()
    .enumerate()
    {
        let file = |database: &str| {
            let statement = statement.replace("{made}", &format!("{database}_made"));
            let sql = format!(
                "-- no-transaction\nINSERT INTO t VALUES (5, 'before');\n{statement};\n\
                 INSERT INTO t VALUES (6, 'after');"
            );
            migrations(&[("0001_steps.sql", &sql)])
        };
        let proxy = Proxy::to(server.addr());
        let undisturbed = format!("u{kind}");
        let url = proxy.through(&copy(&server, &undisturbed));
        let folder = file(&undisturbed);
        boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        let expected = server.psql(&undisturbed, STATE);
        let words = &statement[..statement.len().min(12)];
        let at = points(&proxy, words).last().copied();
        let at = at.unwrap_or_else(|| panic!("{statement}: {}", proxy.flights()));
        drop(proxy);
        for point in at - 1..=at + 3 {
            let database = format!("c{kind}_{point}");
            let proxy = Proxy::to(server.addr());
            let url = proxy.through(&copy(&server, &database));
            let folder = file(&database);
            proxy.cut_at(point, Cut::Reset);
            boot_and_stop(&settings(&url, folder.path())).await.unwrap();
            let state = server.psql(&database, STATE);
            assert_eq!(state, expected, "{statement}, cut at {point} of {at}");
            until(&server, &database, LOCKS, "0").await;
        }
    }
}

/// Ends the migrator while a concurrent statement waits for another's transaction, and has it come
/// back by itself.
async fn ended_half_way(statement: &str, half_way: &str) -> Option<(Postgres, String)> {
    let server = Postgres::start()?;
    base(&server, "base");
    let url = copy(&server, "x");
    let folder = migrations(&[(
        "0001_steps.sql",
        &format!("-- no-transaction\n{statement};\nINSERT INTO t VALUES (6, 'after')"),
    )]);
    let reader = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t, p";
    let reader = server.session("x", reader);
    let mut service = Service::spawn(&settings(&url, folder.path()));
    until(&server, "x", half_way, "t").await;
    let (first, _) = statement.split_once(' ').expect("it has two words");
    runs(&server, "x", first).await;
    assert_eq!(server.psql("x", END_MIGRATOR), "1");
    service.event(&["app/migrator: attempt failed"]).await;
    drop(reader);
    service.ready().await.expect("it recovers by itself");
    service.stop().await;
    until(&server, "x", LOCKS, "0").await;
    assert_eq!(server.psql("x", "SELECT count(*) FROM t WHERE id = 6"), "1");
    let state = server.psql("x", STATE);
    Some((server, state))
}

#[tokio::test]
async fn an_index_that_is_half_built_is_dropped_and_built_again() {
    for (statement, name) in [
        ("CREATE INDEX CONCURRENTLY t_id ON t (id)", "t_id|t"),
        (
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id)",
            "t_id|t",
        ),
        ("CREATE INDEX CONCURRENTLY ON t (id)", "t_id_idx|t"),
    ] {
        let Some((server, state)) = ended_half_way(statement, INVALID).await else {
            return;
        };
        assert_eq!(server.psql("x", INVALID), "f", "{statement}");
        let indexes: Vec<_> = state.lines().filter(|line| line.ends_with("|t")).collect();
        assert!(indexes.contains(&name), "{statement}: {state}");
        assert!(!state.contains("t_id_idx1"), "{statement}: {state}");
    }
}

#[tokio::test]
async fn a_stop_while_an_index_is_built_frees_the_lock_and_the_next_start_builds_it() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    let url = copy(&server, "x");
    let folder = migrations(&[(
        "0001_i.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY t_id ON t (id)",
    )]);
    let settings = settings(&url, folder.path());
    let reader = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t";
    let reader = server.session("x", reader);
    let mut service = Service::spawn(&settings);
    until(&server, "x", INVALID, "t").await;
    runs(&server, "x", "CREATE INDEX").await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    until(&server, "x", LOCKS, "0").await;
    drop(reader);
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", INVALID), "f");
    assert_eq!(
        server.psql("x", "SELECT version, success FROM _sqlx_migrations"),
        "1|t"
    );
}

#[tokio::test]
async fn what_a_reindex_leaves_is_dropped() {
    let half_way = format!("{INVALID} AND indexrelid::regclass::text LIKE '%_ccnew'");
    let reindex = "REINDEX TABLE CONCURRENTLY t";
    let Some((_, state)) = ended_half_way(reindex, &half_way).await else {
        return;
    };
    assert!(!state.contains("_cc"), "{state}");
}

#[tokio::test]
async fn a_partition_that_is_half_detached_is_detached() {
    let half_way = "SELECT count(*) > 0 FROM pg_inherits WHERE inhdetachpending";
    let detach = "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY";
    let Some((server, _)) = ended_half_way(detach, half_way).await else {
        return;
    };
    assert_eq!(
        server.psql(
            "x",
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass"
        ),
        "0"
    );
}

#[tokio::test]
async fn an_index_that_was_left_before_is_in_nobody_s_way() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    for (n, condition) in ["", "IF NOT EXISTS "].into_iter().enumerate() {
        let database = format!("x{n}");
        let url = copy(&server, &database);
        // As sqlx leaves it.
        server.psql(&database, "INSERT INTO t VALUES (1, 'twice')");
        let left = "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id)";
        server.try_psql(&database, left).unwrap_err();
        assert_eq!(server.psql(&database, INVALID), "t");
        server.psql(&database, "DELETE FROM t WHERE name = 'twice'");
        let sql = format!(
            "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY {condition}t_id ON t (id)"
        );
        let folder = migrations(&[("0001_i.sql", &sql)]);
        boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        assert_eq!(server.psql(&database, INVALID), "f");
        assert_eq!(
            server.psql(
                &database,
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_id'::regclass"
            ),
            "t"
        );
    }
}

#[tokio::test]
async fn a_step_that_is_refused_leaves_no_doubt_and_no_index() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    let url = copy(&server, "x");
    server.psql("x", "INSERT INTO t VALUES (1, 'twice')");
    let sql = "-- no-transaction\n\nCREATE UNIQUE INDEX CONCURRENTLY t_id\nON t (id)";
    let folder = migrations(&[("0001_i.sql", sql)]);
    let settings = settings(&url, folder.path());
    let failure = Service::spawn(&settings).failure().await;
    assert!(
        failure.contains(
            "migration 0001_i.sql failed at line 3\n  \
             caused by: could not create unique index \"t_id\" (SQLSTATE 23505)"
        ),
        "{failure}"
    );
    assert_eq!(server.psql("x", INVALID), "f");
    // It is as if it had never been begun: sqlx may try it, too.
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM _sqlx_migrations"),
        "0"
    );
    until(&server, "x", LOCKS, "0").await;
    server.psql("x", "DELETE FROM t WHERE name = 'twice'");
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", INVALID), "f");

    // What is there and valid is not taken for its work.
    write(
        folder.path(),
        "0002_again.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY t_id ON t (id)",
    );
    let failure = Service::spawn(&settings).failure().await;
    assert!(
        failure.contains("relation \"t_id\" already exists"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_ends_its_transaction_is_run_by_itself_and_is_in_doubt_after_a_crash() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    let url = copy(&server, "x");
    let folder = migrations(&[(
        "0001_call.sql",
        "-- no-transaction\nCALL twice();\nINSERT INTO t VALUES (12, 'third')",
    )]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM t WHERE id >= 10"),
        "3"
    );

    write(
        folder.path(),
        "0002_do.sql",
        "-- no-transaction\n\nDO $$ BEGIN\n INSERT INTO t VALUES (20, 'once'); COMMIT;\n \
         PERFORM pg_sleep(60); END $$",
    );
    let mut service = Service::spawn(&settings);
    until(&server, "x", "SELECT count(*) FROM t WHERE id = 20", "1").await;
    assert_eq!(server.psql("x", END_MIGRATOR), "1");
    let failure = service.failure().await;
    let expected = "0002_do.sql at line 3, column 1: a process died at statement 1, and it cannot \
                    be seen whether it was done";
    assert!(failure.contains(expected), "{failure}");
    assert!(failure.contains("migrate resolve 2 --done"), "{failure}");
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM t WHERE id = 20"),
        "1"
    );
    until(&server, "x", LOCKS, "0").await;
}

#[tokio::test]
async fn what_a_file_sets_holds_until_its_end_also_after_a_cut() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    server.psql(
        "base",
        "CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE ROLE owner",
    );
    server.psql(
        "base",
        "ALTER TABLE app.t OWNER TO owner; GRANT USAGE, CREATE ON SCHEMA app TO owner",
    );
    let folder = migrations(&[
        (
            "0001_set.sql",
            "-- no-transaction\nSET search_path = app;\nSET ROLE owner;\n\
             CREATE INDEX CONCURRENTLY i ON t (id);\nCREATE TABLE made ();",
        ),
        ("0002_next.sql", "-- no-transaction\nCREATE TABLE next ();"),
    ]);
    let proxy = Proxy::to(server.addr());
    let url = proxy.through(&copy(&server, "x"));
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    let at = points(&proxy, "CREATE INDEX")[0];
    for point in [0, at, at + 1, at + 3] {
        let database = format!("x{point}");
        let proxy = Proxy::to(server.addr());
        let url = proxy.through(&copy(&server, &database));
        proxy.cut_at(point, Cut::Reset);
        boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        let found = "SELECT oid::regclass, relowner::regrole FROM pg_class
                     WHERE relname IN ('i', 'made', 'next') ORDER BY relname";
        assert_eq!(
            server.psql(&database, found),
            "app.i|owner\napp.made|owner\nnext|postgres"
        );
    }
}

#[tokio::test]
async fn ddl_outside_a_transaction_is_hurried_and_repeated_unless_the_file_says_otherwise() {
    let Some(server) = Postgres::start() else {
        return;
    };
    base(&server, "base");
    for (n, (limit, repeated)) in [("", true), ("SET lock_timeout = '1h';\n", false)]
        .into_iter()
        .enumerate()
    {
        let database = format!("x{n}");
        let url = copy(&server, &database);
        let sql = format!("-- no-transaction\n{limit}ALTER TABLE t ADD COLUMN more int");
        let folder = migrations(&[("0001_alter.sql", &sql)]);
        let reader = server.session(&database, "BEGIN; SELECT FROM t");
        let mut service = Service::spawn(&settings(&url, folder.path()));
        if repeated {
            service.event(&["0001_alter.sql", "attempt 3"]).await;
        } else {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation'
                         AND now() - query_start > '300 ms'";
            until(&server, &database, waits, "1").await;
        }
        drop(reader);
        service.ready().await.unwrap();
        service.stop().await;
    }
}
