//! Locks that others hold, on Postgres.

#![cfg(feature = "postgres")]

mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions, raw_sql};
use support::{
    Service, boot_and_stop, embedded, eventually, herd, migrations, settings, soon, write,
};
use uptree_app::{IntoChild, StopCause, Supervisor, Tree, TreeOptions};
use uptree_sqlx::{DatabaseSettings, Migrator, Repo};
use uptree_tests::Postgres;

const TABLE: (&str, &str) = (
    "0001_t.sql",
    "CREATE TABLE t (id int);\nINSERT INTO t SELECT generate_series(1, 10);",
);
const COLUMN: (&str, &str) = ("0002_column.sql", "ALTER TABLE t ADD COLUMN c int;");

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

async fn until(server: &Postgres, sql: &str, answer: &str) {
    eventually(async || (server.psql("x", sql) == answer).then_some(())).await;
}

/// A database with the table, and a second migration to come.
async fn with_table(
    server: &Postgres,
    second: (&str, &str),
) -> (DatabaseSettings, tempfile::TempDir) {
    let url = server.create_database("x");
    let folder = migrations(&[TABLE]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.expect("it works");
    write(folder.path(), second.0, second.1);
    (settings, folder)
}

const COLUMNS: &str = "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'";

/// How long reads of the table took, one begun each 10 ms, until told to stop.
async fn reads(url: String, mut stop: tokio::sync::watch::Receiver<bool>) -> Vec<Duration> {
    let mut running = tokio::task::JoinSet::new();
    let mut idle: Vec<PgConnection> = Vec::new();
    for _ in 0..30 {
        idle.push(connect(&url).await);
    }
    let mut took = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            _ = ticks.tick(), if !idle.is_empty() => {
                let mut connection = idle.pop().expect("it works");
                running.spawn(async move {
                    let since = Instant::now();
                    raw_sql("SELECT count(*) FROM t").execute(&mut connection).await.expect("it works");
                    (connection, since.elapsed())
                });
            }
            Some(done) = running.join_next() => {
                let (connection, time) = done.expect("it works");
                idle.push(connection);
                took.push(time);
            }
        }
    }
    while let Some(done) = running.join_next().await {
        took.push(done.expect("it works").1);
    }
    took
}

