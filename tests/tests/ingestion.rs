//! A reading answered 202 is in the database in the end, once; or somebody is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uptree_tests::http::Connection;
use uptree_tests::{Database, Ended, Example, Signal, eventually, on_both};

const SOON: Duration = Duration::from_secs(30);

on_both!(
    readings_that_the_database_refuses_are_told_and_the_others_of_their_batch_are_written,
    a_stop_that_cannot_write_what_is_queued_ends_with_3_and_says_how_many_are_lost,
    what_can_be_written_before_the_stop_timeout_is_over_is_not_lost,
    a_queue_that_was_full_is_written_in_the_order_of_arrival,
);

fn readings_that_the_database_refuses_are_told_and_the_others_of_their_batch_are_written(
    database: &Database,
) {
    let mut service = Example::boot(&database.url(), &[]);
    // A rule that the service knows nothing of.
    database.query(if database.is_sqlite() {
        "CREATE TRIGGER only_small BEFORE INSERT ON readings WHEN NEW.value >= 1000
         BEGIN SELECT RAISE(ABORT, 'too large'); END"
    } else {
        "ALTER TABLE readings ADD CONSTRAINT only_small CHECK (value < 1000)"
    });
    // One in the middle, two side by side, the last; and a batch of nothing else.
    let at_fault = [100, 300, 301, 511];
    let value = |n: usize| {
        if at_fault.contains(&n) {
            1000 + n
        } else {
            n % 1000
        }
    };
    let readings = |from: usize, to: usize| -> Value {
        let readings = (from..to).map(|n| json!({"sensor": "a", "value": value(n)}));
        readings.collect()
    };
    let answer = service.post(&readings(0, 512));
    assert_eq!(answer.status, 202);
    let ids = answer.json()["ids"].clone();
    let alone = json!({"sensor": "a", "value": 5000});
    let answer = service.post(&alone);
    assert_eq!(answer.status, 202);
    let alone = answer.json()["ids"][0].clone();
    // It goes on afterwards.
    assert_eq!(service.post(&readings(512, 600)).status, 202);
    let count = "SELECT count(*) FROM readings";
    let written = (600 - at_fault.len()).to_string();
    eventually(SOON, || (database.query(count) == written).then_some(()));
    service.stop();

    let log = service.log();
    let refused: Vec<_> = log
        .lines()
        .filter(|line| line.contains("a reading is refused by the database"))
        .collect();
    assert_eq!(refused.len(), at_fault.len() + 1, "{refused:#?}");
    let expected = at_fault.iter().map(|n| &ids[*n]).chain([&alone]);
    for (line, id) in refused.iter().zip(expected) {
        let id = id.as_str().expect("an id");
        assert!(line.contains(" ERROR service/ingestion "), "{line}");
        assert!(line.contains(&format!("id={id}")), "{line}");
        let words = if database.is_sqlite() {
            "too large"
        } else {
            "only_small"
        };
        assert!(line.contains(words), "{line}");
    }
    let largest = "SELECT max(value) < 1000 FROM readings";
    assert!(["1", "t"].contains(&&*database.query(largest)));
}

fn a_stop_that_cannot_write_what_is_queued_ends_with_3_and_says_how_many_are_lost(
    database: &Database,
) {
    let envs = [("STOP_BUDGET", "2s"), ("DRAIN_LIMIT", "100ms")];
    let mut service = Example::boot(&database.url(), &envs);
    let held = database.hold();
    let readings = Value::from(vec![json!({"sensor": "a", "value": 1}); 17]);
    assert_eq!(service.post(&readings).status, 202);
    let began = Instant::now();
    service.process.signal(Signal::TERM);
    let stderr = service.fails(3);
    let lines: Vec<_> = stderr.lines().collect();
    // On a busy machine those who stop after it may run out of time, too.
    let killed =
        "error: the stop budget is used up: killed before its own time was over: service/ingestion";
    assert!(lines[0].starts_with(killed), "{stderr}");
    let remedy = "  help: raise STOP_BUDGET, or give these children less to do at a stop";
    let lost = "error: service/ingestion: lost 17 readings that were answered 202";
    assert_eq!(lines[1..], [remedy, lost], "{stderr}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let log = service.log();
    let told = log.matches("service/ingestion did not stop in order");
    assert_eq!(told.count(), 1, "{log}");
    drop(held);
    if database.is_sqlite() {
        // As it says: not one of them. A server may still do what it was asked for before.
        assert_eq!(database.query("SELECT count(*) FROM readings"), "0");
    }
}

/// As above, with a server that is down: nothing holds the connection, there is none.
#[test]
fn a_stop_without_a_database_ends_with_3_and_says_how_many_are_lost() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let mut service = Example::boot(&database.url(), &[]);
    let reading = json!({"sensor": "a", "value": 1});
    assert_eq!(service.post(&reading).status, 202);
    let count = "SELECT count(*) FROM readings";
    eventually(SOON, || (database.query(count) == "1").then_some(()));
    database.server().stop();
    for _ in 0..3 {
        assert_eq!(service.post(&reading).status, 202);
    }
    let began = Instant::now();
    service.process.signal(Signal::TERM);
    // It has ten seconds to write them, as the list says.
    let expected = "error: service/ingestion: lost 3 readings that were answered 202";
    assert_eq!(service.fails(3), expected);
    let took = began.elapsed();
    assert!((10..15).contains(&took.as_secs()), "{took:?}");
    database.server().start_again();
    assert_eq!(database.query(count), "1");
}

