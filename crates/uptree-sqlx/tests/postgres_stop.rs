//! Stopping a migration of Postgres, and connections that are lost in silence.

#![cfg(feature = "postgres")]

mod support;

use std::{
    env,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions, raw_sql};
use support::{Service, boot_and_stop, embedded, eventually, migrations, settings, soon, write};
use tempfile::TempDir;
use tokio::time::timeout;
use uptree_app::{IntoChild, StopCause, Supervisor, Tree, TreeOptions};
use uptree_sqlx::{DatabaseSettings, Migrator, Repo};
use uptree_tests::{Cut, PgBouncer, PoolMode, Postgres, Proxy};

const TABLE: (&str, &str) = ("0001_t.sql", "CREATE TABLE t (id int);");
const SLEEP: (&str, &str) = (
    "0002_sleep.sql",
    "INSERT INTO t VALUES (1);\nSELECT pg_sleep(60);",
);

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const MIGRATORS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE application_name IN ('uptree migrator', 'uptree observer')";
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

async fn until(server: &Postgres, sql: &str, answer: &str) {
    eventually(async || (server.psql("x", sql) == answer).then_some(())).await;
}

/// A database with the table, and a second migration to come.
async fn with_table(server: &Postgres, second: (&str, &str)) -> (DatabaseSettings, TempDir) {
    let url = server.create_database("x");
    let folder = migrations(&[TABLE]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.expect("it works");
    write(folder.path(), second.0, second.1);
    (settings, folder)
}

/// Nothing is left on the server, and nothing was done.
async fn check_nothing_left(server: &Postgres, rows: &str) {
    assert_eq!(server.psql("x", LOCKS), "0");
    assert_eq!(server.psql("x", SLEEPING), "0");
    until(server, MIGRATORS, "0").await;
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM _sqlx_migrations"),
        rows
    );
    assert_eq!(server.psql("x", "SELECT count(*) FROM t"), "0");
}

async fn stop_within_a_second(service: &mut Service) {
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_statement_is_cancelled_and_one_that_does_not_heed_it_is_ended() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let (settings, folder) = with_table(&server, SLEEP).await;
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    stop_within_a_second(&mut service).await;
    check_nothing_left(&server, "1").await;

    let deaf = "INSERT INTO t VALUES (1);
        DO $$ BEGIN LOOP
            BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
        END LOOP; END $$;";
    write(folder.path(), SLEEP.0, deaf);
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    let took = service.stop().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    check_nothing_left(&server, "1").await;

    write(
        folder.path(),
        SLEEP.0,
        "-- no-transaction\nSELECT pg_sleep(60);",
    );
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    stop_within_a_second(&mut service).await;
    until(&server, LOCKS, "0").await;
    until(&server, MIGRATORS, "0").await;
}

#[tokio::test]
async fn many_files_in_one_message_are_cancelled() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let last = ("0003_last.sql", "CREATE TABLE u ();");
    let folder = migrations(&[TABLE, SLEEP, last]);
    let settings = settings(&url, folder.path());
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    stop_within_a_second(&mut service).await;
    // Each has a transaction of its own.
    check_nothing_left(&server, "1").await;
}

#[tokio::test]
async fn waiting_for_a_lock_is_called_off_in_an_attempt_and_between_two() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let column = ("0002_column.sql", "ALTER TABLE t ADD COLUMN c int;");
    let (settings, folder) = with_table(&server, column).await;
    let reader = server.session("x", "BEGIN; SELECT * FROM t");
    for _ in 0..5 {
        let mut service = Service::spawn(&settings);
        service.event(&[", attempt "]).await;
        stop_within_a_second(&mut service).await;
        check_nothing_left(&server, "1").await;
    }
    write(
        folder.path(),
        column.0,
        "SET lock_timeout = 0;\nALTER TABLE t ADD COLUMN c int;",
    );
    let mut service = Service::spawn(&settings);
    until(
        &server,
        "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "1",
    )
    .await;
    stop_within_a_second(&mut service).await;
    check_nothing_left(&server, "1").await;
    drop(reader);
}

