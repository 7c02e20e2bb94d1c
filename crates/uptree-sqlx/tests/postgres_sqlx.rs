//! Living with sqlx on one Postgres database: its migrator, and its prepared statements.

#![cfg(feature = "postgres")]

mod support;

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    migrate::{Migrate, MigrateError},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use support::{
    Service, boot, boot_and_stop, eventually, migrations, settings, soon, sqlx_migrator, write,
};
use uptree_app::Supervisor;
use uptree_sqlx::{Migrator, Repo};
use uptree_tests::{Postgres, Proxy};

const FILES: &[(&str, &str)] = &[
    (
        "0001_t.sql",
        "CREATE TABLE t (id int, name text);\nINSERT INTO t VALUES (1, 'a');",
    ),
    (
        "0002_index.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY t_id ON t (id);",
    ),
    ("0003_more.sql", "INSERT INTO t VALUES (2, 'b');"),
    (
        "0004_index.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY t_name ON t (name);",
    ),
];

/// The key that sqlx has for a database named `x`: 0x3d32ad9e times its CRC-32.
const KEY: i64 = 2_426_406_526_280_428_506;

/// The key that is Uptree's own.
const OUR_KEY: i64 = KEY ^ 0x7570_7472_6565;

const LOCKS_OF_OURS: &str = "SELECT count(*) FROM pg_locks AS l WHERE locktype = 'advisory'
    AND (classid::bigint << 32) | objid::bigint = 2426356704327241407";
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const INVALID: &str = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
const LEDGER: &str = "SELECT version, success FROM _sqlx_migrations ORDER BY version";

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

/// `sqlx migrate run`, a process of its own, whose end frees its lock.
async fn sqlx_run(url: &str, folder: &Path) -> Result<(), MigrateError> {
    let (url, folder) = (url.to_owned(), folder.to_owned());
    // sqlx's futures cannot be sent.
    let process = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs little");
        runtime.block_on(async {
            let migrator = sqlx_migrator(&folder).await;
            let mut connection = connect(&url).await;
            let outcome = migrator.run(&mut connection).await;
            connection.close().await.expect("the server is there");
            outcome
        })
    });
    process.await.expect("no panic")
}

/// `sqlx migrate info`: what is applied.
async fn sqlx_info(url: &str) -> Vec<i64> {
    let mut connection = connect(url).await;
    let table = "_sqlx_migrations";
    let made = connection.ensure_migrations_table(table).await;
    made.expect("the ledger is there, or is made");
    let applied = connection.list_applied_migrations(table).await;
    let applied = applied.expect("it can be read");
    connection.close().await.expect("the server is there");
    applied.into_iter().map(|one| one.version).collect()
}

async fn until(server: &Postgres, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.psql(database, sql) == answer).then_some(())).await;
}

