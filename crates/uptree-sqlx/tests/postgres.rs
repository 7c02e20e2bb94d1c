//! The repo and the migrator on Postgres.

#![cfg(feature = "postgres")]

mod support;

use std::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use support::{
    Service, boot, boot_and_stop, eventually, herd, migrations, settings, soon, sqlx_migrator,
    write,
};
use uptree_app::Supervisor;
use uptree_sqlx::{DatabaseSettings, Repo};
use uptree_tests::{Postgres, free_addr};

const TABLES: &[(&str, &str)] = &[
    ("0001_a.sql", "CREATE TABLE a (id BIGINT PRIMARY KEY);"),
    (
        "0002_b.sql",
        "CREATE TABLE b (id BIGINT PRIMARY KEY);\nINSERT INTO b VALUES (1);",
    ),
    (
        "0003_index.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY b_id ON b (id);",
    ),
];

const SLEEP: (&str, &str) = ("0002_sleep.sql", "CREATE TABLE s ();\nSELECT pg_sleep(30);");

const MIGRATORS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'uptree migrator'";
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const LEDGER: &str = "SELECT version, description, success, encode(checksum, 'hex')
                      FROM _sqlx_migrations ORDER BY version";

async fn connect(url: &str) -> sqlx::PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

/// The URL by the server's socket, which asks for no password: to check one takes an unoptimised
/// build 80 ms of a processor, which is long for a herd.
fn by_socket(server: &Postgres, database: &str) -> String {
    server.create_database(database);
    let folder = server.folder().display().to_string().replace('/', "%2F");
    let port = server.addr().port();
    format!("postgres://postgres@{folder}:{port}/{database}")
}

async fn until(server: &Postgres, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.psql(database, sql) == answer).then_some(())).await;
}

#[tokio::test]
async fn an_empty_database_gets_its_schema_and_a_pool() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    let mut service = boot(&settings(&url, folder.path())).await;
    let pool = service.repo.pool().unwrap();
    assert_eq!(pool.size(), 0, "nothing is open before it is wanted");
    sqlx::query("INSERT INTO a VALUES ($1)")
        .bind(7_i64)
        .execute(&pool)
        .await
        .unwrap();
    let id: i64 = sqlx::query_scalar("SELECT id FROM a")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(id, 7);

    let twice = sqlx::raw_sql("INSERT INTO b VALUES (1)")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(uptree_sqlx::is_rejected(&twice) && !uptree_sqlx::is_unavailable(&twice));
    let ended = sqlx::raw_sql("SELECT pg_terminate_backend(pg_backend_pid())");
    let ended = ended.execute(&pool).await.unwrap_err();
    assert!(uptree_sqlx::is_unavailable(&ended) && !uptree_sqlx::is_rejected(&ended));
    drop(pool);
    service.stop().await;
    until(&server, "x", MIGRATORS, "0").await;
    assert_eq!(server.psql("x", LOCKS), "0");
}

