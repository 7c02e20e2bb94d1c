//! Herds of a service that does nothing but migrate: larger, and on every database.
//!
//! They are of fifty, but for one of two hundred; `UPTREE_HERD=all` makes all of them of two
//! hundred.

use std::env;
use std::fs;
use std::time::Instant;

use tempfile::TempDir;
use uptree_tests::{Database, Ended, Example, PgBouncer, PoolMode, Service, command, on_all, slow};

use crate::boot::{BOOT, Herd};

/// How many files there are, the slow one included.
const FILES: usize = 12;

const MANY: usize = 200;

fn size() -> usize {
    match env::var("UPTREE_HERD").is_ok_and(|herd| herd == "all") {
        true => MANY,
        false => 50,
    }
}

on_all!(
    all_boot_on_an_empty_database,
    all_boot_on_a_migrated_database,
);

fn all_boot_on_an_empty_database(database: &Database) {
    // A file is no server: what two hundred wait for there is the machine.
    all_boot(&database.url(), database, 50);
}

fn all_boot_on_a_migrated_database(database: &Database) {
    let folder = folder(database);
    migrate(database, &folder);
    let schema = database.schema();
    let herd = Herd::migrating(&database.url(), 50, folder.path());
    assert_eq!(herd.applied(), 0);
    assert_eq!(database.schema(), schema);
    herd.stop();
}

#[test]
fn two_hundred_boot_on_an_empty_database() {
    let Some(database) = Database::postgres_with(["max_connections=420"]) else {
        return;
    };
    all_boot(&database.url(), &database, MANY);
}

#[test]
fn all_boot_on_a_server_with_room_for_a_quarter() {
    let size = size();
    let room = format!("max_connections={}", size / 4);
    let Some(database) = Database::postgres_with([&room]) else {
        return;
    };
    all_boot(&database.url(), &database, size);
}

/// Whoever waits must not hold what the build waits for, or both wait for ever.
#[test]
fn all_boot_while_an_index_is_built_concurrently() {
    let Some(database) = Database::postgres_with(["max_connections=420"]) else {
        return;
    };
    let folder = folder(&database);
    let write = |name: &str, sql: &str| {
        fs::write(folder.path().join(name), sql).expect("the folder is ours");
    };
    let rows = "INSERT INTO steps SELECT -n FROM generate_series(1, 500000) AS n";
    write("0020_rows.sql", rows);
    let build = "-- no-transaction\nCREATE INDEX CONCURRENTLY by_file ON steps (file)";
    write("0021_index.sql", build);
    let herd = Herd::migrating(&database.url(), size(), folder.path());
    assert_eq!(herd.applied(), FILES + 2);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_file'::regclass";
    assert_eq!(database.query(valid), "t");
    herd.stop();
}

/// As jobs that are all begun at once, instead of one.
#[test]
fn all_commands_succeed_on_a_server_with_room_for_a_quarter() {
    let size = size();
    let room = format!("max_connections={}", size / 4);
    let Some(database) = Database::postgres_with([&room]) else {
        return;
    };
    let folder = folder(&database);
    let began = Instant::now();
    let start = |_| {
        let mut command = command("migrating");
        command.args(["migrate", "up"]);
        command.env("DATABASE_URL", database.url());
        command.env("MIGRATIONS_DIR", folder.path());
        command.env("START_TIMEOUT", "120s");
        Service::start(&mut command)
    };
    let mut commands: Vec<_> = (0..size).map(start).collect();
    for command in &mut commands {
        let ended = command.wait(BOOT.saturating_sub(began.elapsed()));
        assert_eq!(ended, Ended::Code(0), "{}", command.stderr());
    }
    println!("{size} commands had ended after {:?}", began.elapsed());
    assert_is_migrated(&database);
}

#[test]
fn all_boot_through_a_transaction_pooler_on_an_empty_database() {
    let Some((pooler, database)) = pooled() else {
        return;
    };
    all_boot(&pooler.through(&database.url()), &database, size());
}

#[test]
fn all_boot_through_a_transaction_pooler_on_a_migrated_database() {
    let Some((pooler, database)) = pooled() else {
        return;
    };
    let folder = folder(&database);
    migrate(&database, &folder);
    let schema = database.schema();
    let url = pooler.through(&database.url());
    let herd = Herd::migrating(&url, size(), folder.path());
    assert_eq!(herd.applied(), 0);
    assert_eq!(database.schema(), schema);
    herd.stop();
}

fn pooled() -> Option<(PgBouncer, Database)> {
    let mut database = Database::postgres()?;
    let pooler = PgBouncer::start(database.server(), PoolMode::Transaction)?;
    Some((pooler, database))
}

/// Every one is ready, and each file was applied by one of them.
#[track_caller]
fn all_boot(url: &str, database: &Database, size: usize) {
    let folder = folder(database);
    let herd = Herd::migrating(url, size, folder.path());
    assert_eq!(herd.applied(), FILES);
    assert_is_migrated(database);
    herd.stop();
}

/// By each file once.
#[track_caller]
fn assert_is_migrated(database: &Database) {
    let ledger: Vec<_> = (1..=FILES).map(|file| file.to_string()).collect();
    assert_eq!(database.ledger(), ledger.join(" "));
    let steps = database.query("SELECT count(*), count(DISTINCT file) FROM steps");
    assert_eq!(steps, format!("{0}|{0}", FILES - 1));
}

fn migrate(database: &Database, folder: &TempDir) {
    let mut process = Example::migrating(&database.url(), folder.path(), &[]);
    process.wait_until_ready();
    process.stop();
}

/// Migrations each of which would show if it were applied twice; one is slow enough for all of them
/// to come upon it.
fn folder(database: &Database) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let write = |number: usize, sql: &str| {
        let file = folder.path().join(format!("{number:04}_step.sql"));
        fs::write(file, sql).expect("the folder is ours");
    };
    write(
        1,
        "CREATE TABLE steps (file INT); INSERT INTO steps VALUES (1)",
    );
    for number in 2..FILES {
        let sql =
            format!("CREATE TABLE table_{number} (id INT); INSERT INTO steps VALUES ({number})");
        write(number, &sql);
    }
    write(FILES, &slow(database, 2));
    folder
}
