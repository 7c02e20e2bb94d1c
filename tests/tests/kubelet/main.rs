//! Whole lives of a service in Kubernetes: booted, probed, updated, killed and drained as a kubelet
//! and a Deployment do it.

mod by_manifest;
mod itself;
mod lasting;
mod migration;
mod rollout;
mod stall;

use std::time::Duration;

use uptree_tests::kubelet::{PodSpec, Probe};
use uptree_tests::{command, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(30);

/// A pod of this program with these settings and the probes that a service is to have, ten times as
/// often as Kubernetes asks at the most.
fn pod(name: &'static str, envs: &[(&'static str, &str)]) -> PodSpec {
    let addr = free_addr();
    let envs: Vec<_> = envs
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let mut spec = PodSpec::new(addr, move || {
        let mut command = command(name);
        command.env("ADDR", addr.to_string()).envs(envs.clone());
        command
    });
    let often = |path: &str| Probe::get(path).every(Duration::from_millis(100));
    spec.startup = Some(often("/alive").failures(300));
    spec.liveness = Some(often("/alive"));
    spec.readiness = Some(often("/ready").failures(1));
    spec
}
