//! The repo and the migrator on MariaDB.

#![cfg(feature = "mysql")]

mod support;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, mysql::MySqlConnectOptions};
use support::{
    Service, boot, boot_and_stop, eventually, herd, migrations, settings, soon, sqlx_migrator,
    write,
};
use uptree_app::Supervisor;
use uptree_sqlx::{DatabaseSettings, Repo};
use uptree_tests::{MariaDb, Proxy, free_addr};

const TABLES: &[(&str, &str)] = &[
    ("0001_a.sql", "CREATE TABLE a (id BIGINT PRIMARY KEY);"),
    (
        "0002_b.sql",
        "CREATE TABLE b (id BIGINT PRIMARY KEY);\nINSERT INTO b VALUES (1);",
    ),
    (
        "0003_view.sql",
        "CREATE VIEW v AS SELECT id FROM b;\n-- für später\nINSERT INTO a SELECT id FROM v;",
    ),
];

const SLEEP: (&str, &str) = (
    "0002_sleep.sql",
    "CREATE TABLE s (id INT);\nINSERT INTO s SELECT SLEEP(30);",
);

const LEDGER: &str = "SELECT version, description, success, HEX(checksum)
                      FROM _sqlx_migrations ORDER BY version";
const SESSIONS: &str = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'x'";
const SLEEPING: &str = "SELECT COUNT(*) FROM information_schema.processlist
                        WHERE db = 'x' AND state = 'User sleep'";

async fn connect(url: &str) -> sqlx::MySqlConnection {
    let options: MySqlConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

async fn until(server: &MariaDb, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.query(database, sql) == answer).then_some(())).await;
}

