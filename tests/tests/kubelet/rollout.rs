//! A rolling update under load: clients that keep to what they are told lose nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use uptree_tests::kubelet::{Deployment, Endpoints, Event, Pod};
use uptree_tests::load::{Ask, Load, Manners, Record};
use uptree_tests::{Database, Ended, Example, Postgres, eventually, http};

use crate::{LONG, pod};

const REPLICAS: usize = 3;

/// How long it takes until nobody opens a connection to a pod that was deleted,
const LAG: Duration = Duration::from_millis(500);

/// and how long the pod waits for that.
const DELAY: Duration = Duration::from_millis(1500);

/// Between two requests of a client: the machine is to have time for all, or the database does not
/// answer in time, which is no fault of the update.
const PAUSE: Duration = Duration::from_millis(15);

/// So short that a request is on its way whenever a connection ends.
const NO_PAUSE: Duration = Duration::from_millis(1);

const READING: Ask = Ask::Post("/readings", r#"{"sensor":"load","value":21.5}"#);
const NEWEST: Ask = Ask::Get("/readings?limit=10");

/// What the service answers without the database: of this sensor there is nothing.
const NOTHING: Ask = Ask::Get("/readings?sensor=");

/// The clients, by what they do about being told to go.
struct Loads {
    heed: Vec<(&'static str, Load)>,
    insist: Vec<(&'static str, Load)>,
}

impl Loads {
    fn start(endpoints: &Endpoints) -> Self {
        let load =
            |clients, manners, ask| Load::start(endpoints.clone(), clients, manners, PAUSE, ask);
        let busy = |manners| Load::start(endpoints.clone(), 1, manners, NO_PAUSE, NOTHING);
        Self {
            heed: vec![
                ("kept", load(3, Manners::Keep, READING)),
                ("kept, reading", load(1, Manners::Keep, NEWEST)),
                ("kept, busy", busy(Manners::Keep)),
                ("new", load(2, Manners::Open, READING)),
                ("HTTP/2", load(2, Manners::Http2, READING)),
                ("HTTP/2, reading", load(1, Manners::Http2, NEWEST)),
                ("HTTP/2, busy", busy(Manners::Http2)),
            ],
            insist: vec![
                ("insisting", load(2, Manners::Insist, READING)),
                ("insisting, busy", busy(Manners::Insist)),
                ("insisting on HTTP/2", busy(Manners::InsistOnHttp2)),
            ],
        }
    }

    fn finish(self) -> [Vec<(&'static str, Vec<Record>)>; 2] {
        [self.heed, self.insist].map(|loads| {
            let loads = loads.into_iter();
            let noted =
                |(who, load): (_, Load)| (who, load.finish().into_iter().flatten().collect());
            loads.map(noted).collect()
        })
    }
}

#[track_caller]
fn an_update_under_load_loses_nothing(url: &str) {
    let delay = format!("{}ms", DELAY.as_millis());
    let template = || pod("service", &[("DATABASE_URL", url), ("DRAIN_DELAY", &delay)]);
    let endpoints = Endpoints::new(LAG);
    let mut deployment = Deployment::start(&endpoints, REPLICAS, LONG, template);
    eventually(LONG, || (endpoints.addrs().len() == REPLICAS).then_some(()));
    let loads = Loads::start(&endpoints);
    // Until all of them are at it.
    eventually(LONG, || {
        (count(deployment.pods()[0].addr()) > 200).then_some(())
    });

    let began = Instant::now();
    let old = deployment.roll(template);
    println!("updated after {:?}", began.elapsed());
    let [heed, insist] = loads.finish();
    let mut deleted = HashMap::new();
    for pod in &old {
        let status = pod.status();
        assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
        assert_eq!(pod.stderr(), [""]);
        assert_eq!(status.first(&Event::Kill), None);
        deleted.insert(pod.addr(), status.first(&Event::Deleted).expect("it was"));
    }

    for (who, records) in &heed {
        let failed: Vec<_> = records.iter().filter(|it| !it.succeeded()).collect();
        assert!(failed.is_empty(), "{who}: {failed:#?}");
        assert!(records.len() > 30, "{who}: {} requests", records.len());
        println!("{who}: {} requests", records.len());
    }
    for (who, records) in &insist {
        let failed: Vec<_> = records.iter().filter(|it| !it.succeeded()).collect();
        println!(
            "{who}: {} of {} requests failed",
            failed.len(),
            records.len()
        );
        for record in failed {
            let gate_closes = record
                .to
                .and_then(|addr| deleted.get(&addr))
                .map(|at| *at + DELAY);
            assert!(
                gate_closes.is_some_and(|at| record.ended >= at),
                "{who}: {record:?}"
            );
        }
    }
    let new: Vec<_> = deployment.pods().iter().map(Pod::addr).collect();
    let served_by = |addr| {
        heed.iter()
            .flat_map(|(_, all)| all)
            .any(|it| it.to == Some(addr))
    };
    assert!(new.iter().all(|addr| served_by(*addr)));
    assert!(old.iter().all(|pod| served_by(pod.addr())));

    // What was accepted is there, whoever accepted it.
    let all = heed.iter().chain(&insist).flat_map(|(_, all)| all);
    let accepted = all.filter(|it| it.status() == Some(202)).count();
    for pod in deployment.pods() {
        pod.delete();
    }
    for pod in deployment.pods() {
        let status = pod.wait_until(LONG, |status| status.gone);
        assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
    }
    let last = Example::boot(url, &[]);
    assert_eq!(count(last.addr), accepted);
}

/// How many readings of the load are there.
fn count(addr: SocketAddr) -> usize {
    let summary = http::get(addr, "/sensors/load").expect("an answer");
    let count = if summary.status == 200 {
        summary.json()["count"].as_u64()
    } else {
        None
    };
    usize::try_from(count.unwrap_or(0)).expect("it is small")
}

#[test]
fn an_update_of_three_under_load_loses_nothing_on_sqlite() {
    let database = Database::sqlite();
    an_update_under_load_loses_nothing(&database.url());
}

#[test]
fn an_update_of_three_under_load_loses_nothing_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    an_update_under_load_loses_nothing(&postgres.create_database("service"));
}
