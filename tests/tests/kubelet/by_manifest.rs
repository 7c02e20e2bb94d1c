//! Services as their own manifests have them.

use std::time::Duration;

use uptree::kubernetes::{Share, Workload, workloads};
use uptree_tests::http::Connection;
use uptree_tests::kubelet::{Deployment, Endpoints, Event, Pod, PodSpec};
use uptree_tests::load::{Ask, Load, Manners};
use uptree_tests::{Database, Ended, command, eventually, free_addr};

use crate::LONG;

/// How often a probe is asked instead of once.
const HURRY: u32 = 20;

const LAG: Duration = Duration::from_millis(500);

/// What the service answers without the database: of this sensor there is nothing.
const NOTHING: Ask = Ask::Get("/readings?sensor=");

/// The Deployment that `name manifest` prints with these words and settings.
#[track_caller]
fn deployment(name: &str, words: &[&str], envs: &[(&str, &str)]) -> Workload {
    let mut command = command(name);
    command.arg("manifest").args(words);
    let printed = command.envs(envs.iter().copied()).output();
    let printed = printed.expect("it is built");
    let text = String::from_utf8(printed.stdout).expect("it is text");
    let said = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success(), "{said}");
    let all = workloads(&text).expect("it is a manifest");
    let deployment = all.into_iter().find(|one| one.kind == "Deployment");
    deployment.expect("it has one")
}

/// A pod of it, with what only the cluster knows.
fn pod(deployment: &Workload, name: &'static str, secrets: &[(&'static str, String)]) -> PodSpec {
    let secrets = secrets.to_vec();
    PodSpec::of(deployment, free_addr(), HURRY, move || {
        let mut command = command(name);
        command.env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        command.env("ADMIN_ADDR", "off").envs(secrets.clone());
        command
    })
}

/// Updates the service that this manifest has under load; returns the old pods.
#[track_caller]
fn update(manifest: &Workload) -> Vec<Pod> {
    assert_eq!(manifest.max_surge, Share::Number(1));
    assert_eq!(manifest.max_unavailable, Share::Number(0));
    let database = Database::sqlite();
    let secrets = [("DATABASE_URL", database.url())];
    let template = || pod(manifest, "service", &secrets);
    let endpoints = Endpoints::new(LAG);
    let replicas = usize::try_from(manifest.replicas).expect("a few");
    let mut deployment = Deployment::start(&endpoints, replicas, LONG, template);
    eventually(LONG, || (endpoints.addrs().len() == replicas).then_some(()));
    let pause = Duration::from_millis(2);
    let loads = [Manners::Keep, Manners::Open, Manners::Http2]
        .map(|manners| Load::start(endpoints.clone(), 2, manners, pause, NOTHING));
    let old = deployment.roll(template);
    let mut requests = 0;
    for record in loads.into_iter().flat_map(Load::finish).flatten() {
        assert!(record.succeeded(), "{record:?}");
        requests += 1;
    }
    println!("{requests} requests, none of which failed");
    for pod in &old {
        let status = pod.status();
        assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
        assert_eq!(status.restarts, 0);
        assert_eq!(status.first(&Event::Kill), None);
    }
    old
}

#[test]
fn an_update_by_the_service_s_own_manifest_loses_nothing() {
    let manifest = deployment("service", &[], &[("DRAIN_DELAY", "1500ms")]);
    let budget = &manifest.containers[0].env["STOP_BUDGET"].value;
    let budget = budget.as_deref().expect("the manifest says it");
    for pod in update(&manifest) {
        let log = pod.log();
        assert!(log.contains(&format!("stop_budget={budget}")), "{log}");
        assert!(log.contains("draining"), "{log}");
        assert_eq!(pod.status().first(&Event::PreStop), None);
    }
}

/// The hook waits in the delay's place: the service does not begin to stop before it is over.
#[test]
fn an_update_by_a_manifest_with_a_pre_stop_hook_loses_nothing() {
    let manifest = deployment("service", &["--pre-stop", "1s"], &[]);
    for pod in update(&manifest) {
        let status = pod.status();
        let at = |event| status.first(&event).expect("it has happened");
        assert!(at(Event::Term) - at(Event::PreStop) >= Duration::from_secs(1));
        assert!(pod.log().contains("drain_delay=0ns"), "{}", pod.log());
    }
}

/// The grace is what the stop takes at the most, and a little: whoever never comes to an end is cut in
/// time.
#[test]
fn a_request_that_never_ends_is_cut_before_the_manifest_s_grace_is_over() {
    let settings = [("DRAIN_DELAY", "300ms"), ("DRAIN_LIMIT", "1s")];
    let manifest = deployment("service", &[], &settings);
    let database = Database::sqlite();
    // The manifest has what differs from the default in its variables.
    let pod = Pod::start(pod(
        &manifest,
        "service",
        &[("DATABASE_URL", database.url())],
    ));
    pod.wait_until(LONG, |status| status.ready);
    let mut client = Connection::open(pod.addr()).expect("it listens");
    let head = "POST /readings HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
                content-length: 28\r\n\r\n";
    client.send(head.as_bytes()).expect("it is open");
    client.send(b"{").expect("it is open");
    pod.delete();
    let status = pod.wait_until(LONG, |status| status.gone);
    assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
    assert_eq!(status.first(&Event::Kill), None);
    assert!(pod.log().contains("requests=1"), "{}", pod.log());
    client.read_response().expect_err("it is cut");
}
