//! A service whose every worker thread is blocked.

use std::time::Duration;

use uptree_tests::kubelet::{Event, Kind, Pod};
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
