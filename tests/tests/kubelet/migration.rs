//! A boot that takes longer than liveness has patience.

use std::time::Duration;

use uptree_tests::kubelet::{Endpoints, Event, Kind, Pod, PodSpec, Probe};
use uptree_tests::{Database, Ended, http, migrations, slow};

use crate::{LONG, pod};

/// A service that migrates for some seconds, on a database of its own.
struct Slow {
    database: Database,
    folder: tempfile::TempDir,
}

impl Slow {
    fn new(seconds: u32) -> Self {
        let database = Database::sqlite();
        let folder = migrations(&[("0004_slow.sql", &*slow(&database, seconds))]);
        Self { database, folder }
    }

    fn pod(&self) -> PodSpec {
        let folder = self.folder.path().display().to_string();
        let url = self.database.url();
        pod(
            "service",
            &[("DATABASE_URL", &url), ("MIGRATIONS_DIR", &folder)],
        )
    }
}

#[test]
fn a_slow_migration_is_left_in_peace_and_gets_no_traffic() {
    let service = Slow::new(1);
    // It takes as long as the test likes, and then its second.
    let held = service.database.hold();
    let endpoints = Endpoints::new(Duration::ZERO);
    let pod = Pod::start_behind(&endpoints, service.pod());
    pod.wait_until(LONG, |_| pod.log().contains("service/repo ready"));
    pod.wait_until(LONG, |status| status.failures(Kind::Readiness).len() >= 10);
    // Who comes all the same is told to come again.
    let answer = http::get(pod.addr(), "/readings").expect("an answer");
    assert_eq!(answer.status, 503);
    let wait = answer.header("retry-after").expect("it says when");
    assert!((1..=3).contains(&wait.parse().unwrap_or(0)), "{wait}");
    assert!(endpoints.addrs().is_empty());
    drop(held);

    let status = pod.wait_until(LONG, |status| status.ready);
    assert_eq!(endpoints.addrs(), [pod.addr()]);
    assert_eq!((status.restarts, status.started), (0, true));
    assert!(status.failures(Kind::Liveness).is_empty());
    for why in status.failures(Kind::Readiness) {
        assert!(why.starts_with("503: starting"), "{why}");
    }
    let ready = http::get(pod.addr(), "/readings").expect("an answer");
    assert_eq!(ready.status, 200);
    pod.delete();
    let status = pod.wait_until(LONG, |status| status.gone);
    assert_eq!(status.ends(), [Ended::Code(0)]);
}

/// What `/alive` is for: the same migration, with a liveness probe that asks whether it is ready.
#[test]
fn a_migration_that_is_killed_for_not_being_ready_is_called_off_in_order() {
    // Its liveness probe has patience for a second.
    let service = Slow::new(20);
    let mut spec = service.pod();
    spec.liveness = Some(Probe::get("/ready").every(Duration::from_millis(300)));
    let pod = Pod::start(spec);
    let status = pod.wait_until(LONG, |status| status.restarts == 1);
    assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
    assert!(status.first(&Event::Killing(Kind::Liveness)).is_some());
    assert_eq!(status.first(&Event::Kill), None);
    assert_eq!(pod.stderr()[0], "");
}