/// Tables, columns, indexes, foreign keys, views, and the ledger.
fn schema(server: &MariaDb, database: &str) -> String {
    let columns = "SELECT table_name, column_name, column_default, is_nullable, column_type, extra
                   FROM information_schema.columns WHERE table_schema = DATABASE()
                   AND table_name NOT LIKE '\\_uptree%' ORDER BY 1, 2";
    let indexes = "SELECT table_name, index_name, seq_in_index, column_name
                   FROM information_schema.statistics WHERE table_schema = DATABASE()
                   AND table_name NOT LIKE '\\_uptree%' ORDER BY 1, 2, 3";
    [columns, indexes, LEDGER]
        .map(|sql| server.query(database, sql))
        .join("\n")
}

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
async fn a_failing_migration_says_where_it_failed_and_goes_on_there_once_it_is_mended() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    for (n, (sql, place, words, left)) in [
        (
            "CREATE TABLE c (id INT);\n-- für später\n  CREATE TABEL d (id int);\n",
            " at line 3, column 10",
            "You have an error in your SQL syntax",
            "1",
        ),
        (
            "INSERT INTO a VALUES (9);\nINSERT INTO nowhere VALUES (1);",
            " at line 2",
            "Table 'x1.nowhere' doesn't exist (error 1146, SQLSTATE 42S02)",
            "0",
        ),
        (
            "CREATE TABLE c (id INT);\nINSERT INTO c VALUES (1);\n\nINSERT INTO b VALUES (1);",
            " at line 4",
            "Duplicate entry '1' for key 'PRIMARY' (error 1062, SQLSTATE 23000)",
            "1",
        ),
        (
            "INSERT INTO a VALUES (9);\nCREATE TABLE c (id INT);\nCREATE TABLE a (id INT);",
            " at line 3",
            "Table 'a' already exists (error 1050, SQLSTATE 42S01)",
            "1",
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
        for _ in 0..2 {
            let failure = Service::spawn(&settings).failure().await;
            let expected = format!(
                "error: app/migrator did not start\n  \
                 caused by: migration 0004_broken.sql failed{place}\n  \
                 caused by: {words}"
            );
            assert!(failure.starts_with(&expected), "{failure}");
        }
        let rows = "SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success";
        assert_eq!(server.query(&database, rows), left, "{sql}");
        // What is done may not be changed, what is not may be.
        let (done, _) = sql
            .rsplit_once("CREATE")
            .or(sql.rsplit_once("INSERT"))
            .unwrap();
        if left == "1" {
            let changed = format!("SELECT 5;\n{done}");
            write(folder.path(), "0004_broken.sql", &changed);
            let failure = Service::spawn(&settings).failure().await;
            assert!(failure.contains("0004_broken.sql"), "{failure}");
        }
        let (done, _) = sql.trim().trim_end_matches(';').rsplit_once('\n').unwrap();
        let mended = format!("{done}\nCREATE TABLE mended (id INT);");
        write(folder.path(), "0004_broken.sql", &mended);
        boot_and_stop(&settings).await.unwrap();
        boot_and_stop(&settings).await.unwrap();
        assert_eq!(server.query(&database, rows), "0");
        let nines = if sql.contains("(9)") { "1" } else { "0" };
        assert_eq!(
            server.query(&database, "SELECT COUNT(*) FROM a WHERE id = 9"),
            nines
        );
        if sql.contains("INTO c") {
            assert_eq!(server.query(&database, "SELECT COUNT(*) FROM c"), "1");
        }
    }
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
        .event(&["app/migrator: progress 1/2 0002_sleep.sql, statement 2 of 2"])
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
async fn a_lock_is_tried_for_until_it_is_had_and_who_holds_it_is_told() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..2]);
    let mut settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(
        folder.path(),
        "0003_change.sql",
        "INSERT INTO a VALUES (3);\nALTER TABLE b ADD n INT;\nINSERT INTO a VALUES (4);",
    );
    let reader = server.session("x", "START TRANSACTION; SELECT COUNT(*) FROM b");
    let mut service = Service::spawn(&settings);
    let event = service
        .event(&[
            "progress 2/3 0003_change.sql, statement 2 of 3, attempt 3, blocked by connection",
        ])
        .await;
    assert!(event.contains("(root from "), "{event}");
    assert!(event.contains(", in a transaction for "), "{event}");
    // It holds up nobody while it does not try, and has left nothing half-done.
    assert_eq!(
        server.query("x", "SELECT COUNT(*) FROM a WHERE id = 3"),
        "1"
    );
    drop(reader);
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(
        server.query("x", "SELECT COUNT(*) FROM a WHERE id > 2"),
        "2"
    );

    write(folder.path(), "0004_again.sql", "ALTER TABLE b DROP n;");
    let reader = server.session("x", "START TRANSACTION; SELECT COUNT(*) FROM b");
    settings.migrate.lock_retry_budget = Duration::from_secs(1);
    let failure = Service::spawn(&settings).failure().await;
    assert!(
        failure.contains("migration 0004_again.sql did not get its locks at line 1"),
        "{failure}"
    );
    assert!(failure.contains("blocked by connection"), "{failure}");
    assert!(failure.contains("LOCK_RETRY_BUDGET"), "{failure}");
    drop(reader);
    boot_and_stop(&settings).await.unwrap();
}

