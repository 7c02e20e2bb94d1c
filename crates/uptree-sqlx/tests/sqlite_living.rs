//! Migrating SQLite beside others: readers, writers, sqlx, other migrators, and oneself after a
//! crash.

#![cfg(feature = "sqlite")]

mod support;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection, Sqlite};
use support::{
    Service, boot_and_stop, embedded, eventually, migrations, settings, soon, sqlite::Database,
    sqlx_migrator, write,
};
use uptree_app::{StopCause, Supervisor};
use uptree_sqlx::{DatabaseSettings, Migrator, Repo};

const ENDLESS: &str = "CREATE TABLE counted AS \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000) \
    SELECT max(i) FROM n;";

const TABLE: (&str, &str) = ("0001_a.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY);");

/// What a folder has, and when it was written.
fn listing(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let about = entry.metadata().expect("a file");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, about.len(), about.modified().expect("a time"))
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn with_nothing_to_do_nothing_is_written_and_no_lock_is_waited_for() {
    let database = Database::new();
    let folder = migrations(&[TABLE]);
    let ours = settings(&database.url(), folder.path());
    boot_and_stop(&ours).await.unwrap();
    let before = listing(database.folder.path());
    boot_and_stop(&ours).await.unwrap();
    assert_eq!(listing(database.folder.path()), before);

    let mut writer = database.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE; INSERT INTO a VALUES (1)")
        .execute(&mut writer)
        .await
        .unwrap();
    boot_and_stop(&ours).await.unwrap();
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    writer.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_only_read_is_taken_as_it_is() {
    let database = Database::new();
    let folder = migrations(&[TABLE]);
    // As sqlx leaves it, without the tables beside the ledger.
    let mut connection = database.connect().await;
    let migrator = sqlx_migrator(folder.path()).await;
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let before = listing(database.folder.path());
    for mode in ["mode=ro", "immutable=true"] {
        let url = format!("sqlite://{}?{mode}", database.path().display());
        boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        assert_eq!(listing(database.folder.path()), before, "{mode}");
    }
    write(folder.path(), "0002_b.sql", "CREATE TABLE b (id)");
    let url = format!("sqlite://{}?mode=ro", database.path().display());
    let failure = boot_and_stop(&settings(&url, folder.path())).await;
    let failure = failure.unwrap_err();
    assert!(
        failure.contains("attempt to write a readonly database (SQLite code 8)"),
        "{failure}"
    );
    assert!(failure.contains("help: it takes no writes"), "{failure}");
    assert_eq!(listing(database.folder.path()), before);
}

#[tokio::test]
async fn a_stop_during_a_step_interrupts_it_and_the_next_start_goes_on_there() {
    let database = Database::new();
    let folder = migrations(&[TABLE]);
    let first = "-- no-transaction\nINSERT INTO a VALUES (1);\n";
    write(
        folder.path(),
        "0002_steps.sql",
        &format!("{first}{ENDLESS}"),
    );
    let settings = settings(&database.url(), folder.path());
    let mut service = Service::spawn(&settings);
    service
        .event(&["app/migrator: progress 1/2 0002_steps.sql, statement 2 of 2"])
        .await;
    let took = service.stop().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let row = "SELECT success, steps_done, step_begun FROM _sqlx_migrations
               JOIN _uptree_migrations USING (version) WHERE version = 2";
    assert_eq!(database.query(row).await, "0|1|0");

    // sqlx will not touch it.
    let mut connection = database.connect().await;
    let migrator = sqlx_migrator(folder.path()).await;
    let refused = migrator.run(&mut connection).await.unwrap_err();
    assert!(
        matches!(refused, sqlx::migrate::MigrateError::Dirty(2)),
        "{refused}"
    );
    connection.close().await.unwrap();

    let second = format!("{first}INSERT INTO a VALUES (2);");
    write(folder.path(), "0002_steps.sql", &second);
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM a").await, "2");
    assert_eq!(database.query(row).await, "1|2|0");
}

#[tokio::test]
async fn what_a_file_had_set_before_a_crash_holds_after_it() {
    let database = Database::new();
    let folder = migrations(&[(
        "0001_family.sql",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (parent INTEGER REFERENCES parent ON DELETE CASCADE);
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);",
    )]);
    let begins = "-- no-transaction
        PRAGMA foreign_keys = OFF;
        ATTACH ':memory:' AS other;
        CREATE TABLE parent_new (id INTEGER PRIMARY KEY);
        INSERT INTO parent_new SELECT * FROM parent;";
    let ends = "DROP TABLE parent;
        ALTER TABLE parent_new RENAME TO parent;
        CREATE TABLE other.x (id);
        VACUUM;
        DETACH other;";
    write(
        folder.path(),
        "0002_steps.sql",
        &format!("{begins} SELEC 1; {ends}"),
    );
    let settings = settings(&database.url(), folder.path());
    let failure = boot_and_stop(&settings).await.unwrap_err();
    assert!(
        failure.contains("near \"SELEC\": syntax error"),
        "{failure}"
    );
    write(folder.path(), "0002_steps.sql", &format!("{begins} {ends}"));
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM child").await, "1");
}

