//! The repo and the migrator on SQLite.

#![cfg(feature = "sqlite")]

mod support;

use std::{fs, path::Path, time::Duration};

use sqlx::Connection;
use support::{
    Service, boot, boot_and_stop, eventually, herd, migrations, settings, soon, sqlite::Database,
    sqlx_migrator, write,
};
use uptree_app::{Strategy, Supervisor};
use uptree_sqlx::{DatabaseSettings, Repo};

const TABLES: &[(&str, &str)] = &[
    ("0001_a.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY);"),
    (
        "0002_b.sql",
        "CREATE TABLE b (id INTEGER PRIMARY KEY);\nINSERT INTO b VALUES (1);",
    ),
    (
        "0003_c.sql",
        "-- no-transaction\nPRAGMA foreign_keys = OFF;\nCREATE TABLE c (id INTEGER);",
    ),
];

/// Counts for a long time.
const ENDLESS: &str = "CREATE TABLE counted AS \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000) \
    SELECT max(i) FROM n;";

#[tokio::test]
async fn an_empty_database_gets_its_schema_and_a_pool() {
    let database = Database::new();
    let folder = migrations(TABLES);
    let mut service = boot(&settings(&database.url(), folder.path())).await;
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
    for (pragma, expected) in [
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA synchronous", 2),
        ("PRAGMA busy_timeout", 5000),
    ] {
        let value: i64 = sqlx::query_scalar(pragma).fetch_one(&pool).await.unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    drop(pool);
    service.stop().await;
    assert!(service.repo.pool().is_err());
    assert_eq!(database.query("PRAGMA journal_mode").await, "wal");
    let left: Vec<_> = fs::read_dir(database.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["test.db"], "no log and no lock is left");
}

#[tokio::test]
async fn the_ledger_is_the_one_that_sqlx_writes() {
    let (ours, theirs) = (Database::new(), Database::new());
    let folder = migrations(TABLES);
    boot_and_stop(&settings(&ours.url(), folder.path()))
        .await
        .unwrap();
    let mut connection = theirs.connect().await;
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(ours.ledger().await, theirs.ledger().await);
    let tables = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL
                  AND name NOT LIKE '\\_uptree%' ESCAPE '\\' ORDER BY name";
    let words = |sql: String| {
        sql.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(ours.query(tables).await),
        words(theirs.query(tables).await)
    );
}

#[tokio::test]
async fn sqlx_and_uptree_migrate_in_turn() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&database.url(), folder.path());
    let mut connection = database.connect().await;
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();

    write(folder.path(), TABLES[1].0, TABLES[1].1);
    boot_and_stop(&settings).await.unwrap();

    write(folder.path(), TABLES[2].0, TABLES[2].1);
    sqlx_migrator(folder.path())
        .await
        .run(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.ledger().await.lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_applies_each_migration_once() {
    let database = Database::new();
    let folder = migrations(TABLES);
    let settings = settings(&database.url(), folder.path());
    herd(&settings, 50).await;
    assert_eq!(database.ledger().await.lines().count(), 3);
    assert_eq!(database.query("SELECT count(*) FROM b").await, "1");
    herd(&settings, 50).await;
    assert_eq!(database.query("SELECT count(*) FROM b").await, "1");
}

#[tokio::test]
async fn a_failing_migration_is_rolled_back_and_says_where_it_failed() {
    for (sql, place, words) in [
        (
            "CREATE TABLE c (id int);\n\n  CREATE TABEL d (id int);\n",
            "at line 3, column 10",
            "near \"TABEL\": syntax error (SQLite code 1)",
        ),
        (
            "CREATE TABLE c (id int);\nINSERT INTO c VALUES (1);\nINSERT INTO b VALUES (1);\n",
            "at line 3",
            "UNIQUE constraint failed: b.id (SQLite code 1555)",
        ),
        (
            "-- a comment; with a semicolon\nINSERT INTO nowhere VALUES (1);",
            "at line 2",
            "no such table: nowhere (SQLite code 1)",
        ),
    ] {
        let database = Database::new();
        let folder = migrations(&TABLES[..2]);
        write(folder.path(), "0004_broken.sql", sql);
        let settings = settings(&database.url(), folder.path());
        let failure = Service::spawn(&settings).failure().await;
        let expected = format!(
            "error: app/migrator did not start\n  \
             caused by: migration 0004_broken.sql failed {place}\n  \
             caused by: {words}"
        );
        assert_eq!(failure, expected);
        assert_eq!(database.ledger().await.lines().count(), 2);
        assert_eq!(
            database
                .query("SELECT count(*) FROM sqlite_schema WHERE name = 'c'")
                .await,
            "0"
        );
        // Nothing is locked: once the file is mended, it is applied.
        write(folder.path(), "0004_broken.sql", "CREATE TABLE c (id int);");
        boot_and_stop(&settings).await.unwrap();
    }
}

#[tokio::test]
async fn what_only_a_person_can_decide_keeps_it_from_booting() {
    let database = Database::new();
    let folder = migrations(&TABLES[..2]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();

    write(folder.path(), "0002_b.sql", "CREATE TABLE b (id TEXT);");
    let failure = Service::spawn(&settings).failure().await;
    assert!(
        failure.contains("0002_b.sql has been changed since it was applied"),
        "{failure}"
    );
    assert!(failure.contains("help: put 0002_b.sql back"), "{failure}");
    write(folder.path(), "0002_b.sql", TABLES[1].1);

    database
        .query("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1")
        .await;
    let failure = Service::spawn(&settings).failure().await;
    assert!(
        failure.contains("migration 1 (a) was begun, and did not finish"),
        "{failure}"
    );
    assert!(
        failure.contains("`migrate resolve 1 --rolled-back`"),
        "{failure}"
    );
}

#[tokio::test]
async fn an_older_program_boots_on_a_newer_schema() {
    let database = Database::new();
    let newer = migrations(TABLES);
    boot_and_stop(&settings(&database.url(), newer.path()))
        .await
        .unwrap();
    let older = migrations(&TABLES[..1]);
    boot_and_stop(&settings(&database.url(), older.path()))
        .await
        .unwrap();
    assert_eq!(database.ledger().await.lines().count(), 3);
}

#[tokio::test]
async fn a_migration_with_a_lower_version_is_applied_late() {
    let database = Database::new();
    let folder = migrations(&TABLES[1..2]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), TABLES[0].0, TABLES[0].1);
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM a").await, "0");
}

#[tokio::test]
async fn a_stop_during_a_migration_interrupts_and_rolls_it_back() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), "0002_endless.sql", ENDLESS);
    let mut service = Service::spawn(&settings);
    service
        .event(&["app/migrator: progress 1/2 0002_endless.sql"])
        .await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(database.ledger().await.lines().count(), 1);
    write(folder.path(), "0002_endless.sql", "SELECT 1;");
    boot_and_stop(&settings).await.unwrap();
}

