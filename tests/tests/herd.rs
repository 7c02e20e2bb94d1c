//! Many processes boot at once on one database: each becomes ready, and each migration is applied
//! once.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use uptree_tests::{Database, Ended, Example, Signal, eventually, migrations, on_both, slow};

/// What a boot may take when as many others boot.
const BOOT: Duration = Duration::from_secs(150);

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
    let herd = Herd::boot(&database, 50, &[ONE_CONNECTION]);
    assert_eq!(herd.applied(), 3);
    assert_eq!(database.ledger(), "1 2 3");
    let refused = |example: &&Example| example.log().contains("SQLSTATE 53300");
    let refused = herd.processes.iter().filter(refused).count();
    assert!(refused > 0, "there was room for all");
    herd.stop();
}

/// What it may take until each has read something.
const SERVED: Duration = Duration::from_secs(60);

/// The services' sessions on a Postgres server.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'clerk'";

struct Herd {
    processes: Vec<Example>,
}

impl Herd {
    /// Starts them all, and returns when all are ready.
    #[track_caller]
    fn boot(database: &Database, size: usize, envs: &[(&str, &str)]) -> Self {
        let patient = [("START_TIMEOUT", "120s")];
        let envs: Vec<_> = patient.iter().chain(envs).copied().collect();
        let url = database.url();
        let began = Instant::now();
        let processes = (0..size).map(|_| Example::spawn(&url, &envs));
        let processes: Vec<_> = processes.collect();
        for Example { process, .. } in &processes {
            let left = BOOT.saturating_sub(began.elapsed());
            process.wait_for_line(|line| line.contains(" service ready "), left);
        }
        println!("{size} processes were ready after {:?}", began.elapsed());
        for process in &processes {
            assert_eq!(process.status("/ready"), 200);
        }
        Self { processes }
    }

    /// How many migrations they have applied, all together.
    fn applied(&self) -> usize {
        let applied = |example: &Example| example.log().matches("migration applied").count();
        self.processes.iter().map(applied).sum()
    }

    /// Has each of them read and write, all at once: all that they have written is there.
    #[track_caller]
    fn serves(&self, database: &Database) {
        thread::scope(|scope| {
            for process in &self.processes {
                scope.spawn(|| {
                    let reading = json!({"sensor": "herd", "value": 1});
                    assert_eq!(process.post(&reading).status, 202);
                    // With all of them logging in a request can time out.
                    eventually(SERVED, || {
                        (process.status("/readings") == 200).then_some(())
                    });
                });
            }
        });
        let expected = self.processes.len().to_string();
        eventually(SERVED, || {
            (database.query("SELECT count(*) FROM readings") == expected).then_some(())
        });
    }

    /// Stops them all at once, in order.
    #[track_caller]
    fn stop(mut self) {
        for Example { process, .. } in &mut self.processes {
            process.signal(Signal::TERM);
        }
        for Example { process, .. } in &mut self.processes {
            let ended = process.wait(Duration::from_secs(60));
            assert_eq!(ended, Ended::Code(0), "{}", process.stderr());
            assert_eq!(process.stderr(), "");
        }
    }
}