#[tokio::test]
async fn a_step_waits_for_a_writer() {
    let database = Database::new();
    let folder = migrations(&[TABLE]);
    let settings = settings(&database.url(), folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(
        folder.path(),
        "0002_steps.sql",
        "-- no-transaction\nINSERT INTO a VALUES (1);\nVACUUM;\nINSERT INTO a VALUES (2);",
    );
    let mut writer = database.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let mut service = Service::spawn(&settings);
    service.event(&["app/migrator: attempt failed"]).await;
    assert!(soon(service.stop()).await < Duration::from_secs(1));
    let mut service = Service::spawn(&settings);
    service.event(&["app/migrator: attempt failed"]).await;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    writer.close().await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM a").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlx_at_the_same_time_takes_nothing_from_those_who_wait() {
    let database = Database::new();
    let files: Vec<_> = (1..=20)
        .map(|n| {
            (
                format!("{n:04}_t.sql"),
                format!("CREATE TABLE t{n} (id INTEGER PRIMARY KEY); INSERT INTO t{n} VALUES (1);"),
            )
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(name, sql)| (&**name, &**sql)).collect();
    let folder = migrations(&files);
    let settings = settings(&database.url(), folder.path());
    let boots: Vec<_> = (0..6)
        .map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { boot_and_stop(&settings).await })
        })
        .collect();
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let options: sqlx::sqlite::SqliteConnectOptions = database.url().parse().unwrap();
            let path = folder.path().to_owned();
            let run = async move || {
                let migrator = sqlx_migrator(&path).await;
                let mut connection = sqlx::ConnectOptions::connect(&options).await?;
                let ran = migrator.run(&mut connection).await;
                connection.close().await?;
                ran
            };
            // Its future cannot be sent to another thread.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio::task::spawn_blocking(move || runtime.block_on(run()))
        })
        .collect();
    for boot in boots {
        assert_eq!(soon(boot).await.unwrap(), Ok(()));
    }
    let mut failed = 0;
    for run in runs {
        failed += u32::from(soon(run).await.unwrap().is_err());
    }
    println!("{failed} of 6 runs of sqlx failed");
    assert_eq!(database.ledger().await.lines().count(), 20);
    let mut connection = database.connect().await;
    let migrator = sqlx_migrator(folder.path()).await;
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_in_memory_takes_every_kind_of_file() {
    let folder = migrations(&[
        TABLE,
        (
            "0002_sets.sql",
            "PRAGMA foreign_keys = OFF; INSERT INTO a VALUES (1);",
        ),
        (
            "0003_steps.sql",
            "-- no-transaction\nINSERT INTO a VALUES (2);\nVACUUM;",
        ),
        ("0004_last.sql", "INSERT INTO a VALUES (3);"),
    ]);
    let mut service = support::boot(&settings("sqlite::memory:", folder.path())).await;
    let pool = service.repo.pool().unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM a")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 3);
    drop(pool);
    service.stop().await;
}

#[tokio::test]
async fn who_only_waits_sees_that_another_is_at_work() {
    let database = Database::new();
    let folder = migrations(&[("0001_endless.sql", ENDLESS)]);
    let mut settings = settings(&database.url(), folder.path());
    let mut first = Service::spawn(&settings);
    first.event(&["progress 0/1 0001_endless.sql"]).await;
    settings.migrate.role = uptree_sqlx::MigrateRole::Wait;
    let mut second = Service::spawn_within(&settings, Duration::from_secs(2));
    for _ in 0..4 {
        // A start timeout's worth of pulses, more than once over.
        second
            .event(&["progress 0/1 0001_endless.sql, by another process"])
            .await;
    }
    first.stop().await;
    second.event(&["app/migrator: attempt failed"]).await;
    second.stop().await;
}

#[tokio::test]
async fn a_name_that_is_a_uri_has_its_lock_beside_the_file() {
    let database = Database::new();
    let folder = migrations(&[("0001_endless.sql", ENDLESS)]);
    let url = format!("sqlite:file:{}?mode=rwc", database.path().display());
    let mut service = Service::spawn(&settings(&url, folder.path()));
    service.event(&["progress 0/1 0001_endless.sql"]).await;
    let lock = database.folder.path().join("test.db-migrate");
    eventually(async || lock.exists().then_some(())).await;
    service.stop().await;
    assert!(!lock.exists());
    assert!(database.path().exists());
}

