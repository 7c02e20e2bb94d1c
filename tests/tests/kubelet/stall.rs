//! A service whose every worker thread is blocked.

use std::time::Duration;

use uptree_tests::kubelet::{Endpoints, Event, Kind, Pod, Probe};
use uptree_tests::{Ended, http};

use crate::{LONG, pod};

#[test]
fn a_stalled_runtime_is_killed_by_its_liveness_probe_names_the_culprit_and_runs_again() {
    let envs = [("DATABASE_URL", "sqlite::memory:"), ("STOP_BUDGET", "1s")];
    let mut spec = pod("slow", &envs);
    spec.liveness = spec
        .liveness
        .map(|probe| probe.within(Duration::from_millis(500)));
    spec.grace = Duration::from_secs(10);
    let pod = Pod::start(spec);
    pod.wait_until(LONG, |status| status.ready);
    // The answer may not get out any more.
    let _ = http::post_json(pod.addr(), "/block", "{}");
    let status = pod.wait_until(LONG, |status| status.restarts == 1 && status.ready);
    assert_eq!(status.failures(Kind::Liveness).len(), 3, "{status:#?}");
    assert!(status.first(&Event::Killing(Kind::Liveness)).is_some());
    assert_eq!(status.ends(), [Ended::Code(3)]);
    assert_eq!(status.first(&Event::Kill), None, "it ends by itself");
    let stderr = &pod.stderr()[0];
    assert!(stderr.contains("slow/blocker"), "{stderr}");
}

#[test]
fn a_runtime_that_is_stalled_for_too_long_answers_its_probes_with_the_reason_until_it_is_killed() {
    let envs = [
        ("DATABASE_URL", "sqlite::memory:"),
        ("STOP_BUDGET", "1s"),
        ("STALL_LIMIT", "1s"),
    ];
    let mut spec = pod("slow", &envs);
    // As it is to be: its patience is longer than the service's own.
    let liveness = |probe: Probe| probe.within(Duration::from_millis(300)).failures(15);
    spec.liveness = spec.liveness.map(liveness);
    let endpoints = Endpoints::new(Duration::ZERO);
    let pod = Pod::start_behind(&endpoints, spec);
    pod.wait_until(LONG, |_| endpoints.addrs() == [pod.addr()]);
    let _ = http::post_json(pod.addr(), "/block", "{}");
    // Nobody sends it work while it lasts.
    pod.wait_until(LONG, |_| endpoints.addrs().is_empty());
    let status = pod.wait_until(LONG, |status| status.restarts == 1 && status.ready);
    let failures = status.failures(Kind::Liveness);
    let reason = failures.iter().find(|why| why.starts_with("503"));
    let reason = reason.unwrap_or_else(|| panic!("no answer: {failures:#?}"));
    assert!(reason.contains("slow/blocker"), "{reason}");
    assert_eq!(status.ends(), [Ended::Code(3)]);
    assert_eq!(status.first(&Event::Kill), None, "it ends by itself");
    let stderr = &pod.stderr()[0];
    assert!(stderr.contains("slow/blocker"), "{stderr}");
}
