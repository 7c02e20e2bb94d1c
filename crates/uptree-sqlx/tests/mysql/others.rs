//! Many at once, sqlx among them, and those who are gone.

use std::time::{Duration, Instant};

use uptree_tests::{MariaDb, Proxy};

use crate::{
    LEDGER, SESSIONS, SLEEP, SLEEPING, TABLES, connect, schema,
    support::{Service, boot_and_stop, herd, migrations, settings, sqlx_migrator, write},
    until,
};

#[tokio::test]
async fn the_ledger_is_the_one_that_sqlx_writes_and_each_goes_on_from_the_other() {
    let Some(server) = MariaDb::start() else {
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
    assert_eq!(schema(&server, "ours"), schema(&server, "theirs"));

    write(folder.path(), "0004_d.sql", "CREATE TABLE d (id INT);");
    boot_and_stop(&settings(&theirs, folder.path()))
        .await
        .unwrap();
    write(folder.path(), "0005_e.sql", "CREATE TABLE e (id INT);");
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();
    boot_and_stop(&settings(&theirs, folder.path()))
        .await
        .unwrap();
    assert_eq!(server.query("theirs", LEDGER).lines().count(), 5);
    let slowest =
        "SELECT MIN(execution_time) >= 0, MAX(execution_time) < 60e9 FROM _sqlx_migrations";
    assert_eq!(server.query("ours", slowest), "1|1");
}

#[tokio::test]
async fn nothing_to_do_costs_one_round_trip_and_a_file_one_more() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let proxy = Proxy::to(server.addr());
    let folder = migrations(TABLES);
    let direct = settings(&url, folder.path());
    let mut through = direct.clone();
    through.migrate.url = Some(proxy.through(&url).parse().unwrap());
    boot_and_stop(&through).await.unwrap();
    // The settings that sqlx makes at each connection are one, the check is the other.
    proxy.mark();
    boot_and_stop(&through).await.unwrap();
    assert_eq!(proxy.round_trips(), 2, "{}", proxy.flights());

    write(folder.path(), "0004_d.sql", "CREATE TABLE d (id INT);");
    write(
        folder.path(),
        "0005_e.sql",
        "CREATE TABLE e (id INT);\nALTER TABLE d ADD e INT;\nINSERT INTO d VALUES (1, 2);",
    );
    proxy.mark();
    boot_and_stop(&through).await.unwrap();
    // And the lock; and whether there are tables without transactions, if rows are written.
    assert_eq!(proxy.round_trips(), 2 + 1 + 2 + 1, "{}", proxy.flights());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_applies_each_migration_once() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    write(
        folder.path(),
        "0004_set.sql",
        "SET @n = 5;\nINSERT INTO b VALUES (@n);\nALTER TABLE b ADD n INT;",
    );
    write(
        folder.path(),
        "0005_more.sql",
        "INSERT INTO b VALUES (6, 6);",
    );
    let settings = settings(&url, folder.path());
    herd(&settings, 12).await;
    assert_eq!(server.query("x", LEDGER).lines().count(), 5);
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM b"), "3");
    herd(&settings, 12).await;
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM b"), "3");
    until(&server, "x", SESSIONS, "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_that_the_server_has_no_room_for_waits_outside() {
    let Some(server) = MariaDb::start_with(["max-connections=10"]) else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    herd(&settings(&url, folder.path()), 30).await;
    assert_eq!(server.query("x", LEDGER).lines().count(), 3);
}

#[tokio::test]
async fn a_stop_during_a_migration_kills_it_on_the_server() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(folder.path(), SLEEP.0, SLEEP.1);
    let settings = settings(&url, folder.path());
    let mut service = Service::spawn(&settings);
    until(&server, "x", SLEEPING, "1").await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    until(&server, "x", SESSIONS, "1").await;
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM s"), "0");
    // What is done stays done.
    write(
        folder.path(),
        SLEEP.0,
        "CREATE TABLE s (id INT);\nINSERT INTO s VALUES (1);",
    );
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM s"), "1");
}