#[tokio::test]
async fn a_migrator_that_is_killed_leaves_nothing_locked() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), "0002_endless.sql", ENDLESS);
    let mut service = Service::spawn(&settings);
    service
        .event(&["app/migrator: progress 1/2 0002_endless.sql"])
        .await;
    // The tree is killed: the migrator's future is dropped.
    drop(service);
    write(folder.path(), "0002_endless.sql", "SELECT 1;");
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.ledger().await.lines().count(), 2);
}

#[tokio::test]
async fn a_writer_that_ends_is_waited_for_and_one_that_does_not_is_named_by_its_lock() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), TABLES[1].0, TABLES[1].1);

    let mut writer = database.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let failure = Service::spawn_within(&settings, Duration::from_secs(1))
        .failure()
        .await;
    assert!(failure.contains("app/migrator did not start"), "{failure}");
    assert!(failure.contains("not ready within 1s"), "{failure}");
    assert!(
        failure.contains("database is locked (SQLite code 5)"),
        "{failure}"
    );

    let mut service = Service::spawn(&settings);
    service.event(&["app/migrator: attempt failed"]).await;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(database.ledger().await.lines().count(), 2);
}

#[tokio::test]
async fn a_waiter_outlives_its_start_timeout_while_another_migrates() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), "0002_endless.sql", ENDLESS);
    let mut first = Service::spawn(&settings);
    first
        .event(&["app/migrator: progress 1/2 0002_endless.sql"])
        .await;

    let timeout = Duration::from_secs(2);
    let mut second = Service::spawn_within(&settings, timeout);
    for _ in 0..4 {
        // A timeout's worth of pulses, more than once over.
        second
            .event(&["progress 1/2 0002_endless.sql, by another process"])
            .await;
    }
    first.stop().await;
    // Then it is its turn.
    second
        .event(&["app/migrator: progress 1/2 0002_endless.sql"])
        .await;
    second.stop().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_at_once_with_what_to_do() {
    let empty = migrations(&[]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(folder.path().join("notes.txt"), "x".repeat(5000)).unwrap();
    for (url, failure, help) in [
        (
            format!("sqlite://{}?mode=rwc", at("none/x.db")),
            "unable to open database file (SQLite code 14)",
            format!("the folder {} does not exist: create it", at("none")),
        ),
        (
            format!("sqlite://{}", at("x.db")),
            "unable to open database file (SQLite code 14)",
            "let DATABASE_URL end in ?mode=rwc".to_owned(),
        ),
        (
            format!("sqlite://{}?mode=ro", at("x.db")),
            "unable to open database file (SQLite code 14)",
            "to create it, let DATABASE_URL end in ?mode=rwc".to_owned(),
        ),
        (
            format!("sqlite://{}?mode=rwc", folder.path().display()),
            "unable to open database file (SQLite code 14)",
            "it is a folder".to_owned(),
        ),
        (
            format!("sqlite://{}", at("notes.txt")),
            "file is not a database (SQLite code 26)",
            "something else".to_owned(),
        ),
    ] {
        let mut service = Service::spawn(&settings(&url, empty.path()));
        let text = soon(service.failure()).await;
        assert!(
            text.starts_with("error: app/repo did not start\n  caused by: cannot open SQLite file"),
            "{text}"
        );
        assert!(text.contains(failure), "{text}");
        assert!(text.contains(&help), "{text}\nhas no: {help}");
    }
}

#[tokio::test]
async fn a_folder_of_migrations_that_is_not_there_is_found_before_anything_starts() {
    let database = Database::new();
    let settings = settings(&database.url(), Path::new("/nowhere/at/all"));
    let repo = Repo::new(&settings);
    let migrator = uptree_sqlx::Migrator::new(&repo, support::embedded());
    let tree = Supervisor::new("app")
        .child(repo)
        .child(migrator)
        .start()
        .await;
    let text = uptree_app::chain(&*tree.map(drop).unwrap_err());
    assert!(
        text.contains("cannot read the migrations in /nowhere/at/all"),
        "{text}"
    );
    assert!(!database.path().exists());
}

#[tokio::test]
async fn a_pool_that_is_closed_is_replaced() {
    let database = Database::new();
    let settings = DatabaseSettings::new(database.url().parse().unwrap());
    let repo = Repo::new(&settings);
    let mut tree = Supervisor::new("app")
        .strategy(Strategy::RestForOne)
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    let first = repo.pool().unwrap();
    first.close().await;
    let second = eventually(async || repo.pool().ok().filter(|pool| !pool.is_closed())).await;
    sqlx::raw_sql("SELECT 1").execute(&second).await.unwrap();
    tree.stop(uptree_app::StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();
    assert!(second.is_closed());
}

#[tokio::test]
async fn a_stop_waits_for_the_connections_that_are_in_use() {
    let database = Database::new();
    let folder = migrations(&TABLES[..1]);
    let mut service = boot(&settings(&database.url(), folder.path())).await;
    let mut connection = service.repo.pool().unwrap().acquire().await.unwrap();
    let repo = service.repo.clone();
    let writer = tokio::spawn(async move {
        // The handle is emptied first: then the last write is made.
        eventually(async || repo.pool().is_err().then_some(())).await;
        let insert = sqlx::raw_sql("INSERT INTO a VALUES (1)");
        insert.execute(&mut *connection).await.unwrap();
    });
    service.stop().await;
    writer.await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM a").await, "1");
}

#[tokio::test]
async fn all_connections_to_a_database_in_memory_see_the_same() {
    for url in ["sqlite::memory:", "sqlite://?mode=memory"] {
        let folder = migrations(&TABLES[..2]);
        let mut service = boot(&settings(url, folder.path())).await;
        let pool = service.repo.pool().unwrap();
        let mut first = pool.acquire().await.unwrap();
        let mut second = pool.acquire().await.unwrap();
        sqlx::raw_sql("INSERT INTO a VALUES (1)")
            .execute(&mut *first)
            .await
            .unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM a")
            .fetch_one(&mut *second)
            .await
            .unwrap();
        assert_eq!(count, 1);
        drop((first, second, pool));
        service.stop().await;
    }
}

#[tokio::test]
async fn a_path_means_the_same_to_the_pool_and_to_the_migrator() {
    let database = Database::new();
    for name in ["a b.db", "x?y.db", "über.db", "sub/../dots.db", "100%.db"] {
        let folder = database.folder.path();
        fs::create_dir_all(folder.join("sub")).unwrap();
        let escaped = name.replace('%', "%25").replace('?', "%3F");
        let url = format!("sqlite://{}/{escaped}?mode=rwc", folder.display());
        let files = migrations(&TABLES[..1]);
        let mut service = boot(&settings(&url, files.path())).await;
        let pool = service.repo.pool().unwrap();
        sqlx::raw_sql("INSERT INTO a VALUES (1)")
            .execute(&pool)
            .await
            .unwrap();
        drop(pool);
        service.stop().await;
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_typed_pool_takes_its_own_database_only() {
    let database = Database::new();
    let settings = DatabaseSettings::new(database.url().parse().unwrap());
    let repo = Repo::<sqlx::Sqlite>::typed(&settings);
    let mut tree = Supervisor::new("app")
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    sqlx::query("SELECT ?1")
        .bind(1_u32)
        .execute(&repo.pool().unwrap())
        .await
        .unwrap();
    tree.stop(uptree_app::StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();

    #[cfg(feature = "postgres")]
    {
        let repo = Repo::<sqlx::Postgres>::typed(&settings);
        let tree = Supervisor::new("app").child(repo).start().await;
        let text = uptree_app::chain(&*tree.map(drop).unwrap_err());
        assert!(
            text.contains("a pool of Postgres cannot connect to SQLite file"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_an_error_means_is_the_same_through_any() {
    let database = Database::new();
    let folder = migrations(&TABLES[..2]);
    let mut service = boot(&settings(&database.url(), folder.path())).await;
    let pool = service.repo.pool().unwrap();
    let twice = sqlx::raw_sql("INSERT INTO b VALUES (1)")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(uptree_sqlx::is_rejected(&twice) && !uptree_sqlx::is_unavailable(&twice));
    let wrong = sqlx::raw_sql("INSERT INTO b VALUES ('x')")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(uptree_sqlx::is_rejected(&wrong), "{wrong}");
    let unknown = sqlx::raw_sql("SELECT * FROM nowhere")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(!uptree_sqlx::is_rejected(&unknown) && !uptree_sqlx::is_unavailable(&unknown));

    let mut writer = database.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("PRAGMA busy_timeout = 0")
        .execute(&mut *connection)
        .await
        .unwrap();
    let busy = sqlx::raw_sql("INSERT INTO b VALUES (2)")
        .execute(&mut *connection)
        .await
        .unwrap_err();
    assert!(uptree_sqlx::is_unavailable(&busy) && !uptree_sqlx::is_rejected(&busy));
    drop(connection);
    drop(pool);
    service.stop().await;
}
