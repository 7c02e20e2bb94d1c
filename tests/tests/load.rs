//! A load that goes on through a stop: its clients see none of it before the drain delay is over,
//! and those that keep to `Connection: close` lose nothing after it either.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use uptree_tests::http;
use uptree_tests::load::{Ask, Load, Manners, Record};
use uptree_tests::{Ended, Postgres, Service, Signal, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

/// How long a client takes between two requests: less than what makes a connection idle.
const PAUSE: Duration = Duration::from_millis(10);

/// A request may be on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A connection counts as idle a little later than this.
const NOT_IDLE: Duration = Duration::from_millis(200);

const KEPT: usize = 12;

const READING: Ask = Ask::Post("/readings", r#"{"sensor":"load","value":21.5}"#);

#[track_caller]
fn boot(folder: &Path, url: &str, delay: &str) -> (Service, SocketAddr) {
    let addr = free_addr();
    let addr_text = addr.to_string();
    let envs = [
        ("ADDR", &*addr_text),
        ("DATABASE_URL", url),
        ("DRAIN_DELAY", delay),
    ];
    let service = Service::spawn_in(folder, "service", envs);
    service.wait_for_line(|line| line.contains("service/ready ready"), LONG);
    (service, addr)
}

/// The readings of the load that the database has.
#[track_caller]
fn written(folder: &Path, url: &str) -> usize {
    let (_service, addr) = boot(folder, url, "0s");
    let summary = http::get(addr, "/sensors/load").expect("an answer").json();
    let count = summary["count"].as_u64().expect("it is a number");
    usize::try_from(count).expect("it is small")
}

/// What a load saw of a stop.
struct Seen {
    /// When the signal was sent: not after the drain began.
    signalled: Instant,
    /// When it was read that the drain has begun.
    draining: Instant,
    /// What each client noted, in order: those that post on kept connections,
    kept: Vec<Vec<Record>>,
    /// those that do so on new ones, those that read, and those that post on HTTP/2,
    others: Vec<Vec<Record>>,
    /// and the one that asks whether it is ready.
    probes: Vec<Record>,
}

impl Seen {
    fn clients(&self) -> impl Iterator<Item = &Vec<Record>> {
        self.kept.iter().chain(&self.others)
    }

    fn all(&self) -> impl Iterator<Item = &Record> {
        self.clients().flatten()
    }

    fn accepted(&self) -> usize {
        self.all()
            .filter(|record| record.status() == Some(202))
            .count()
    }
}

/// Sends a SIGTERM into a load of posts on kept and on new connections, of reads and of probes.
#[track_caller]
fn stop_under_load(folder: &Path, url: &str, delay: &str) -> Seen {
    let (mut service, addr) = boot(folder, url, delay);
    let kept = Load::start(addr, KEPT, Manners::Keep, PAUSE, READING);
    let fresh = Load::start(addr, 3, Manners::Open, PAUSE, READING);
    let reads = Load::start(
        addr,
        2,
        Manners::Keep,
        PAUSE,
        Ask::Get("/readings?limit=10"),
    );
    let streams = Load::start(addr, 3, Manners::Http2, PAUSE, READING);
    let probes = Load::start(addr, 1, Manners::Open, PAUSE, Ask::Get("/ready"));
    // Until all of them are at it.
    eventually(LONG, || {
        let summary = http::get(addr, "/sensors/load").ok()?;
        (summary.status == 200 && summary.json()["count"].as_u64() > Some(200)).then_some(())
    });
    let signalled = Instant::now();
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("service/ready draining"), LONG);
    let draining = Instant::now();
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = signalled.elapsed();
    assert_eq!(service.stderr(), "");
    let seen = Seen {
        signalled,
        draining,
        kept: kept.finish(),
        others: [fresh, reads, streams]
            .into_iter()
            .flat_map(Load::finish)
            .collect(),
        probes: probes.finish().remove(0),
    };
    let (requests, accepted) = (seen.all().count(), seen.accepted());
    let slowest = seen.all().map(|record| record.ended - record.began).max();
    let served = seen
        .all()
        .filter(|record| record.began > draining && record.succeeded());
    println!(
        "{requests} requests, {accepted} readings accepted, {} requests served in the stop, which \
         took {took:?}; the slowest request took {slowest:?}",
        served.count()
    );
    seen
}

fn sees_nothing_before_the_delay_is_over(seen: &Seen, delay: Duration) {
    // Not before this moment does the gate close.
    let over = seen.signalled + delay;
    let of_the_stop = seen.all().filter(|record| record.ended >= seen.signalled);
    for record in of_the_stop.filter(|record| !record.succeeded()) {
        assert!(
            record.ended >= over,
            "{:?} early: {record:?}",
            over - record.ended
        );
        let on_its_way = record.ended - record.began;
        assert!(
            record.began + ON_ITS_WAY >= over,
            "{on_its_way:?} on its way: {record:?}"
        );
    }
    let served = seen
        .all()
        .filter(|record| record.began > seen.draining && record.succeeded());
    assert!(served.count() > 200, "the load went on");
}

/// Whatever fails is new to the service: what fails is the first request on a connection, after
/// the gate has closed, and has no effect.
fn loses_nothing_on_an_open_connection(seen: &Seen) {
    for client in seen.clients() {
        for (before, record) in client.iter().zip(client.iter().skip(1)) {
            // On a busy machine a client may have slept so long that its connection was idle.
            let was_idle = record.ended - before.began >= NOT_IDLE;
            if record.succeeded() || record.ended < seen.signalled || was_idle {
                continue;
            }
            assert!(record.first, "{record:?} after {before:?}");
            assert!(matches!(record.status(), None | Some(503)), "{record:?}");
        }
    }
}

fn is_told_to_close_over_the_delay(seen: &Seen, delay: Duration) {
    let mut moments = Vec::new();
    for client in &seen.kept {
        let mut farewells = client.iter().filter(|record| record.closes());
        let farewell = farewells
            .next()
            .expect("it is told to close its connection");
        // From then on each of its connections is told with its first answer.
        assert!(farewells.all(|record| record.first));
        assert!(!farewell.first && farewell.succeeded(), "{farewell:?}");
        moments.push(farewell.ended.saturating_duration_since(seen.signalled));
    }
    moments.sort();
    println!("told to close after {moments:?}");
    assert!(*moments.last().expect("there are some") < delay + ON_ITS_WAY);
    // Spread: some in each third, and each not before its share. Other connections have a share
    // too, so that there are some more than those that are kept.
    let share = delay / 2 / u32::try_from(KEPT).expect("it is small");
    for (index, &moment) in (0..).zip(&moments) {
        assert!(moment >= share * index, "{index}: {moments:?}");
    }
    for third in 0..3 {
        let third = delay * third / 3..delay * (third + 1) / 3;
        let told = moments.iter().any(|moment| third.contains(moment));
        assert!(told, "in {third:?} of {moments:?}");
    }
}

fn ready_says_no_from_the_beginning(seen: &Seen, delay: Duration) {
    for record in &seen.probes {
        match record.status() {
            Some(200) => assert!(record.began <= seen.draining, "{record:?}"),
            Some(status) => {
                assert_eq!(status, 503);
                assert!(record.ended >= seen.signalled, "{record:?}");
            }
            None => assert!(record.ended >= seen.signalled + delay, "{record:?}"),
        }
    }
    let refused = seen
        .probes
        .iter()
        .filter(|record| record.status() == Some(503));
    assert!(refused.count() > 20);
}

fn a_load_sees_nothing_of_a_stop(folder: &Path, url: &str) {
    let delay = Duration::from_secs(3);
    let seen = stop_under_load(folder, url, "3s");
    sees_nothing_before_the_delay_is_over(&seen, delay);
    loses_nothing_on_an_open_connection(&seen);
    is_told_to_close_over_the_delay(&seen, delay);
    ready_says_no_from_the_beginning(&seen, delay);
    assert_eq!(written(folder, url), seen.accepted());
}

#[test]
fn a_load_sees_nothing_of_a_stop_before_the_drain_delay_is_over_on_sqlite() {
    let folder = tempfile::tempdir().expect("it can be made");
    a_load_sees_nothing_of_a_stop(folder.path(), "sqlite://service.db?mode=rwc");
}

#[test]
fn a_load_sees_nothing_of_a_stop_before_the_drain_delay_is_over_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("it can be made");
    a_load_sees_nothing_of_a_stop(folder.path(), &postgres.create_database("service"));
}

/// Without a delay new connections are refused at once; who has one is told, and loses nothing.
fn a_load_on_open_connections_loses_nothing(folder: &Path, url: &str) {
    let seen = stop_under_load(folder, url, "0s");
    loses_nothing_on_an_open_connection(&seen);
    for client in &seen.kept {
        let told = client.iter().any(|record| !record.first && record.closes());
        assert!(told, "it is told to close its connection");
    }
    assert_eq!(written(folder, url), seen.accepted());
}

#[test]
fn without_a_delay_a_load_on_open_connections_loses_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("it can be made");
    a_load_on_open_connections_loses_nothing(folder.path(), "sqlite://service.db?mode=rwc");
}

#[test]
fn without_a_delay_a_load_on_open_connections_loses_nothing_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("it can be made");
    a_load_on_open_connections_loses_nothing(folder.path(), &postgres.create_database("service"));
}