#[tokio::test]
async fn a_migrator_that_is_killed_leaves_its_file_to_the_server_and_then_the_lock() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(folder.path(), SLEEP.0, SLEEP.1);
    let service = Service::spawn(&settings(&url, folder.path()));
    until(&server, "x", SLEEPING, "1").await;
    let since = Instant::now();
    drop(service);
    until(&server, "x", SESSIONS, "1").await;
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM s"), "1");
    assert_eq!(server.query("x", LEDGER).lines().count(), 2);
}

#[tokio::test]
async fn a_waiter_outlives_its_start_timeout_and_says_who_it_waits_for() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(folder.path(), SLEEP.0, SLEEP.1);
    let settings = settings(&url, folder.path());
    let timeout = Duration::from_secs(2);
    let mut first = Service::spawn_within(&settings, timeout);
    first
        .event(&["app/migrator: progress 1/2 0002_sleep.sql, statement 2 of 2, user sleep"])
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
    first.stop().await;
}

#[tokio::test]
async fn a_server_that_crashes_in_a_migration_is_waited_for_and_nothing_is_done_twice() {
    let Some(mut server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..2]);
    write(
        folder.path(),
        "0003_slow.sql",
        "ALTER TABLE b ADD n INT;\nINSERT INTO b VALUES (2, 2);\nDO SLEEP(1);\nALTER TABLE b ADD m INT;",
    );
    let mut service = Service::spawn(&settings(&url, folder.path()));
    until(&server, "x", SLEEPING, "1").await;
    server.kill();
    service.event(&["app/migrator: attempt failed"]).await;
    server.start_again();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.query("x", LEDGER).lines().count(), 3);
    assert_eq!(
        server.query("x", "SELECT COUNT(*), SUM(n) FROM b WHERE m IS NULL"),
        "2|2"
    );
}

#[tokio::test]
async fn the_row_of_a_migration_that_runs_keeps_sqlx_from_running_it_too() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    write(folder.path(), SLEEP.0, SLEEP.1);
    let settings = settings(&url, folder.path());
    let mut service = Service::spawn(&settings);
    until(&server, "x", SLEEPING, "1").await;
    let mut connection = connect(&url).await;
    let theirs = sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await;
    let error = theirs.unwrap_err();
    assert!(
        matches!(error, sqlx::migrate::MigrateError::Dirty(2)),
        "{error}"
    );
    service.stop().await;

    // Where their lock is one, ours waits for it.
    write(folder.path(), SLEEP.0, "CREATE TABLE s2 (id INT);");
    let lock = server.query("x", "SELECT LOWER(HEX(1026731422 * CRC32('x')))");
    let held = server.session("x", &format!("SELECT GET_LOCK('{lock}', 5)"));
    server.query("x", "DELETE FROM _sqlx_migrations WHERE version = 2; DELETE FROM _uptree_migrations WHERE version = 2");
    let mut service = Service::spawn(&settings);
    service.event(&["0002_sleep.sql, by another process"]).await;
    drop(held);
    service.ready().await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_in_silence_is_noticed_on_both_sides() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let proxy = Proxy::to(server.addr());
    let folder = migrations(&TABLES[..2]);
    write(
        folder.path(),
        "0003_slow.sql",
        "DO SLEEP(1);\nINSERT INTO b VALUES (3);",
    );
    let direct = settings(&url, folder.path());
    let mut through = direct.clone();
    through.migrate.url = Some(proxy.through(&url).parse().unwrap());
    let mut service = Service::spawn(&through);
    until(&server, "x", SLEEPING, "1").await;
    let since = Instant::now();
    proxy.cut_all(uptree_tests::Cut::Silence);
    // The server ends a session that it does not hear of, and somebody else can have the lock.
    boot_and_stop(&direct).await.unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    service.event(&["app/migrator: attempt failed"]).await;
    assert!(
        since.elapsed() < Duration::from_secs(40),
        "{:?}",
        since.elapsed()
    );
    proxy.heal();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM b"), "2");
}
