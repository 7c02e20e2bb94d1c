//! What is in a file, and what becomes of it.

use std::time::Duration;

use uptree_tests::MariaDb;

use crate::{
    LEDGER, SLEEPING, TABLES, connect,
    support::{Service, boot_and_stop, eventually, migrations, settings, soon, write},
    until,
};

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

    // What it executes is told only if it is asked for.
    write(
        folder.path(),
        "0005_more.sql",
        "ALTER TABLE b ADD more INT;",
    );
    for shows in [false, true] {
        let mut connection = connect(&url).await;
        let reads = tokio::spawn(async move {
            let _ = sqlx::raw_sql("SELECT SLEEP(30) FROM b")
                .execute(&mut connection)
                .await;
        });
        let sleeping = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
        eventually(async || Some(server.query("x", sleeping)).filter(|id| !id.is_empty())).await;
        settings.migrate.show_blocking_queries = shows;
        let failure = Service::spawn(&settings).failure().await;
        assert!(failure.contains(", query for "), "{failure}");
        assert_eq!(
            failure.contains(": SELECT SLEEP(30) FROM b"),
            shows,
            "{failure}"
        );
        server.query("x", &format!("KILL {}", server.query("x", sleeping)));
        soon(reads).await.unwrap();
    }
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