#[tokio::test]
async fn what_a_file_sets_does_not_reach_the_next_and_its_own_limits_hold() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    server.create_database("other");
    let folder = migrations(&[
        (
            "0001_sets.sql",
            "SET FOREIGN_KEY_CHECKS = 0, SESSION lock_wait_timeout = 77;
             SET @n = 5;
             SET NAMES latin1;
             SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
             SET autocommit = 1;
             CREATE TEMPORARY TABLE t (id INT);
             CREATE TABLE child (id INT, p INT, FOREIGN KEY (p) REFERENCES parent (id));
             CREATE TABLE parent (id INT PRIMARY KEY);
             INSERT INTO child VALUES (1, @@lock_wait_timeout);
             USE other;
             CREATE TABLE elsewhere (id INT);",
        ),
        (
            "0002_sees.sql",
            "CREATE TABLE seen (what TEXT);
             INSERT INTO seen SELECT CONCAT_WS(' ', DATABASE(), @@foreign_key_checks = 1,
                 COALESCE(@n, 'none'), @@character_set_client, @@sql_mode LIKE '%ANSI%');",
        ),
        (
            "0003_locks.sql",
            "LOCK TABLES parent WRITE, seen READ;\nINSERT INTO parent SELECT 7;\nALTER TABLE parent ADD n INT;\nINSERT INTO parent VALUES (8, 8);\nUNLOCK TABLES;\nINSERT INTO child VALUES (2, 8);",
        ),
        (
            "0004_locked.sql",
            "LOCK TABLE `seen` WRITE;\nINSERT INTO seen VALUES ('4');",
        ),
        ("0005_free.sql", "INSERT INTO child VALUES (3, 7);"),
    ]);
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(server.query("x", LEDGER).lines().count(), 5);
    assert_eq!(server.query("other", "SHOW TABLES"), "elsewhere");
    assert_eq!(
        server.query("x", "SELECT p FROM child ORDER BY id"),
        "77\n8\n7"
    );
    assert_eq!(
        server.query("x", "SELECT what FROM seen"),
        "x 1 none utf8mb4 0\n4"
    );
}

#[tokio::test]
async fn files_are_taken_as_people_write_them() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let many: Vec<_> = (0..20_000)
        .map(|n| format!("INSERT INTO a VALUES ({n}, 'row {n}; it''s');"))
        .collect();
    let many = many.join("\n");
    let folder = migrations(&[
        ("0001_empty.sql", ""),
        ("0002_comments.sql", "-- nothing\n/* here */ ;\n# either\n"),
        (
            "0003_dump.sql",
            "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\r\n\
             /*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n\
             /*!50503 SET NAMES utf8mb4 */;\n/*!80000 SET SESSION no_such_thing = 1 */;\n\
             /*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;\n\
             DROP TABLE IF EXISTS `a`;\n\
             /*!40101 SET @saved_cs_client     = @@character_set_client */;\n\
             CREATE TABLE `a` (`id` bigint(20) NOT NULL, `t` varchar(50), PRIMARY KEY (`id`)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n\
             /*!40101 SET character_set_client = @saved_cs_client */;\n\
             LOCK TABLES `a` WRITE;\n/*!40000 ALTER TABLE `a` DISABLE KEYS */;\n\
             INSERT INTO `a` VALUES (100000,'it\\'s; für \\\\'),(100001,'b');\n\
             /*!40000 ALTER TABLE `a` ENABLE KEYS */;\nUNLOCK TABLES;\n\
             /*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;\n-- Dump completed",
        ),
        ("0004_many.sql", &many),
        (
            "0005_routines.sql",
            "CREATE PROCEDURE p(IN n BIGINT)\nBEGIN\n  INSERT INTO a VALUES (n, 'p');\n  SELECT n;\n  SELECT 2;\nEND;\n\
             CALL p(200000);\nCALL p(200001);\n\
             CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW BEGIN IF NEW.t = 'x' THEN SET NEW.t = 'y'; END IF; END;\n\
             INSERT INTO a VALUES (300000, 'x');\n\
             SET @s = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE a ADD extra INT', 'DO 0')
                       FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'extra');\n\
             PREPARE s FROM @s;\nEXECUTE s;\nDEALLOCATE PREPARE s;\nSELECT 1",
        ),
        ("0006_last.sql", "INSERT INTO a VALUES (400000, 'last', 1)-- no semicolon"),
    ]);
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(server.query("x", LEDGER).lines().count(), 6);
    assert_eq!(server.query("x", "SELECT COUNT(*) FROM a"), "20006");
    assert_eq!(
        server.query("x", "SELECT t FROM a WHERE id = 100000"),
        "it's; für \\"
    );
    assert_eq!(server.query("x", "SELECT t FROM a WHERE id = 300000"), "y");
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

