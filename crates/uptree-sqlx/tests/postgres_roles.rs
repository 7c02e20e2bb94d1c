//! Who migrates Postgres, with which rights, through what, and where its ledger is.

#![cfg(feature = "postgres")]

mod support;

use std::{path::Path, time::Duration};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use support::{
    Service, boot_and_stop, eventually, herd, migrations, settings, soon, sqlx_migrator, write,
};
use uptree_sqlx::{DatabaseSettings, MigrateRole};
use uptree_tests::{PgBouncer, PoolMode, Postgres};

const TABLES: &[(&str, &str)] = &[
    ("0001_a.sql", "CREATE TABLE a (id BIGINT PRIMARY KEY);"),
    (
        "0002_b.sql",
        "CREATE TABLE b (id BIGINT PRIMARY KEY);\nINSERT INTO b VALUES (1);",
    ),
];
const INDEX: (&str, &str) = (
    "0003_index.sql",
    "-- no-transaction\nCREATE INDEX CONCURRENTLY b_id ON b (id);",
);

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const VERSIONS: &str = "SELECT version, success FROM _sqlx_migrations ORDER BY 1";

async fn until(server: &Postgres, database: &str, sql: &str, answer: &str) {
    eventually(async || (server.psql(database, sql) == answer).then_some(())).await;
}

fn as_role(url: &str, folder: &Path, role: MigrateRole) -> DatabaseSettings {
    let mut settings = settings(url, folder);
    settings.migrate.role = role;
    settings
}

/// A server with a database `x`, its owner's URL, and that of a role with hardly a right.
fn owned() -> Option<(Postgres, String, String)> {
    let server = Postgres::start()?;
    server.psql("postgres", "CREATE ROLE owner LOGIN PASSWORD 'o'");
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'a'");
    server.psql("postgres", "CREATE DATABASE x OWNER owner");
    server.psql(
        "x",
        "REVOKE ALL ON SCHEMA public FROM public; GRANT USAGE ON SCHEMA public TO app",
    );
    server.psql("x", "ALTER SCHEMA public OWNER TO owner");
    let (owner, app) = (
        server.url_as("owner", "o", "x"),
        server.url_as("app", "a", "x"),
    );
    Some((server, owner, app))
}

#[tokio::test]
async fn who_only_waits_needs_nothing_but_to_read_and_says_what_is_missing() {
    let Some((server, owner, app)) = owned() else {
        return;
    };
    let folder = migrations(&TABLES[..1]);
    let waiting = as_role(&app, folder.path(), MigrateRole::Wait);
    let late = Duration::from_secs(3);
    let failure = Service::spawn_within(&waiting, late).failure().await;
    let missing = "the schema lacks 0001_a.sql, and this program only waits (MIGRATE=wait)";
    assert!(failure.contains(missing), "{failure}");
    assert!(
        failure.contains("help: run `migrate up` with a role that owns the schema"),
        "{failure}"
    );
    // It asked more often than once.
    assert_eq!(server.log().matches("ERROR").count(), 1, "{}", server.log());

    // From nothing, by way of a ledger that it may not read.
    let mut service = Service::spawn(&waiting);
    service
        .event(&["attempt failed", "Missing", "0001_a.sql"])
        .await;
    boot_and_stop(&settings(&owner, folder.path()))
        .await
        .unwrap();
    service
        .event(&["attempt failed", "permission denied for table"])
        .await;
    server.psql(
        "x",
        "GRANT SELECT ON _sqlx_migrations, _uptree_migrations TO app",
    );
    service.ready().await.unwrap();
    service.stop().await;

    write(folder.path(), TABLES[1].0, TABLES[1].1);
    write(folder.path(), INDEX.0, INDEX.1);
    let mut service = Service::spawn(&waiting);
    service.event(&["Missing", "0002_b.sql", "more: 1"]).await;
    boot_and_stop(&settings(&owner, folder.path()))
        .await
        .unwrap();
    service.ready().await.unwrap();
    service.stop().await;
    boot_and_stop(&waiting).await.unwrap();
}

#[tokio::test]
async fn who_waits_may_find_a_ledger_of_sqlx_alone() {
    let Some((server, owner, app)) = owned() else {
        return;
    };
    let folder = migrations(TABLES);
    let options: PgConnectOptions = owner.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let theirs = sqlx_migrator(folder.path()).await;
    theirs.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    server.psql("x", "GRANT SELECT ON _sqlx_migrations TO app");
    let waiting = as_role(&app, folder.path(), MigrateRole::Wait);
    boot_and_stop(&waiting).await.unwrap();
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_uptree%'";
    assert_eq!(server.psql("x", tables), "0");
    write(folder.path(), INDEX.0, INDEX.1);
    let failure = Service::spawn_within(&waiting, Duration::from_secs(3));
    let failure = { failure }.failure().await;
    assert!(
        failure.contains("the schema lacks 0003_index.sql"),
        "{failure}"
    );
}