/// Migrates behind a reader of 6 s, by this many at once, and says how many of how many reads took
/// longer than 150 ms.
async fn migrate_beside_reads(size: usize) -> (usize, usize) {
    let server = Postgres::start_with(["max_connections=150"]).expect("it works");
    let (mut settings, _folder) = with_table(&server, COLUMN).await;
    let socket = server.folder().display().to_string().replace('/', "%2F");
    let port = server.addr().port();
    settings.url = format!("postgres://postgres@{socket}:{port}/x")
        .parse()
        .expect("it works");
    let url = format!("postgres://postgres@{socket}:{port}/x");
    let mut long = connect(&url).await;
    raw_sql("BEGIN; SELECT count(*) FROM t")
        .execute(&mut long)
        .await
        .expect("it works");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let reads = tokio::spawn(reads(url, stopped));
    let migrating = tokio::spawn(async move { herd(&settings, size).await });
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(server.psql("x", COLUMNS), "1");
    raw_sql("COMMIT")
        .execute(&mut long)
        .await
        .expect("it works");
    let since = Instant::now();
    soon(migrating).await.expect("it works");
    println!("{size} migrated {:?} after the reader", since.elapsed());
    assert_eq!(server.psql("x", COLUMNS), "2");
    // With growing pauses, and by one of them at a time.
    let told = server.log();
    let cancelled = told
        .matches("canceling statement due to lock timeout")
        .count();
    println!("{cancelled} attempts failed");
    assert!((2..=15).contains(&cancelled), "{cancelled}");
    stop.send(true).expect("it works");
    let mut took = soon(reads).await.expect("it works");
    took.sort();
    let slow = took
        .iter()
        .filter(|time| **time > Duration::from_millis(150))
        .count();
    println!(
        "{slow} of {} reads took over 150 ms; the longest {:?}",
        took.len(),
        took.last()
    );
    (slow, took.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_reader_does_not_hold_up_the_others() {
    if Postgres::start().is_none() {
        return;
    }
    let (slow, all) = migrate_beside_reads(1).await;
    assert!(all > 300, "{all}");
    assert!(slow * 100 < all * 2, "{slow} of {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_that_waits_for_a_reader_makes_no_more_attempts_than_one() {
    if Postgres::start().is_none() {
        return;
    }
    let (slow, all) = migrate_beside_reads(20).await;
    assert!(slow * 100 < all * 5, "{slow} of {all}");
}

#[tokio::test]
async fn who_holds_the_lock_is_named_while_it_is_waited_for_and_at_the_end() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let (mut settings, _folder) = with_table(&server, COLUMN).await;
    server.psql(
        "x",
        "CREATE ROLE alice LOGIN PASSWORD 'a'; GRANT SELECT ON t TO alice",
    );
    let alice = server.url_as("alice", "a", "x") + "?application_name=report";
    let mut alice = connect(&alice).await;
    raw_sql("BEGIN; SELECT id, 'secret' FROM t LIMIT 1")
        .execute(&mut alice)
        .await
        .unwrap();

    let mut service = Service::spawn(&settings);
    let event = service
        .event(&["progress 1/2 0002_column.sql", ", attempt ", "blocked by"])
        .await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut alice)
        .await
        .unwrap();
    let who = format!("process {pid} (user alice, report, idle in transaction since ");
    assert!(event.contains(&who), "{event}");
    assert!(!event.contains("secret"), "{event}");
    // Nobody waits for the lock between two attempts, and others know who is at it.
    let mut second = Service::spawn(&settings);
    second
        .event(&["progress 1/2 0002_column.sql, by another process"])
        .await;
    second.stop().await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    until(
        &server,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "0",
    )
    .await;

    settings.migrate.lock_retry_budget = Duration::ZERO;
    let failure = Service::spawn(&settings).failure().await;
    assert!(failure.contains("0002_column.sql"), "{failure}");
    assert!(
        failure.contains(&who) && failure.contains("55P03"),
        "{failure}"
    );
    assert!(!failure.contains("secret"), "{failure}");

    settings.migrate.show_blocking_queries = true;
    let failure = Service::spawn(&settings).failure().await;
    let query = "SELECT pg_backend_pid()";
    assert!(failure.contains(query), "{failure}");

    raw_sql("COMMIT").execute(&mut alice).await.unwrap();
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", COLUMNS), "2");
}

#[tokio::test]
async fn a_role_without_rights_names_the_user_that_it_sees() {
    let Some(server) = Postgres::start() else {
        return;
    };
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'a'");
    server.psql("postgres", "CREATE DATABASE x OWNER app");
    let url = server.url_as("app", "a", "x");
    let folder = migrations(&[TABLE]);
    let mut settings = settings(&url, folder.path());
    server.psql("x", "GRANT ALL ON SCHEMA public TO app");
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), COLUMN.0, COLUMN.1);
    let _reader = server.session("x", "BEGIN; SELECT * FROM t");
    settings.migrate.lock_retry_budget = Duration::ZERO;
    settings.migrate.show_blocking_queries = true;
    let failure = Service::spawn(&settings).failure().await;
    assert!(failure.contains("(user postgres, psql)"), "{failure}");
}

/// A table that an autovacuum works on for very long, and a migration that needs its lock.
async fn with_autovacuum(server: &Postgres, url: &str, folder: &Path) -> DatabaseSettings {
    let settings = settings(url, folder);
    boot_and_stop(&settings).await.expect("it works");
    server.psql(
        "x",
        "ALTER TABLE t SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
                            autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
         INSERT INTO t SELECT generate_series(1, 100000); DELETE FROM t WHERE id % 2 = 0;",
    );
    until(server, WORKERS, "1").await;
    write(folder, COLUMN.0, COLUMN.1);
    settings
}

const WORKERS: &str = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE heap_blks_total > 100";
const AUTOVACUUM: [&str; 2] = ["autovacuum_naptime=1s", "log_autovacuum_min_duration=0"];

#[tokio::test]
async fn an_autovacuum_gives_way() {
    let Some(server) = Postgres::start_with(AUTOVACUUM) else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&[TABLE]);
    let settings = with_autovacuum(&server, &url, folder.path()).await;
    let since = Instant::now();
    boot_and_stop(&settings).await.unwrap();
    println!("{:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(20));
    assert!(
        server.log().contains("canceling autovacuum task"),
        "{}",
        server.log()
    );
}