#[tokio::test]
async fn sqlx_and_uptree_take_turns() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&FILES[..1]);
    for (n, file) in FILES.iter().enumerate() {
        write(folder.path(), file.0, file.1);
        if n % 2 == 0 {
            sqlx_run(&url, folder.path()).await.unwrap();
        } else {
            boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        }
        let applied: Vec<_> = (1..=i64::try_from(n).unwrap() + 1).collect();
        assert_eq!(sqlx_info(&url).await, applied);
        sqlx_run(&url, folder.path()).await.unwrap();
        boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    }
    assert_eq!(server.psql("x", INVALID), "0");
    assert_eq!(server.psql("x", "SELECT id FROM t ORDER BY 1"), "1\n2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_at_once_on_an_empty_database_apply_each_migration_once() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let folder = migrations(FILES);
    for n in 0..3 {
        let database = format!("x{n}");
        let url = server.create_database(&database);
        let settings = settings(&url, folder.path());
        let ours = (0..4).map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { boot_and_stop(&settings).await })
        });
        let theirs = (0..4).map(|_| {
            let (url, folder) = (url.clone(), folder.path().to_owned());
            tokio::spawn(async move {
                // Some of sqlx's own deadlock with each other, or find an index of one that did:
                // whoever starts them starts them again.
                while let Err(error) = sqlx_run(&url, &folder).await {
                    println!("sqlx: {error:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
        });
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
        for one in ours {
            soon(one).await.unwrap().unwrap();
        }
        for one in theirs {
            soon(one).await.unwrap();
        }
        assert_eq!(server.psql(&database, LEDGER), "1|t\n2|t\n3|t\n4|t");
        assert_eq!(server.psql(&database, INVALID), "0");
        assert_eq!(
            server.psql(&database, "SELECT id FROM t ORDER BY 1"),
            "1\n2"
        );
        until(&server, &database, LOCKS, "0").await;
    }
}

#[tokio::test]
async fn while_a_step_runs_and_after_a_crash_sqlx_stops_as_dirty() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&FILES[..1]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), FILES[1].0, FILES[1].1);
    let reader = server.session("x", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
    let mut service = Service::spawn(&settings);
    until(&server, "x", INVALID, "1").await;
    let dirty = soon(sqlx_run(&url, folder.path())).await.unwrap_err();
    assert!(matches!(dirty, MigrateError::Dirty(2)), "{dirty}");
    // Another of us waits, and is in nobody's way.
    let mut second = Service::spawn(&settings);
    second.event(&["0002_index.sql, by another process"]).await;
    drop(reader);
    service.ready().await.unwrap();
    second.ready().await.unwrap();
    service.stop().await;
    second.stop().await;
    sqlx_run(&url, folder.path()).await.unwrap();

    write(folder.path(), FILES[2].0, FILES[2].1);
    write(folder.path(), FILES[3].0, FILES[3].1);
    let reader = server.session("x", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
    let service = Service::spawn(&settings);
    until(&server, "x", INVALID, "1").await;
    drop(service);
    until(&server, "x", LOCKS, "0").await;
    drop(reader);
    let dirty = soon(sqlx_run(&url, folder.path())).await.unwrap_err();
    assert!(matches!(dirty, MigrateError::Dirty(4)), "{dirty}");
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(server.psql("x", INVALID), "0");
    sqlx_run(&url, folder.path()).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_sqlx_s_lock_goes_first_and_deadlocks_with_nobody() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&FILES[..1]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), FILES[1].0, FILES[1].1);
    let holder = server.session("x", &format!("SELECT pg_advisory_lock({KEY})"));
    let theirs = tokio::spawn({
        let (url, folder) = (url.clone(), folder.path().to_owned());
        async move { sqlx_run(&url, &folder).await }
    });
    let waits = format!("{LOCKS} AND NOT granted");
    until(&server, "x", &waits, "1").await;
    let mut service = Service::spawn(&settings);
    service.event(&["0002_index.sql, by another process"]).await;
    drop(holder);
    soon(theirs).await.unwrap().unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.psql("x", LEDGER), "1|t\n2|t");
    assert!(!server.log().contains("deadlock"), "{}", server.log());
}

#[tokio::test]
async fn a_deadlock_with_an_index_build_ends_with_the_index() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(&FILES[..1]);
    let settings = settings(&url, folder.path());
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), FILES[1].0, FILES[1].1);
    // It has a lock on the table, and will want the one that only Uptree's programs have.
    let mut other = connect(&url).await;
    let begin = "SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE";
    sqlx::raw_sql(begin).execute(&mut other).await.unwrap();
    let mut service = Service::spawn(&settings);
    until(&server, "x", LOCKS_OF_OURS, "1").await;
    let building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'
                    AND state = 'active' AND wait_event_type = 'Lock'";
    until(&server, "x", building, "1").await;
    let wait = tokio::spawn(async move {
        let lock = format!("SELECT pg_advisory_lock({OUR_KEY})");
        let lock = sqlx::raw_sql(sqlx::AssertSqlSafe(lock));
        lock.execute(&mut other).await.unwrap();
        other
    });
    let other = soon(wait).await.unwrap();
    assert!(
        server.log().contains("deadlock detected"),
        "{}",
        server.log()
    );
    other.close().await.unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    assert_eq!(server.psql("x", INVALID), "0");
    assert_eq!(server.psql("x", LEDGER), "1|t\n2|t");
    until(&server, "x", LOCKS, "0").await;
}

#[tokio::test]
async fn a_project_of_sqlx_s_needs_no_step() {
    let Some(server) = Postgres::start() else {
        return;
    };
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'app'");
    let url = server.create_database("x");
    let folder = migrations(FILES);
    sqlx_run(&url, folder.path()).await.unwrap();
    let dump = "SELECT version, installed_on, execution_time FROM _sqlx_migrations ORDER BY 1";
    let before = server.psql("x", dump);
    // Who may not create the tables beside the ledger goes without.
    server.psql(
        "x",
        "REVOKE CREATE ON SCHEMA public FROM public; GRANT SELECT ON _sqlx_migrations TO app",
    );
    let as_app = server.url_as("app", "app", "x");
    boot_and_stop(&settings(&as_app, folder.path()))
        .await
        .unwrap();
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_uptree%' AND relkind = 'r'";
    assert_eq!(server.psql("x", tables), "0");
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(server.psql("x", tables), "2");
    assert_eq!(server.psql("x", dump), before);
    sqlx_run(&url, folder.path()).await.unwrap();
}