#[tokio::test]
async fn the_ledger_is_the_one_that_sqlx_writes_and_each_goes_on_from_the_other() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let (ours, theirs) = (
        server.create_database("ours"),
        server.create_database("theirs"),
    );
    let folder = migrations(TABLES);
    boot_and_stop(&settings(&ours, folder.path()))
        .await
        .unwrap();
    let mut connection = connect(&theirs).await;
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();
    let schema = "SELECT table_name, column_name, column_default, is_nullable, data_type
                  FROM information_schema.columns WHERE table_schema = 'public'
                  AND table_name NOT LIKE '\\_uptree%' ORDER BY 1, 2";
    for query in [LEDGER, schema] {
        assert_eq!(server.psql("ours", query), server.psql("theirs", query));
    }

    write(folder.path(), "0004_d.sql", "CREATE TABLE d ();");
    boot_and_stop(&settings(&theirs, folder.path()))
        .await
        .unwrap();
    write(folder.path(), "0005_e.sql", "CREATE TABLE e ();");
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();
    boot_and_stop(&settings(&theirs, folder.path()))
        .await
        .unwrap();
    assert_eq!(server.psql("theirs", LEDGER).lines().count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_applies_each_migration_once_also_an_index_that_is_built_concurrently() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = by_socket(&server, "x");
    let folder = migrations(TABLES);
    let settings = settings(&url, folder.path());
    herd(&settings, 50).await;
    assert_eq!(server.psql("x", LEDGER).lines().count(), 3);
    assert_eq!(server.psql("x", "SELECT count(*) FROM b"), "1");
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
        "0"
    );
    herd(&settings, 50).await;
    assert_eq!(server.psql("x", "SELECT count(*) FROM b"), "1");
    until(&server, "x", LOCKS, "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_that_the_server_has_no_room_for_waits_outside() {
    let Some(server) = Postgres::start_with(["max_connections=10"]) else {
        return;
    };
    let url = by_socket(&server, "x");
    let folder = migrations(TABLES);
    herd(&settings(&url, folder.path()), 40).await;
    assert_eq!(server.psql("x", LEDGER).lines().count(), 3);
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let Some(mut server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    server.stop();
    let mut service = Service::spawn(&settings(&url, folder.path()));
    service
        .event(&["app/repo: attempt failed", "ConnectionRefused"])
        .await;
    server.start_again();
    service.ready().await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_come_is_told_by_its_refusal() {
    let address = free_addr();
    let refusal = TcpStream::connect(address).unwrap_err();
    let folder = migrations(TABLES);
    let url = format!("postgres://app:hunter2@{address}/shop");
    let timeout = Duration::from_millis(300);
    let failure = Service::spawn_within(&settings(&url, folder.path()), timeout)
        .failure()
        .await;
    let expected = format!(
        "error: app/repo did not start
  caused by: not ready within 300ms
  caused by: cannot connect to Postgres at {address}, database shop, user app
  caused by: {refusal}
  help: see that the database is up, and that the address in DATABASE_URL is right"
    );
    assert_eq!(failure, expected);
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let folder = migrations(TABLES);
    let url = format!("postgres://app:hunter2@{address}/shop");
    let timeout = Duration::from_secs(1);
    let failure = Service::spawn_within(&settings(&url, folder.path()), timeout)
        .failure()
        .await;
    assert!(failure.contains("not ready within 1s"), "{failure}");
    assert!(
        failure.contains("database shop, user app: no answer within"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_login_that_is_refused_fails_at_once_and_does_not_show_the_password() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let good = server.url("postgres");
    let folder = migrations(TABLES);
    for (url, words, help) in [
        (
            server.url_as("postgres", "hunter2", "postgres"),
            "password authentication failed for user \"postgres\" (SQLSTATE 28P01)",
            "see that the user and the password in DATABASE_URL are right",
        ),
        (
            server.url_as("nobody_here", "hunter2", "postgres"),
            "password authentication failed for user \"nobody_here\" (SQLSTATE 28P01)",
            "see that the user and the password in DATABASE_URL are right",
        ),
        (
            server.url("nowhere"),
            "database \"nowhere\" does not exist (SQLSTATE 3D000)",
            "create it, with `CREATE DATABASE \"nowhere\"`",
        ),
        (
            format!("{good}?sslmode=require"),
            "TLS",
            "set sslmode in DATABASE_URL",
        ),
    ] {
        let since = Instant::now();
        let failure = Service::spawn(&settings(&url, folder.path()))
            .failure()
            .await;
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "it was tried again: {failure}"
        );
        assert!(failure.starts_with("error: app/repo did not start\n  caused by: cannot connect to Postgres at 127.0.0.1:"), "{failure}");
        assert!(failure.contains(words), "{failure}");
        assert!(failure.contains(help), "{failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn a_failing_migration_is_rolled_back_and_says_where_it_failed() {
    let Some(server) = Postgres::start() else {
        return;
    };
    for (n, (sql, place, words)) in [
        (
            "CREATE TABLE c ();\n-- für später\n  CREATE TABEL d (id int);\n",
            " at line 3, column 10",
            "syntax error at or near \"TABEL\" (SQLSTATE 42601)",
        ),
        (
            "CREATE TABLE c ();\n\nINSERT INTO nowhere VALUES (1);",
            " at line 3, column 13",
            "relation \"nowhere\" does not exist (SQLSTATE 42P01)",
        ),
        (
            "CREATE TABLE c ();\nDO $$ BEGIN NULL; END $$;\nINSERT INTO b\n  VALUES (1);",
            " at line 3",
            "duplicate key value violates unique constraint \"b_pkey\" (SQLSTATE 23505); \
             DETAIL: Key (id)=(1) already exists.",
        ),
        (
            "CREATE TABLE c (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n\
             INSERT INTO c VALUES (1), (1);",
            "",
            "duplicate key value violates unique constraint \"c_id_key\" (SQLSTATE 23505); \
             DETAIL: Key (id)=(1) already exists.",
        ),
        (
            "CREATE TABLE c ();\nCREATE INDEX CONCURRENTLY c_id ON b (id);",
            " at line 2",
            "CREATE INDEX CONCURRENTLY cannot run inside a transaction block (SQLSTATE 25001)\n  \
             help: a statement that cannot run in a transaction needs a file of its own that \
             begins with `-- no-transaction`",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let database = format!("x{n}");
        let url = server.create_database(&database);
        let folder = migrations(&TABLES[..2]);
        write(folder.path(), "0004_broken.sql", sql);
        let settings = settings(&url, folder.path());
        let failure = Service::spawn(&settings).failure().await;
        let expected = format!(
            "error: app/migrator did not start\n  \
             caused by: migration 0004_broken.sql failed{place}\n  \
             caused by: {words}"
        );
        assert_eq!(failure, expected);
        assert_eq!(server.psql(&database, LEDGER).lines().count(), 2);
        assert_eq!(
            server.psql(&database, "SELECT to_regclass('c') IS NULL"),
            "t"
        );
        until(&server, &database, LOCKS, "0").await;
        // Once the file is mended, it is applied.
        write(folder.path(), "0004_broken.sql", "CREATE TABLE c ();");
        boot_and_stop(&settings).await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_during_a_migration_cancels_it_on_the_server() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), SLEEP.0, SLEEP.1);
    let mut service = Service::spawn(&settings);
    let sleeping = format!("{MIGRATORS} AND wait_event = 'PgSleep'");
    until(&server, "x", &sleeping, "1").await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Nothing runs any more; the session, with its lock, ends by itself.
    assert_eq!(server.psql("x", &sleeping), "0");
    assert_eq!(server.psql("x", LEDGER).lines().count(), 1);
    assert_eq!(server.psql("x", "SELECT to_regclass('s') IS NULL"), "t");
    until(&server, "x", MIGRATORS, "0").await;
    assert_eq!(server.psql("x", LOCKS), "0");
    write(folder.path(), SLEEP.0, "CREATE TABLE s ();");
    boot_and_stop(&settings).await.unwrap();
}

#[tokio::test]
async fn a_stop_at_any_moment_of_a_boot_leaves_nothing_behind() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = by_socket(&server, "x");
    let files: Vec<_> = (1..=20)
        .map(|n| (format!("{n:04}_t{n}.sql"), format!("CREATE TABLE t{n} ();")))
        .collect();
    let files: Vec<_> = files.iter().map(|(name, sql)| (&**name, &**sql)).collect();
    let folder = migrations(&files);
    let settings = settings(&url, folder.path());
    for n in 0..25 {
        let mut service = Service::spawn(&settings);
        let _ = tokio::time::timeout(Duration::from_millis(n * 3), service.ready()).await;
        let took = service.stop().await;
        assert!(took < Duration::from_secs(1), "{took:?} after {n}");
        until(&server, "x", MIGRATORS, "0").await;
        assert_eq!(server.psql("x", LOCKS), "0");
        let ledger = server.psql("x", "SELECT to_regclass('_sqlx_migrations')");
        let tables = "SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$'";
        if !ledger.is_empty() {
            let rows = server.psql("x", "SELECT count(*) FROM _sqlx_migrations");
            assert_eq!(rows, server.psql("x", tables));
        }
    }
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", LEDGER).lines().count(), 20);
}

#[tokio::test]
async fn a_migrator_that_is_killed_is_noticed_by_the_server() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(folder.path(), SLEEP.0, SLEEP.1);
    let service = Service::spawn(&settings(&url, folder.path()));
    let sleeping = format!("{MIGRATORS} AND wait_event = 'PgSleep'");
    until(&server, "x", &sleeping, "1").await;
    let since = Instant::now();
    drop(service);
    until(&server, "x", LOCKS, "0").await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn a_waiter_outlives_its_start_timeout_and_says_who_it_waits_for() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), SLEEP.0, SLEEP.1);
    let timeout = Duration::from_secs(2);
    // Also who migrates outlives it.
    let mut first = Service::spawn_within(&settings, timeout);
    first
        .event(&["app/migrator: progress 1/2 0002_sleep.sql"])
        .await;
    let mut second = Service::spawn_within(&settings, timeout);
    for _ in 0..5 {
        second
            .event(&["progress 1/2 0002_sleep.sql, by another process"])
            .await;
        first.event(&["progress 1/2 0002_sleep.sql"]).await;
    }
    let took = second.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");

    let mut third = Service::spawn(&settings);
    third
        .event(&["progress 1/2 0002_sleep.sql, by another process"])
        .await;
    write(folder.path(), SLEEP.0, "SELECT 1;");
    first.stop().await;
    // It has read the file as it was, and it is its turn now.
    third
        .event(&["app/migrator: progress 1/2 0002_sleep.sql"])
        .await;
    third.stop().await;
    assert_eq!(server.psql("x", LEDGER).lines().count(), 1);
}

#[tokio::test]
async fn the_lock_of_sqlx_itself_is_respected() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..2]);
    write(folder.path(), "0003_slow.sql", "SELECT pg_sleep(0.5);");
    let theirs = sqlx_migrator(folder.path()).await;
    let mut connection = connect(&url).await;
    let settings = settings(&url, folder.path());
    let ours = async {
        until(&server, "x", LOCKS, "1").await;
        boot_and_stop(&settings).await
    };
    let (theirs, ours) = soon(async { tokio::join!(theirs.run(&mut connection), ours) }).await;
    theirs.unwrap();
    ours.unwrap();
    assert_eq!(server.psql("x", LEDGER).lines().count(), 3);
}