#[tokio::test]
async fn without_a_write_ahead_log_it_is_migrated_as_well() {
    let database = Database::new();
    let folder = migrations(&[
        TABLE,
        (
            "0002_steps.sql",
            "-- no-transaction\nINSERT INTO a VALUES (1);\nVACUUM;",
        ),
    ]);
    // This way of locking has no shared memory, as some network file systems have none.
    let url = format!("{}&vfs=unix-dotfile", database.url());
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(database.query("PRAGMA journal_mode").await, "delete");
    assert_eq!(database.query("SELECT count(*) FROM a").await, "1");
}

#[tokio::test]
async fn a_commit_waits_for_a_reader_where_there_is_no_write_ahead_log() {
    let database = Database::new();
    let options: sqlx::sqlite::SqliteConnectOptions = database.url().parse().unwrap();
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Delete);
    let repo = Repo::<Sqlite>::with_options(options.clone(), sqlx::pool::PoolOptions::new());
    let mut reader = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE x (id); BEGIN; SELECT * FROM x")
        .execute(&mut reader)
        .await
        .unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let migrator = Migrator::new(&repo, embedded()).code::<Sqlite>(1, "count", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    let starts = tokio::spawn(Supervisor::new("app").child(repo).child(migrator).start());
    // Longer than SQLite itself waits.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!starts.is_finished());
    reader.close().await.unwrap();
    let mut tree = soon(starts).await.unwrap().unwrap();
    tree.stop(StopCause::Shutdown);
    soon(tree.wait()).await.unwrap();
    assert_eq!(database.ledger().await.lines().count(), 1);
    assert_eq!(
        runs.load(Ordering::SeqCst),
        1,
        "it was not run again for it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_lock_can_be_had_each_statement_is_done_once_all_the_same() {
    let steps = "INSERT INTO a VALUES (1);\nPRAGMA user_version = 1;\n".repeat(10);
    for _ in 0..3 {
        let database = Database::new();
        // What is not a file cannot be locked.
        fs::create_dir(database.folder.path().join("test.db-migrate")).unwrap();
        let folder = migrations(&[
            ("0001_a.sql", "CREATE TABLE a (id INTEGER);"),
            ("0002_steps.sql", &format!("-- no-transaction\n{steps}")),
            ("0003_b.sql", "INSERT INTO a VALUES (2);"),
        ]);
        support::herd(&settings(&database.url(), folder.path()), 20).await;
        let counts = "SELECT id, count(*) FROM a GROUP BY id ORDER BY id";
        assert_eq!(database.query(counts).await, "1|10\n2|1");
    }
}

static RUNS: AtomicU32 = AtomicU32::new(0);

#[tokio::test]
async fn migrations_in_rust_are_whole_and_in_their_order() {
    let database = Database::new();
    let folder = migrations(&[
        TABLE,
        (
            "0003_next.sql",
            "CREATE TABLE found AS SELECT recursive_triggers, (SELECT count(*) FROM a) AS rows
             FROM pragma_recursive_triggers;",
        ),
    ]);
    let settings = DatabaseSettings::new(database.url().parse().unwrap());
    let boot = || async {
        let repo = Repo::new(&settings);
        let migrator = Migrator::new(&repo, embedded())
            .folder(folder.path())
            .code::<Sqlite>(2, "fill", |connection| {
                Box::pin(async move {
                    sqlx::raw_sql("PRAGMA recursive_triggers = ON; INSERT INTO a VALUES (1), (2)")
                        .execute(connection)
                        .await?;
                    match RUNS.fetch_add(1, Ordering::SeqCst) {
                        0 => Err("the first time it fails".into()),
                        _ => Ok(()),
                    }
                })
            });
        let tree = Supervisor::new("app").child(repo).child(migrator).start();
        let mut tree = soon(tree).await?;
        tree.stop(StopCause::Shutdown);
        soon(tree.wait()).await
    };
    let failure = uptree_app::chain(&*boot().await.unwrap_err());
    assert!(failure.contains("the first time it fails"), "{failure}");
    assert_eq!(database.ledger().await.lines().count(), 1);
    assert_eq!(database.query("SELECT count(*) FROM a").await, "0");
    boot().await.unwrap();
    boot().await.unwrap();
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
    assert_eq!(database.query("SELECT * FROM found").await, "0|2");
}

#[tokio::test]
async fn a_row_that_requires_newer_code_keeps_older_code_out() {
    for file in [
        "-- requires: 0002\nCREATE TABLE b (id);",
        "-- no-transaction\n-- requires: 0002\nCREATE TABLE b (id);\nVACUUM;",
    ] {
        let database = Database::new();
        let newer = migrations(&[TABLE, ("0002_b.sql", file)]);
        boot_and_stop(&settings(&database.url(), newer.path()))
            .await
            .unwrap();
        let older = migrations(&[TABLE]);
        let failure = boot_and_stop(&settings(&database.url(), older.path())).await;
        let failure = failure.unwrap_err();
        assert!(
            failure.contains("migration 2 (b) requires a program that knows migration 2"),
            "{failure}"
        );
    }
}