/// Reads all columns, as a program does that was prepared before the migration.
async fn read_all<Db>(repo: &Repo<Db>) -> Result<usize, sqlx::Error>
where
    Db: uptree_sqlx::Backend + sqlx::database::HasStatementCache,
    for<'q> Db::Arguments: sqlx::IntoArguments<Db>,
    for<'c> &'c mut Db::Connection: sqlx::Executor<'c, Database = Db>,
{
    let pool = repo.pool().expect("it runs");
    let query = sqlx::query::<Db>("SELECT * FROM t WHERE id = 1");
    query.fetch_one(&pool).await.map(|row| row.len())
}

#[tokio::test]
async fn a_pool_does_not_fail_by_statements_that_are_older_than_a_migration() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(FILES);
    let service = boot(&settings(&url, folder.path())).await;
    let typed_settings = settings(&url, folder.path());
    let typed = Repo::<sqlx::Postgres>::typed(&typed_settings);
    let tree = Supervisor::new("app")
        .child(typed.clone())
        .start()
        .await
        .unwrap();
    for (version, ours) in [(5, true), (6, false), (7, true)] {
        let columns = version - 3;
        // More connections than one have it prepared.
        for _ in 0..3 {
            let (a, b) = tokio::join!(read_all(&service.repo), read_all(&service.repo));
            assert_eq!((a.unwrap(), b.unwrap()), (columns, columns));
            let (a, b) = tokio::join!(read_all(&typed), read_all(&typed));
            assert_eq!((a.unwrap(), b.unwrap()), (columns, columns));
        }
        write(
            folder.path(),
            &format!("000{version}_column.sql"),
            &format!("ALTER TABLE t ADD COLUMN c{version} int"),
        );
        if ours {
            boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        } else {
            sqlx_run(&url, folder.path()).await.unwrap();
        }
    }
    drop(tree);
}

#[tokio::test]
async fn to_ask_the_ledger_takes_no_round_trip_more_than_the_ping() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(FILES);
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    let proxy = Proxy::to(server.addr());
    let mut settings = settings(&proxy.through(&url), folder.path());
    settings.pool_size = 1;
    let repo = Repo::<sqlx::Postgres>::typed(&settings);
    let _ = Migrator::new(&repo, support::embedded());
    let tree = Supervisor::new("app")
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    let ours = repo.pool().unwrap();
    let plain = PgPoolOptions::new().max_connections(1);
    let plain = plain.connect(&proxy.through(&url)).await.unwrap();
    let mut counts = Vec::new();
    for pool in [&ours, &plain] {
        for round in 0..2 {
            proxy.mark();
            for _ in 0..10 {
                let query = sqlx::query("SELECT * FROM t");
                query.fetch_all(pool).await.unwrap();
            }
            // The last one is back in the pool, and was asked again.
            drop(pool.acquire().await.unwrap());
            if round > 0 {
                counts.push(proxy.messages());
            }
        }
    }
    assert!(counts[0] > 20 && counts[0] <= counts[1], "{counts:?}");
    drop((ours, plain, tree));
}

#[tokio::test]
async fn a_pool_without_a_ledger_lends_its_connections_and_leaves_no_error_in_the_log() {
    let Some(server) = Postgres::start() else {
        return;
    };
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'app'");
    let url = server.create_database("x");
    let folder = migrations(FILES);
    let as_app = server.url_as("app", "app", "x");
    let repo = Repo::new(&settings(&as_app, folder.path()));
    let tree = Supervisor::new("app")
        .child(repo.clone())
        .start()
        .await
        .unwrap();
    let pool = repo.pool().unwrap();
    for step in ["none", "not ours", "ours"] {
        if step == "not ours" {
            boot_and_stop(&settings(&url, folder.path())).await.unwrap();
        } else if step == "ours" {
            server.psql("x", "GRANT SELECT ON _sqlx_migrations TO app");
        }
        for _ in 0..3 {
            sqlx::query("SELECT 1").execute(&pool).await.unwrap();
        }
    }
    // Rights may be taken away again.
    server.psql("x", "REVOKE SELECT ON _sqlx_migrations FROM app");
    for _ in 0..3 {
        sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    }
    let log = server.log();
    assert_eq!(log.matches("permission denied").count(), 1, "{log}");
    assert_eq!(log.matches("l.xmin").count(), 1, "{log}");
    assert_eq!(log.matches("has_table_privilege").count(), 0, "{log}");

    // A transaction that failed and was left open is the application's own.
    let mut connection = pool.acquire().await.unwrap();
    let broken = sqlx::raw_sql("BEGIN; SELECT 1 / 0");
    broken.execute(&mut *connection).await.unwrap_err();
    drop(connection);
    drop(pool.acquire().await.unwrap());
    drop(pool);
    drop(tree);
}