#[tokio::test]
async fn a_migration_in_rust_is_cancelled() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let (settings, folder) = with_table(&server, SLEEP).await;
    std::fs::remove_file(folder.path().join(SLEEP.0)).unwrap();
    let repo = Repo::new(&settings);
    let migrator = Migrator::new(&repo, embedded()).code::<sqlx::Postgres>(
        2,
        "sleep",
        |connection: &mut PgConnection| {
            Box::pin(async move {
                raw_sql("INSERT INTO t VALUES (1)")
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("SELECT pg_sleep($1)")
                    .bind(60.0)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        },
    );
    let root = Supervisor::new("app")
        .child(repo)
        .child(migrator)
        .into_child();
    let mut tree = Tree::spawn(root, TreeOptions::default());
    until(&server, SLEEPING, "1").await;
    let since = Instant::now();
    tree.stop(StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    check_nothing_left(&server, "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_s_query_is_cancelled_through_a_pooler() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let Some(bouncer) = PgBouncer::start_with(
        &server,
        PoolMode::Transaction,
        ["default_pool_size=3", "reserve_pool_size=0"],
    ) else {
        return;
    };
    let url = server.create_database("x");
    let pooled = url.replace(&server.addr().to_string(), &bouncer.addr().to_string());
    // Each is under way for as long as a message takes to be cancelled.
    let mut others = Vec::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..6 {
        let (pooled, stopped) = (pooled.clone(), stopped.clone());
        others.push(tokio::spawn(async move {
            let mut connection = connect(&pooled).await;
            let mut count = 0;
            while !*stopped.borrow() {
                let sql = "SELECT pg_sleep(0.002)";
                raw_sql(sql)
                    .execute(&mut connection)
                    .await
                    .expect("it is not cancelled");
                count += 1;
            }
            count
        }));
    }
    let files: Vec<_> = (1..=60)
        .map(|n| {
            (
                format!("{n:04}_t{n}.sql"),
                format!("CREATE TABLE t{n} ();\nSELECT pg_sleep(0.003);"),
            )
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(name, sql)| (&**name, &**sql)).collect();
    let folder = migrations(&files[..1]);
    let settings = settings(&pooled, folder.path());
    boot_and_stop(&settings).await.unwrap();
    for (name, sql) in &files {
        write(folder.path(), name, sql);
    }
    for n in 0..30 {
        let mut service = Service::spawn(&settings);
        let _ = timeout(Duration::from_millis(30 + n * 7), service.ready()).await;
        let took = service.stop().await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    stop.send(true).unwrap();
    let mut count = 0;
    for other in others {
        count += soon(other).await.unwrap();
    }
    println!("{count} queries of others");
    until(&server, LOCKS, "0").await;
    boot_and_stop(&settings).await.unwrap();
    let same = "SELECT count(*) FROM _sqlx_migrations";
    assert_eq!(server.psql("x", same), "60");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hears_nothing_any_more_begins_again() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Arc::new(Proxy::to(server.addr()));
    let (mut settings, folder) = with_table(&server, SLEEP).await;
    settings.url = proxy.through(&server.url("x")).parse().unwrap();
    // The statement ends while nobody can hear of it.
    write(
        folder.path(),
        SLEEP.0,
        "INSERT INTO t VALUES (1);\nSELECT pg_sleep(2);",
    );
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    proxy.cut_all(Cut::Silence);
    until(&server, SLEEPING, "0").await;
    let since = Instant::now();
    let event = service.event(&["app/migrator: attempt failed"]).await;
    assert!(event.contains("cannot be reached any more"), "{event}");
    println!("{:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(30));
    proxy.heal();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.psql("x", "SELECT count(*) FROM t"), "1");
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM _sqlx_migrations"),
        "2"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_session_is_gone_without_a_word_begins_again() {
    let Some(server) = Postgres::start() else {
        return;
    };
    // Two ways to the server: what is lost on the first one is not on the second.
    let proxy = Arc::new(Proxy::to(server.addr()));
    let (mut settings, _folder) = with_table(&server, SLEEP).await;
    settings.url = proxy.through(&server.url("x")).parse().unwrap();
    let mut service = Service::spawn(&settings);
    until(&server, SLEEPING, "1").await;
    until(
        &server,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'uptree observer'",
        "1",
    )
    .await;
    proxy.cut_all(Cut::Silence);
    server.psql(
        "x",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
    );
    until(&server, LOCKS, "0").await;
    // Nobody has said so: the client still waits, until it asks.
    service.event(&["app/migrator: attempt failed"]).await;
    proxy.heal();
    until(&server, SLEEPING, "1").await;
    stop_within_a_second(&mut service).await;
    check_nothing_left(&server, "1").await;
}

/// Runs a test again in a network of its own, where it may cut what it likes. Returns whether it
/// is there.
fn in_own_network(test: &str) -> bool {
    if env::var_os("OWN_NETWORK").is_some() {
        return true;
    }
    let program = env::current_exe().expect("it works");
    let script = "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture";
    let ran = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", script])
        .arg(program)
        .arg(test)
        .env("OWN_NETWORK", "1")
        .output();
    match ran {
        Ok(output) if output.status.code() == Some(1) || output.status.code() == Some(2) => {
            println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}{errors}");
        }
        Err(error) => println!("skipped: no unshare: {error}"),
    }
    false
}

#[tokio::test]
async fn a_client_that_is_cut_off_in_silence_frees_its_lock_within_ten_seconds() {
    if !in_own_network("a_client_that_is_cut_off_in_silence_frees_its_lock_within_ten_seconds") {
        return;
    }
    let Some(server) = Postgres::start() else {
        return;
    };
    let (settings, folder) = with_table(&server, SLEEP).await;
    for file in [SLEEP.1, "-- no-transaction\nSELECT pg_sleep(60);"] {
        write(folder.path(), SLEEP.0, file);
        let service = Service::spawn(&settings);
        until(&server, SLEEPING, "1").await;
        let link = |state| {
            Command::new("ip")
                .args(["link", "set", "lo", state])
                .status()
                .unwrap()
        };
        assert!(link("down").success());
        let since = Instant::now();
        until(&server, LOCKS, "0").await;
        println!("free after {:?}", since.elapsed());
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "{:?}",
            since.elapsed()
        );
        assert!(
            since.elapsed() > Duration::from_secs(2),
            "it was not cut off in silence"
        );
        drop(service);
        assert!(link("up").success());
    }
}
