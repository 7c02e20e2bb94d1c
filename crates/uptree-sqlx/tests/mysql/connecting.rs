//! The login, the pool, and what it may do.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use uptree_app::Supervisor;
use uptree_sqlx::{DatabaseSettings, Repo};
use uptree_tests::{MariaDb, free_addr};

use crate::{
    SESSIONS, TABLES,
    support::{self, Service, boot, boot_and_stop, migrations, settings, soon, write},
    until,
};

#[tokio::test]
async fn an_empty_database_gets_its_schema_and_a_pool() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    let mut service = boot(&settings(&url, folder.path())).await;
    let pool = service.repo.pool().unwrap();
    assert_eq!(pool.size(), 0, "nothing is open before it is wanted");
    sqlx::query("INSERT INTO a VALUES (?)")
        .bind(7_i64)
        .execute(&pool)
        .await
        .unwrap();
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM a ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(ids, [1, 7]);

    for rejected in ["INSERT INTO b VALUES (1)", "INSERT INTO b VALUES ('many')"] {
        let error = sqlx::raw_sql(rejected).execute(&pool).await.unwrap_err();
        assert!(uptree_sqlx::is_rejected(&error), "{error}");
        assert!(!uptree_sqlx::is_unavailable(&error), "{error}");
    }
    let ended = sqlx::raw_sql("KILL CONNECTION_ID()").execute(&pool).await;
    let ended = ended.unwrap_err();
    assert!(uptree_sqlx::is_unavailable(&ended), "{ended}");
    let wrong = sqlx::raw_sql("SELEC 1").execute(&pool).await.unwrap_err();
    assert!(!uptree_sqlx::is_unavailable(&wrong) && !uptree_sqlx::is_rejected(&wrong));
    drop(pool);
    service.stop().await;
    until(&server, "x", SESSIONS, "1").await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let Some(mut server) = MariaDb::start() else {
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
async fn a_server_that_does_not_come_or_never_answers_is_told_by_its_address() {
    let folder = migrations(TABLES);
    let address = free_addr();
    let url = format!("mysql://app:hunter2@{address}/shop");
    let timeout = Duration::from_millis(300);
    let failure = Service::spawn_within(&settings(&url, folder.path()), timeout)
        .failure()
        .await;
    let expected = format!("cannot connect to MySQL at {address}, database shop, user app");
    assert!(failure.contains(&expected), "{failure}");
    assert!(
        failure.ends_with(
            "help: see that the database is up, and that the address in DATABASE_URL is right"
        ),
        "{failure}"
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "mariadb://app:hunter2@{}/shop",
        silent.local_addr().unwrap()
    );
    let failure = Service::spawn_within(&settings(&url, folder.path()), Duration::from_secs(1))
        .failure()
        .await;
    assert!(
        failure.contains("database shop, user app: no answer within"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_login_that_is_refused_fails_at_once_and_does_not_show_the_password() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    server.create_database("shop");
    server.query(
        "shop",
        "CREATE USER clerk IDENTIFIED BY 'hunter2';
         CREATE USER late IDENTIFIED BY 'hunter2' ACCOUNT LOCK",
    );
    let folder = migrations(TABLES);
    for (url, words, help) in [
        (
            server.url_as("nobody_here", "hunter2", "shop"),
            "(error 1045, SQLSTATE 28000)",
            "see that the user and the password in DATABASE_URL are right",
        ),
        (
            server.url_as("clerk", "hunter2", "shop"),
            "Access denied for user 'clerk'@'%' to database 'shop' (error 1044, SQLSTATE 42000)",
            "GRANT ALL ON `shop`.* TO 'clerk'",
        ),
        (
            server.url_as("late", "hunter2", "shop"),
            "(error 4151, SQLSTATE HY000)",
            "ALTER USER 'late' ACCOUNT UNLOCK",
        ),
        (
            server.url("nowhere"),
            "Unknown database 'nowhere' (error 1049, SQLSTATE 42000)",
            "create it, with `CREATE DATABASE `nowhere``",
        ),
        (
            format!("{}?ssl-mode=REQUIRED", server.url("shop")),
            "TLS",
            "set ssl-mode in DATABASE_URL",
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
        assert!(
            failure.starts_with(
                "error: app/repo did not start\n  caused by: cannot connect to MySQL at 127.0.0.1:"
            ),
            "{failure}"
        );
        assert!(failure.contains(words), "{failure}");
        assert!(failure.contains(help), "{failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn a_typed_pool_and_one_by_an_address_with_brackets() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let settings = DatabaseSettings::new(server.create_database("x").parse().unwrap());
    let repo = Repo::<sqlx::MySql>::typed(&settings);
    let mut tree = Supervisor::new("app")
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    let pool = repo.pool().unwrap();
    let truth: bool = sqlx::query_scalar("SELECT CAST(1 AS UNSIGNED) = 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(truth);
    drop(pool);
    tree.stop(uptree_app::StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();

    let silent = TcpListener::bind("[::1]:0").unwrap();
    let url = format!(
        "mysql://app@[::1]:{}/x",
        silent.local_addr().unwrap().port()
    );
    drop(silent);
    let folder = migrations(TABLES);
    let failure = Service::spawn(&support::settings(&url, folder.path()))
        .failure()
        .await;
    assert!(
        failure.contains("name the host in DATABASE_URL"),
        "{failure}"
    );
}

#[tokio::test]
async fn who_may_only_read_boots_and_a_copy_that_takes_no_writes_is_told() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    server.query(
        "x",
        "CREATE USER reader IDENTIFIED BY 'hunter2'; GRANT SELECT ON x.* TO reader",
    );
    let reader = server.url_as("reader", "hunter2", "x");
    boot_and_stop(&settings(&reader, folder.path()))
        .await
        .unwrap();
    write(
        folder.path(),
        "0004_more.sql",
        "CREATE TABLE more (id INT);",
    );
    let failure = Service::spawn(&settings(&reader, folder.path()))
        .failure()
        .await;
    assert!(failure.contains("denied"), "{failure}");

    server.query("x", "CREATE USER clerk IDENTIFIED BY 'hunter2'; GRANT ALL ON x.* TO clerk; SET GLOBAL read_only = 1");
    let clerk = server.url_as("clerk", "hunter2", "x");
    let mut service = Service::spawn(&settings(&clerk, folder.path()));
    service
        .event(&["app/migrator: attempt failed", "read-only"])
        .await;
    server.query("x", "SET GLOBAL read_only = 0");
    service.ready().await.unwrap();
    service.stop().await;
}