#[tokio::test]
async fn who_does_not_migrate_does_not_ask() {
    let Some((server, _, app)) = owned() else {
        return;
    };
    let folder = migrations(TABLES);
    boot_and_stop(&as_role(&app, folder.path(), MigrateRole::Off))
        .await
        .unwrap();
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[tokio::test]
async fn another_login_migrates_and_the_program_s_own_needs_few_rights() {
    let Some((server, owner, app)) = owned() else {
        return;
    };
    server.psql(
        "x",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO app",
    );
    let folder = migrations(TABLES);
    write(folder.path(), INDEX.0, INDEX.1);
    let mut settings = settings(&app, folder.path());
    settings.migrate.url = Some(owner.parse().unwrap());
    let mut service = Service::spawn(&settings);
    service.ready().await.unwrap();
    let pool = service.repo.pool().unwrap();
    let who: String = sqlx::query_scalar("SELECT current_user::text FROM b")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(who, "app");
    drop(pool);
    service.stop().await;
    let owners = "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(server.psql("x", owners), "owner");
    // Also who may not enter itself boots, if there is nothing to do.
    settings.migrate.url = None;
    boot_and_stop(&settings).await.unwrap();
    write(folder.path(), "0004_c.sql", "CREATE TABLE c ();");
    let failure = Service::spawn(&settings).failure().await;
    assert!(failure.contains("permission denied"), "{failure}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_waited_for_only_if_there_is_something_to_write() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.create_database("x");
    let folder = migrations(TABLES);
    let settings = settings(&url, folder.path());
    for next in [INDEX, ("0004_c.sql", "CREATE TABLE c ();")] {
        boot_and_stop(&settings).await.unwrap();
        server.psql(
            "postgres",
            "ALTER DATABASE x SET default_transaction_read_only = on",
        );
        boot_and_stop(&settings).await.unwrap();
        write(folder.path(), next.0, next.1);
        let mut service = Service::spawn(&settings);
        // More often than a file may fail.
        for _ in 0..7 {
            service.event(&["attempt failed", "25006"]).await;
        }
        server.psql(
            "postgres",
            "ALTER DATABASE x RESET default_transaction_read_only",
        );
        service.ready().await.unwrap();
        service.stop().await;
    }
    assert_eq!(server.psql("x", VERSIONS), "1|t\n2|t\n3|t\n4|t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_transaction_pooler_all_works_that_is_in_a_transaction() {
    let Some(server) = Postgres::start_with(["log_statement=all"]) else {
        return;
    };
    let Some(bouncer) =
        PgBouncer::start_with(&server, PoolMode::Transaction, ["default_pool_size=3"])
    else {
        return;
    };
    let direct = server.create_database("x");
    let pooled = bouncer.through(&direct);
    let folder = migrations(TABLES);
    let mut settings = settings(&pooled, folder.path());
    herd(&settings, 30).await;
    assert_eq!(server.psql("x", VERSIONS), "1|t\n2|t");
    assert_eq!(server.psql("x", "SELECT count(*) FROM b"), "1");
    assert_eq!(server.psql("x", LOCKS), "0");

    // Nothing that a session would have to keep is locked, also while others are busy.
    write(folder.path(), INDEX.0, INDEX.1);
    let others = tokio::spawn({
        let options: PgConnectOptions = pooled.parse().unwrap();
        async move {
            let mut connection = options.connect().await.unwrap();
            loop {
                let query = sqlx::raw_sql("SELECT pg_sleep(0.002)");
                query.execute(&mut connection).await.unwrap();
            }
        }
    });
    for url in [None, Some(&pooled)] {
        settings.migrate.url = url.map(|url| url.parse().unwrap());
        for _ in 0..4 {
            let failure = Service::spawn(&settings).failure().await;
            let expected = "0003_index.sql runs outside a transaction, which cannot be locked \
                            through a transaction pooler\n  \
                            help: set MIGRATE_URL to the server itself, past the pooler";
            assert!(failure.ends_with(expected), "{failure}");
        }
    }
    others.abort();
    assert_eq!(server.psql("x", LOCKS), "0");
    let for_sessions = [
        "pg_try_advisory_lock",
        "pg_advisory_lock",
        "SET lock_timeout",
    ];
    for sql in for_sessions {
        assert!(!server.log().contains(sql), "{sql}");
    }
    assert_eq!(server.psql("x", VERSIONS), "1|t\n2|t");
    settings.migrate.url = Some(direct.parse().unwrap());
    herd(&settings, 10).await;
    assert_eq!(server.psql("x", VERSIONS), "1|t\n2|t\n3|t");
    until(&server, "x", LOCKS, "0").await;
}

#[tokio::test]
async fn a_pooler_with_one_connection_is_found_out_too() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let one = ["default_pool_size=1"];
    let Some(bouncer) = PgBouncer::start_with(&server, PoolMode::Transaction, one) else {
        return;
    };
    let url = bouncer.through(&server.create_database("x"));
    let folder = migrations(TABLES);
    write(folder.path(), INDEX.0, INDEX.1);
    let failure = Service::spawn(&settings(&url, folder.path()))
        .failure()
        .await;
    assert!(failure.contains("past the pooler"), "{failure}");
    assert_eq!(server.psql("x", LOCKS), "0");
}

#[tokio::test]
async fn a_session_pooler_and_no_pooler_raise_no_false_alarm() {
    let Some(server) = Postgres::start() else {
        return;
    };
    for (n, size) in ["default_pool_size=1", "default_pool_size=5"]
        .into_iter()
        .enumerate()
    {
        let Some(bouncer) = PgBouncer::start_with(&server, PoolMode::Session, [size]) else {
            return;
        };
        let database = format!("x{n}");
        let direct = server.create_database(&database);
        let url = bouncer.through(&direct);
        let folder = migrations(TABLES);
        for version in 3..8 {
            let sql = format!("-- no-transaction\nCREATE INDEX CONCURRENTLY i{version} ON b (id);");
            write(folder.path(), &format!("000{version}_i.sql"), &sql);
            // The server's session is older than the client's, and has served others.
            let url = if version == 5 { &direct } else { &url };
            boot_and_stop(&settings(url, folder.path())).await.unwrap();
        }
        let rows = server.psql(&database, VERSIONS);
        assert_eq!(rows.lines().count(), 7, "{rows}");
        until(&server, &database, LOCKS, "0").await;
    }
}

#[tokio::test]
async fn the_ledger_may_have_another_name_and_schema() {
    let Some((server, owner, _)) = owned() else {
        return;
    };
    // Whoever may not create schemas can have one.
    server.psql(
        "x",
        "CREATE SCHEMA ledgers AUTHORIZATION owner; REVOKE CREATE ON DATABASE x FROM owner",
    );
    server.psql("x", "ALTER DATABASE x OWNER TO postgres");
    let (one, other) = (
        migrations(TABLES),
        migrations(&[("0001_other.sql", "CREATE TABLE other ();"), INDEX]),
    );
    let mut first = settings(&owner, one.path());
    first.migrate.schema = Some("ledgers".into());
    first.migrate.table = Some("one".into());
    let mut second = settings(&owner, other.path());
    second.migrate.schema = Some("ledgers".into());
    second.migrate.table = Some("other".into());
    for _ in 0..2 {
        boot_and_stop(&first).await.unwrap();
        boot_and_stop(&second).await.unwrap();
    }
    let found = "SELECT relname FROM pg_class WHERE relnamespace = 'ledgers'::regnamespace
                 AND relkind = 'r' ORDER BY 1";
    assert_eq!(
        server.psql("x", found),
        "one\none_uptree\none_uptree_instances\nother\nother_uptree\nother_uptree_instances"
    );
    assert_eq!(
        server.psql("x", "SELECT to_regclass('public._sqlx_migrations') IS NULL"),
        "t"
    );
    // One that is not there is made, by whom it is allowed.
    let url = server.create_database("y");
    let mut settings = settings(&url, one.path());
    settings.migrate.schema = Some("made".into());
    boot_and_stop(&settings).await.unwrap();
    assert_eq!(
        server.psql("y", "SELECT count(*) FROM made._sqlx_migrations"),
        "2"
    );
}

#[tokio::test]
async fn the_ledger_is_where_the_search_path_finds_it_and_stays_there() {
    let Some((server, owner, _)) = owned() else {
        return;
    };
    // The default path begins with the role's own schema, if there is one.
    let folder = migrations(&TABLES[..1]);
    boot_and_stop(&settings(&owner, folder.path()))
        .await
        .unwrap();
    server.psql("x", "CREATE SCHEMA owner AUTHORIZATION owner");
    write(folder.path(), TABLES[1].0, TABLES[1].1);
    write(folder.path(), INDEX.0, INDEX.1);
    soon(boot_and_stop(&settings(&owner, folder.path())))
        .await
        .unwrap();
    assert_eq!(
        server.psql("x", "SELECT count(*) FROM public._sqlx_migrations"),
        "3"
    );
    let ledgers = "SELECT count(*) FROM pg_class WHERE relname = '_sqlx_migrations'";
    assert_eq!(server.psql("x", ledgers), "1");
    // As for sqlx, the migration's own tables go where the path leads now.
    assert_eq!(server.psql("x", "SELECT count(*) FROM owner.b"), "1");

    server.psql("postgres", "CREATE DATABASE y OWNER owner");
    server.psql("y", "CREATE SCHEMA owner AUTHORIZATION owner");
    let url = server.url_as("owner", "o", "y");
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    boot_and_stop(&settings(&url, folder.path())).await.unwrap();
    assert_eq!(
        server.psql("y", "SELECT count(*) FROM owner._sqlx_migrations"),
        "3"
    );
}
