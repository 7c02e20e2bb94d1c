//! A cable is pulled while a process migrates, and nobody is told.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uptree_tests::{Database, Example, Network, eventually};

const SECONDS: Duration = Duration::from_secs(60);

/// Else whoever comes later would wait for a statement that nobody waits for.
#[test]
fn whoever_is_cut_off_has_lost_its_lock_after_ten_seconds_on_postgres() {
    let test = "whoever_is_cut_off_has_lost_its_lock_after_ten_seconds_on_postgres";
    let Some((network, database)) = network(test) else {
        return;
    };
    let (folder, _cut_off) = asleep(&network, &database);
    let next = Example::migrating(&database.url(), folder.path(), &[]);
    network.pull();
    let pulled = Instant::now();
    next.wait_until_ready();
    let took = pulled.elapsed();
    println!("another was ready {took:?} after the cut");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn whoever_was_cut_off_goes_on_when_the_cable_is_back_on_postgres() {
    let test = "whoever_was_cut_off_goes_on_when_the_cable_is_back_on_postgres";
    let Some((network, database)) = network(test) else {
        return;
    };
    let (_folder, mut cut_off) = asleep(&network, &database);
    network.pull();
    let lost = || database.query(ASLEEP) == "0";
    eventually(SECONDS, || lost().then_some(()));
    network.plug_in();
    cut_off.wait_until_ready();
    assert_eq!(database.ledger(), "1 2");
    cut_off.stop();
}

const ASLEEP: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

fn network(test: &str) -> Option<(Network, Database)> {
    let network = Network::own(test)?;
    let database = Database::postgres_with(["listen_addresses=127.0.0.1,127.0.0.2"])?;
    Some((network, database))
}

/// A folder, and a process by the cable that will sleep in the second of its files for ever; those
/// who come to it later will not.
fn asleep(network: &Network, database: &Database) -> (TempDir, Example) {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let write = |name: &str, sql: &str| {
        fs::write(folder.path().join(name), sql).expect("the folder is ours");
    };
    let patience = "CREATE TABLE patience (units INT); INSERT INTO patience VALUES (1000000000)";
    write("0001_patience.sql", patience);
    migrate(database, folder.path());
    let sleep = "CREATE TABLE slept (id INT); SELECT pg_sleep(units) FROM patience";
    write("0002_sleep.sql", sleep);
    let url = network.by_cable(&database.url());
    let process = Example::migrating(&url, folder.path(), &[]);
    eventually(SECONDS, || (database.query(ASLEEP) == "1").then_some(()));
    database.query("UPDATE patience SET units = 0");
    (folder, process)
}

fn migrate(database: &Database, folder: &Path) {
    let mut process = Example::migrating(&database.url(), folder, &[]);
    process.wait_until_ready();
    process.stop();
}