fn what_can_be_written_before_the_stop_timeout_is_over_is_not_lost(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let held = database.hold();
    let readings = Value::from(vec![json!({"sensor": "a", "value": 1}); 3000]);
    assert_eq!(service.post(&readings).status, 202);
    service.process.signal(Signal::TERM);
    service.wait_for("service/ready stopped");
    drop(held);
    assert_eq!(service.process.wait(SOON), Ended::Code(0));
    assert_eq!(service.process.stderr(), "");
    assert_eq!(database.query("SELECT count(*) FROM readings"), "3000");
}

fn a_queue_that_was_full_is_written_in_the_order_of_arrival(database: &Database) {
    let mut service = Example::boot(&database.url(), &[("QUEUE_SIZE", "50")]);
    let held = database.hold();
    let at = "2026-01-01T00:00:00Z";
    for value in 0..50 {
        let reading = json!({"sensor": "a", "value": value, "at": at});
        assert_eq!(service.post(&reading).status, 202);
    }
    let reading = json!({"sensor": "a", "value": 50, "at": at});
    assert_eq!(service.post(&reading).status, 503);
    drop(held);
    // There is room again as soon as the first are written.
    eventually(SOON, || {
        (service.post(&reading).status == 202).then_some(())
    });
    service.stop();
    let mut service = Example::boot(&database.url(), &[]);
    let readings = service.get("/readings?limit=1000").json();
    let readings = readings.as_array().expect("an array").iter();
    let values = readings.map(|reading| reading["value"].as_f64().expect("a number"));
    let newest_first: Vec<_> = (0..=50).rev().map(f64::from).collect();
    assert_eq!(values.collect::<Vec<_>>(), newest_first);
    service.stop();
}

/// The server crashes again and again while readings are written: whether a commit was done that
/// was not answered, nobody knows.
#[test]
fn every_reading_answered_202_is_written_once_though_the_server_crashes_as_it_writes() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let mut service = Example::boot(&database.url(), &[("QUEUE_SIZE", "100000")]);
    let enough = AtomicBool::new(false);
    let accepted: BTreeSet<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let (enough, addr) = (&enough, service.addr);
                scope.spawn(move || {
                    let mut connection = Connection::open(addr).expect("it listens");
                    let mut accepted = Vec::new();
                    let reading = json!({"sensor": format!("client {client}"), "value": 1});
                    let readings = Value::from(vec![reading; 20]);
                    while !enough.load(Ordering::Relaxed) {
                        let answer = connection.post_json("/readings", &readings);
                        let answer = answer.expect("an answer");
                        if answer.status == 202 {
                            let ids = answer.json()["ids"].as_array().cloned();
                            accepted.extend(ids.expect("ids"));
                        }
                        // Leaves the service, and the other tests, some of the machine.
                        thread::sleep(Duration::from_millis(2));
                    }
                    accepted
                })
            })
            .collect();
        for _ in 0..5 {
            // A crash each time that some more of them were written.
            let count = "SELECT count(*) FROM readings";
            let before = database.query(count);
            eventually(SOON, || (database.query(count) != before).then_some(()));
            database.server().kill();
            database.server().start_again();
        }
        enough.store(true, Ordering::Relaxed);
        let accepted = clients.into_iter().map(ScopedJoinHandle::join);
        let accepted = accepted.flat_map(|ids| ids.expect("it does not panic"));
        let accepted = accepted.map(|id| id.as_str().expect("an id").to_owned());
        accepted.collect()
    });
    service.stop();
    let written = database.query("SELECT id FROM readings");
    let written: BTreeSet<String> = written.lines().map(str::to_owned).collect();
    assert!(accepted.len() > 100, "{}", accepted.len());
    let lost: Vec<_> = accepted.difference(&written).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        accepted.len()
    );
    // The id is the key: none can be there twice. And nothing that was refused has got in.
    assert_eq!(written.len(), accepted.len());
}