#[tokio::test]
async fn an_autovacuum_gives_way_to_a_role_that_may_not_see_it() {
    let Some(server) = Postgres::start_with(AUTOVACUUM) else {
        return;
    };
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'a'");
    server.psql("postgres", "CREATE DATABASE x OWNER app");
    server.psql("x", "GRANT ALL ON SCHEMA public TO app");
    let url = server.url_as("app", "a", "x");
    let folder = migrations(&[TABLE]);
    let mut settings = with_autovacuum(&server, &url, folder.path()).await;
    settings.migrate.lock_retry_budget = Duration::from_secs(20);
    boot_and_stop(&settings).await.unwrap();
    assert!(
        server.log().contains("canceling autovacuum task"),
        "{}",
        server.log()
    );
}

#[tokio::test]
async fn an_index_that_is_built_says_how_far_it_is_and_whom_it_waits_for() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let index = "-- no-transaction\nCREATE INDEX CONCURRENTLY t_id ON t (id);";
    let (settings, _folder) = with_table(&server, ("0002_index.sql", index)).await;
    let writer = server.session("x", "BEGIN; INSERT INTO t VALUES (0)");
    let mut service = Service::spawn(&settings);
    let event = service
        .event(&[
            "0002_index.sql",
            "blocked by process ",
            "waiting for writers before build, 0 of 1 transactions",
        ])
        .await;
    assert!(
        event.contains("(user postgres, psql, idle in transaction since "),
        "{event}"
    );
    drop(writer);
    service.ready().await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn the_statement_under_way_is_told() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let slow =
        "INSERT INTO t VALUES (0);\nSELECT pg_sleep(2);\nDELETE FROM t;\nSELECT pg_sleep(2);";
    let (settings, _folder) = with_table(&server, ("0002_slow.sql", slow)).await;
    let mut service = Service::spawn(&settings);
    service
        .event(&["progress 1/2 0002_slow.sql, statement 2 of 4"])
        .await;
    service
        .event(&["progress 1/2 0002_slow.sql, statement 4 of 4"])
        .await;
    service.ready().await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_file_s_own_limit_is_kept_and_waiting_for_rows_is_not_hurried() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let update = "UPDATE t SET id = 5 WHERE id = 1;";
    let (settings, folder) = with_table(&server, ("0002_update.sql", update)).await;
    let mut writer = connect(&server.url("x")).await;
    raw_sql("BEGIN; UPDATE t SET id = 1 WHERE id = 1")
        .execute(&mut writer)
        .await
        .unwrap();
    let mut service = Service::spawn(&settings);
    service
        .event(&["0002_update.sql, blocked by process "])
        .await;
    raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    // It was the first attempt.
    assert!(
        !server
            .log()
            .contains("canceling statement due to lock timeout")
    );

    write(
        folder.path(),
        "0003_column.sql",
        "SET LOCAL lock_timeout = '60s';\nALTER TABLE t ADD c int;",
    );
    raw_sql("BEGIN; SELECT * FROM t")
        .execute(&mut writer)
        .await
        .unwrap();
    let mut service = Service::spawn(&settings);
    service
        .event(&["0003_column.sql, statement 2 of 2, blocked by process "])
        .await;
    writer.close().await.unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    assert!(
        !server
            .log()
            .contains("canceling statement due to lock timeout")
    );
}

#[tokio::test]
async fn a_migration_in_rust_does_not_hold_up_readers_either() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let (settings, folder) = with_table(&server, COLUMN).await;
    std::fs::remove_file(folder.path().join(COLUMN.0)).unwrap();
    let repo = Repo::new(&settings);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let migrator = Migrator::new(&repo, embedded()).code::<sqlx::Postgres>(
        2,
        "column",
        move |connection: &mut PgConnection| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                raw_sql("ALTER TABLE t ADD COLUMN c int")
                    .execute(connection)
                    .await?;
                Ok(())
            })
        },
    );
    let reader = server.session("x", "BEGIN; SELECT * FROM t");
    let root = Supervisor::new("app")
        .child(repo)
        .child(migrator)
        .into_child();
    let mut tree = Tree::spawn(root, TreeOptions::default());
    eventually(async || (runs.load(Ordering::Relaxed) > 2).then_some(())).await;
    assert!(
        server
            .log()
            .contains("canceling statement due to lock timeout")
    );
    drop(reader);
    soon(tree.ready()).await.unwrap();
    assert_eq!(server.psql("x", COLUMNS), "2");
    tree.stop(StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();
}