#[tokio::test]
async fn an_older_program_boots_on_a_newer_schema_and_a_changed_file_keeps_it_from_booting() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let newer = migrations(TABLES);
    boot_and_stop(&settings(&url, newer.path())).await.unwrap();
    let older = migrations(&TABLES[..1]);
    boot_and_stop(&settings(&url, older.path())).await.unwrap();

    write(newer.path(), TABLES[1].0, "CREATE TABLE other (id INT);");
    let failure = Service::spawn(&settings(&url, newer.path()))
        .failure()
        .await;
    assert!(
        failure.contains("0002_b.sql has been changed since it was applied"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_a_routine_has_done_is_asked_of_a_person_and_nothing_else_is() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&url, folder.path());
    write(
        folder.path(),
        "0002_rows.sql",
        "CREATE PROCEDURE rows_alone() BEGIN INSERT INTO a VALUES (2); DO SLEEP(30); END;\n\
         CREATE PROCEDURE and_a_table() BEGIN CREATE TABLE made (id INT); DO SLEEP(30); END;",
    );
    boot_and_stop(&settings).await.unwrap();

    // It has committed nothing: it is done again.
    write(folder.path(), "0003_call.sql", "CALL rows_alone();");
    let service = Service::spawn(&settings);
    until(&server, "x", SLEEPING, "1").await;
    kill(&server).await;
    drop(service);
    server.query(
        "x",
        "CREATE OR REPLACE PROCEDURE rows_alone() INSERT INTO a VALUES (2)",
    );
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(
        server.query("x", "SELECT COUNT(*) FROM a WHERE id = 2"),
        "1"
    );

    // It has, and who knows what.
    write(
        folder.path(),
        "0004_call.sql",
        "INSERT INTO a VALUES (4);\nCALL and_a_table();\nINSERT INTO a VALUES (5);",
    );
    let service = Service::spawn(&settings);
    until(&server, "x", SLEEPING, "1").await;
    kill(&server).await;
    drop(service);
    let failure = Service::spawn(&settings).failure().await;
    assert!(failure.contains("0004_call.sql"), "{failure}");
    assert!(failure.contains("line 2"), "{failure}");
    assert!(failure.contains("migrate resolve 4 --done"), "{failure}");
    let marks = "SELECT steps_done, step_begun FROM _uptree_migrations WHERE version = 4";
    assert_eq!(server.query("x", marks), "1|1");
    assert_eq!(
        server.query("x", "SELECT COUNT(*) FROM a WHERE id = 4"),
        "1"
    );
}

/// Ends the session that sleeps, and has it be gone before anybody connects again.
async fn kill(server: &MariaDb) {
    let id =
        "SELECT id FROM information_schema.processlist WHERE db = 'x' AND state = 'User sleep'";
    let id = server.query("x", id);
    // Not as the migrator's own stop, which withdraws what it has begun: as a crash.
    server.query("x", &format!("KILL HARD CONNECTION {id}"));
    let gone = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
    until(server, "x", &gone, "0").await;
}

#[tokio::test]
async fn rows_of_a_table_without_transactions_are_not_changed_twice() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&url, folder.path());
    write(
        folder.path(),
        "0002_kept.sql",
        "CREATE TABLE kept (id INT) ENGINE = MyISAM;\nINSERT INTO kept VALUES (1);\n\
         INSERT INTO kept SELECT SLEEP(30) FROM kept;",
    );
    let service = Service::spawn(&settings);
    until(&server, "x", SLEEPING, "1").await;
    kill(&server).await;
    drop(service);
    let failure = Service::spawn(&settings).failure().await;
    assert!(failure.contains("migrate resolve 2 --done"), "{failure}");
    assert_eq!(server.query("x", "SELECT id FROM kept WHERE id = 1"), "1");
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
