//! Killed at any moment of its boot, the service leaves a database that the next boot takes to the
//! end.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::fs;
use std::hash::BuildHasher;
use std::thread;
use std::time::{Duration, Instant};

use uptree_tests::{Database, Ended, Example, Signal, migrations, on_both, slow};

const KILLS: u32 = 100;

/// How many migrations there are, the service's own three included.
const ALL: usize = 12;

on_both!(
    a_boot_after_a_kill_at_any_moment_of_the_one_before_succeeds,
    when_the_one_that_migrates_is_killed_another_takes_over,
);

fn a_boot_after_a_kill_at_any_moment_of_the_one_before_succeeds(database: &Database) {
    let folder = migrations(&more());
    let dir = folder.path().display().to_string();
    let envs = [("MIGRATIONS_DIR", &*dir)];
    let first = "service/migrator 0001_readings.sql";
    // How long it takes to the first migration, and from there on.
    let measured = || {
        database.clear();
        let began = Instant::now();
        let mut service = Example::spawn(&database.url(), &envs);
        service.wait_for(first);
        let to_the_first = began.elapsed();
        service.wait_until_ready();
        let took = began.elapsed();
        service.stop();
        (took, took.saturating_sub(to_the_first))
    };
    // The first run finds the machine cold.
    measured();
    let (mut whole, mut migrating) = measured();
    let undisturbed = state(database);

    let (mut before, mut amid, mut after) = (0, 0, 0);
    for kill in 0..KILLS {
        if kill % 20 == 19 {
            // How long it takes changes with what else the machine does.
            (whole, migrating) = measured();
        }
        database.clear();
        let mut service = Example::spawn(&database.url(), &envs);
        // Everywhere, and anywhere: a random moment of each hundredth of a boot, and a little more;
        // every other time of its migrations alone, which on Postgres are a tenth of it.
        let part = (f64::from(kill) + random()) / f64::from(KILLS) * 1.1;
        let moment = if kill % 2 == 0 {
            whole.mul_f64(part)
        } else {
            service.wait_for(first);
            migrating.mul_f64(part)
        };
        thread::sleep(moment);
        assert_eq!(service.process.kill(), Ended::Signal(Signal::KILL.as_raw()));

        let mut next = Example::boot(&database.url(), &envs);
        next.stop();
        let state = state(database);
        assert_eq!(
            state, undisturbed,
            "kill {kill}: {moment:?} of {whole:?}, {migrating:?}"
        );
        match applied(&next.log()) {
            0 => after += 1,
            ALL => before += 1,
            _ => amid += 1,
        }
    }
    println!("killed {before} times before, {amid} amid and {after} after the migrations");
    // Else the moments are badly chosen. What was sent in one message may well end without us.
    assert!(before > 9 && after > 9, "{before} {amid} {after}");
}

/// How many migrations a process has applied, by its log.
fn applied(log: &str) -> usize {
    let many = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("migrations applied ")?;
        let (_, count) = rest.split_once("migrations=")?;
        count.split_whitespace().next()?.parse::<usize>().ok()
    });
    log.matches("migration applied file=").count() + many.sum::<usize>()
}

/// Nobody waits for a statement whose process is gone, however long it would have run.
fn when_the_one_that_migrates_is_killed_another_takes_over(database: &Database) {
    let patience = "CREATE TABLE patience (units INT); INSERT INTO patience VALUES (1000000000)";
    let sleep = if database.is_sqlite() {
        slow(database, 2)
    } else {
        // For ever; but in no time for those who come later.
        "CREATE TABLE slept (id INT); SELECT pg_sleep(units) FROM patience".to_owned()
    };
    let folder = migrations(&[("0004_patience.sql", patience)]);
    let dir = folder.path().display().to_string();
    let envs = [("MIGRATIONS_DIR", &*dir)];
    // What is applied together would be told of as the first of it.
    Example::boot(&database.url(), &envs).stop();
    fs::write(folder.path().join("0005_sleep.sql"), sleep).expect("it is ours");
    let mut first = Example::spawn(&database.url(), &envs);
    first.wait_for("service/migrator 0005_sleep.sql");
    let mut others: Vec<_> = (0..4)
        .map(|_| Example::spawn(&database.url(), &envs))
        .collect();
    for other in &others {
        other.wait_for("waiting: it is applied by another process file=0005_sleep.sql");
    }
    if !database.is_sqlite() {
        database.query("UPDATE patience SET units = 0");
    }

    let killed = Instant::now();
    assert_eq!(first.process.kill(), Ended::Signal(Signal::KILL.as_raw()));
    for other in &others {
        other.wait_until_ready();
    }
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    for other in &mut others {
        other.stop();
    }
    let applied = |other: &Example| other.log().matches("file=0005_sleep.sql took").count();
    assert_eq!(others.iter().map(applied).sum::<usize>(), 1);
    assert_eq!(database.ledger(), "1 2 3 4 5");
}

/// Migrations each of which would show if it were applied twice, or by half.
fn more() -> Vec<(String, String)> {
    let file = |n: usize| {
        let mut sql = String::new();
        if n == 4 {
            sql.push_str("CREATE TABLE steps (file INT, step INT);\n");
        }
        // No key of it says that a step is there once: the ledger has to.
        for step in 0..5 {
            writeln!(sql, "INSERT INTO steps VALUES ({n}, {step});").expect("it takes any text");
        }
        writeln!(sql, "CREATE TABLE table_{n} (id INT);").expect("it takes any text");
        writeln!(sql, "ALTER TABLE readings ADD COLUMN column_{n} TEXT;").expect("as above");
        (format!("{n:04}_step.sql"), sql)
    };
    (4..=ALL).map(file).collect()
}

fn state(database: &Database) -> String {
    let steps = database.query("SELECT file, step FROM steps ORDER BY file, step");
    format!("{}\n{steps}", database.schema())
}

/// From 0 up to 1.
fn random() -> f64 {
    let random = RandomState::new().hash_one(0) >> 32;
    f64::from(u32::try_from(random).expect("it has 32 bits")) / f64::from(u32::MAX)
}