#[tokio::test]
async fn a_server_that_crashes_in_a_migration_is_waited_for_and_nothing_is_done_twice() {
    let Some(mut server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..2]);
    write(
        folder.path(),
        "0003_slow.sql",
        "INSERT INTO b VALUES (2);\nSELECT pg_sleep(1);",
    );
    let mut service = Service::spawn(&settings(&url, folder.path()));
    let sleeping = format!("{MIGRATORS} AND wait_event = 'PgSleep'");
    until(&server, "x", &sleeping, "1").await;
    server.kill();
    service.event(&["app/migrator: attempt failed"]).await;
    server.start_again();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.psql("x", LEDGER).lines().count(), 3);
    assert_eq!(server.psql("x", "SELECT count(*) FROM b"), "2");
}

#[tokio::test]
async fn a_file_may_change_the_search_path() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(
        folder.path(),
        "0002_dump.sql",
        "SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.dumped ();",
    );
    write(
        folder.path(),
        "0003_more.sql",
        "CREATE TABLE public.more ();",
    );
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", LEDGER).lines().count(), 3);
}

#[tokio::test]
async fn an_older_program_boots_on_a_newer_schema_and_a_changed_file_keeps_it_from_booting() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let newer = migrations(TABLES);
    boot_and_stop(&settings(&url, newer.path())).await.unwrap();
    let older = migrations(&TABLES[..1]);
    boot_and_stop(&settings(&url, older.path())).await.unwrap();

    write(newer.path(), TABLES[1].0, "CREATE TABLE other ();");
    let failure = Service::spawn(&settings(&url, newer.path()))
        .failure()
        .await;
    assert!(
        failure.contains("0002_b.sql has been changed since it was applied"),
        "{failure}"
    );
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_left_out_and_an_address_may_have_brackets() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let folder = migrations(TABLES);
    let url = server.create_database("x") + "?channel_binding=prefer&application_name=shop";
    let mut service = boot(&settings(&url, folder.path())).await;
    let pool = service.repo.pool().unwrap();
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(name, "shop");
    drop(pool);
    service.stop().await;

    let silent = TcpListener::bind("[::1]:0").unwrap();
    let url = format!(
        "postgres://app@[::1]:{}/shop",
        silent.local_addr().unwrap().port()
    );
    drop(silent);
    let timeout = Duration::from_millis(300);
    let failure = Service::spawn_within(&settings(&url, folder.path()), timeout)
        .failure()
        .await;
    assert!(failure.contains("Connection refused"), "{failure}");
}

#[tokio::test]
async fn a_typed_pool_has_the_database_s_own_types() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let settings = DatabaseSettings::new(server.url("postgres").parse().unwrap());
    let repo = Repo::<sqlx::Postgres>::typed(&settings);
    let mut tree = Supervisor::new("app")
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    let pool = repo.pool().unwrap();
    let list: Vec<i32> = sqlx::query_scalar("SELECT ARRAY[1, 2]")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(list, [1, 2]);
    drop(pool);
    tree.stop(uptree_app::StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();
}
