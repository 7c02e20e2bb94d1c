//! Many processes boot at once on one database: each becomes ready, and each migration is applied
//! once.

mod boot;
mod migrating;

use std::thread;
use std::time::Duration;

use uptree_tests::{Database, Example, eventually, migrations, on_both, slow};

use self::boot::Herd;

/// A server has room for a hundred by default: pools that keep more than their share leave none to
/// the last.
const ONE_CONNECTION: (&str, &str) = ("POOL_SIZE", "1");

on_both!(
    fifty_processes_boot_at_once_on_an_empty_database,
    fifty_processes_boot_at_once_on_a_migrated_database,
);

fn fifty_processes_boot_at_once_on_an_empty_database(database: &Database) {
    // Slow enough that all of them come upon the one that applies it.
    let folder = migrations(&[("0004_slow.sql", &*slow(database, 2))]);
    let dir = folder.path().display().to_string();
    let herd = Herd::boot(database, 50, &[("MIGRATIONS_DIR", &dir), ONE_CONNECTION]);
    assert_eq!(herd.applied(), 4);
    assert_eq!(database.ledger(), "1 2 3 4");
    herd.serves(database);
    herd.stop();
}

fn fifty_processes_boot_at_once_on_a_migrated_database(database: &Database) {
    Example::boot(&database.url(), &[]).stop();
    let schema = database.schema();
    let herd = Herd::boot(database, 50, &[ONE_CONNECTION]);
    assert_eq!(herd.applied(), 0);
    assert_eq!(database.schema(), schema);
    herd.serves(database);
    herd.stop();
}

#[test]
fn a_hundred_processes_boot_at_once_on_a_server_with_room_for_one_connection_each() {
    let Some(database) = Database::postgres_with(["max_connections=110"]) else {
        return;
    };
    let herd = Herd::boot(&database, 100, &[ONE_CONNECTION]);
    assert_eq!(herd.applied(), 3);
    assert_eq!(database.ledger(), "1 2 3");
    herd.serves(&database);
    // Each has kept the connection that it answered with.
    assert_eq!(database.query(SESSIONS), "100");
    herd.stop();
}

/// Who finds no room does not keep a connection while it waits for another.
#[test]
fn fifty_processes_boot_at_once_on_a_server_with_room_for_seven() {
    let settings = ["max_connections=10", "superuser_reserved_connections=3"];
    let Some(database) = Database::postgres_with(settings) else {
        return;
    };
    let Database::Postgres(server) = &database else {
        unreachable!("it was asked for");
    };
    // Somebody else has all of it at first: however quick the machine is, some are refused.
    let others: Vec<_> = (0..7)
        .map(|_| server.session("postgres", "SELECT 1"))
        .collect();
    let herd = thread::scope(|scope| {
        scope.spawn(move || {
            eventually(Duration::from_secs(60), || {
                let log = server.log();
                log.contains("remaining connection slots").then_some(())
            });
            drop(others);
        });
        Herd::boot(&database, 50, &[ONE_CONNECTION])
    });
    assert_eq!(herd.applied(), 3);
    assert_eq!(database.ledger(), "1 2 3");
    let refused = |example: &&Example| example.log().contains("SQLSTATE 53300");
    let refused = herd.processes.iter().filter(refused).count();
    assert!(refused > 0, "there was room for all");
    herd.stop();
}

/// The services' sessions on a Postgres server.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'clerk'";
