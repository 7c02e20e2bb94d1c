//! The kubelet does what a kubelet does, here to containers of the shell that answer what the test
//! says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uptree_tests::kubelet::{Endpoints, Event, Kind, Pod, PodSpec, PreStop, Probe};
use uptree_tests::{Ended, free_addr};

use crate::LONG;

const PERIOD: Duration = Duration::from_millis(50);

/// What a container answers, by path; it keeps what it was asked.
#[derive(Clone, Default)]
struct Answers {
    bad: Arc<Mutex<Vec<&'static str>>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Answers {
    /// From now on, whoever asks for these paths gets a 503.
    fn bad(&self, paths: &[&'static str]) {
        *self.bad.lock().expect("no panic") = paths.to_vec();
    }

    /// How often this was asked, from then on.
    fn asked(&self, path: &str, since: Instant) -> usize {
        let asked = self.asked.lock().expect("no panic");
        let of_path = asked.iter().filter(|(at, of)| *at >= since && of == path);
        of_path.count()
    }

    /// Answers on this address.
    fn serve(&self, addr: SocketAddr) {
        let listener = TcpListener::bind(addr).expect("it is free");
        let this = self.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                    continue;
                };
                assert!(head.iter().any(|line| line == "connection: close"));
                assert!(
                    head.iter()
                        .any(|line| line.starts_with("user-agent: kube-probe/"))
                );
                let is_bad = this.bad.lock().expect("no panic").contains(&path);
                let status = if is_bad { "503 No" } else { "200 Yes" };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let now = Instant::now();
                let mut asked = this.asked.lock().expect("no panic");
                asked.push((now, path.to_owned()));
                drop(asked);
                let _ = stream.write_all(head.as_bytes());
            }
        });
    }
}

/// A pod whose container is this script, and what it answers.
fn shell(script: &'static str) -> (PodSpec, Answers) {
    let addr = free_addr();
    let answers = Answers::default();
    answers.serve(addr);
    let mut spec = PodSpec::new(addr, move || {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    });
    spec.startup = Some(Probe::get("/startup").every(PERIOD).failures(1000));
    spec.liveness = Some(Probe::get("/liveness").every(PERIOD));
    spec.readiness = Some(Probe::get("/readiness").every(PERIOD).failures(1));
    (spec, answers)
}

const HEEDS: &str = "trap 'exit 7' TERM; echo trapped; while :; do sleep 0.01; done";
const IGNORES: &str = "trap '' TERM; echo trapped; while :; do sleep 0.01; done";

/// Whether the shell does with SIGTERM what its script says.
fn is_trapped(pod: &Pod) -> bool {
    pod.log().contains("trapped")
}

#[test]
fn nothing_else_is_asked_before_the_startup_probe_has_succeeded() {
    let (spec, answers) = shell(HEEDS);
    answers.bad(&["/startup"]);
    let began = Instant::now();
    let pod = Pod::start(spec);
    pod.wait_until(LONG, |status| status.failures(Kind::Startup).len() >= 5);
    assert_eq!(answers.asked("/liveness", began), 0);
    assert_eq!(answers.asked("/readiness", began), 0);
    answers.bad(&[]);
    let status = pod.wait_until(LONG, |status| status.ready);
    assert!(status.started);
    assert_eq!(status.restarts, 0);
    let startups = answers.asked("/startup", began);
    pod.wait_until(LONG, |_| answers.asked("/liveness", began) > 3);
    assert_eq!(
        answers.asked("/startup", began),
        startups,
        "it has done its work"
    );
}

#[test]
fn three_failures_of_liveness_have_a_container_stopped_and_run_again() {
    let (mut spec, answers) = shell(HEEDS);
    spec.pre_stop = Some(PreStop::Sleep(Duration::from_millis(300)));
    let pod = Pod::start(spec);
    pod.wait_until(LONG, |status| status.ready && is_trapped(&pod));
    answers.bad(&["/liveness"]);
    let status = pod.wait_until(LONG, |status| status.first(&Event::Term).is_some());
    answers.bad(&[]);
    assert!(status.failures(Kind::Liveness).len() >= 3);
    let at = |event| status.first(&event).expect("it has happened");
    let killing = at(Event::Killing(Kind::Liveness));
    assert!(at(Event::Term) - killing >= Duration::from_millis(300));
    let status = pod.wait_until(LONG, |status| status.restarts == 1 && status.ready);
    assert_eq!(status.ends(), [Ended::Code(7)]);
    let hook = (killing, status.first(&Event::Term).expect("it was sent"));
    let asked = answers.asked("/readiness", hook.0) - answers.asked("/readiness", hook.1);
    assert!(asked >= 2, "readiness is asked on: {asked}");
    assert_eq!(status.first(&Event::Kill), None);
}

#[test]
fn who_has_not_ended_when_the_grace_is_over_is_killed() {
    let (mut spec, answers) = shell(IGNORES);
    spec.grace = Duration::from_millis(400);
    let pod = Pod::start(spec);
    pod.wait_until(LONG, |status| status.ready && is_trapped(&pod));
    answers.bad(&["/liveness"]);
    let status = pod.wait_until(LONG, |status| !status.ends().is_empty());
    assert_eq!(status.ends(), [Ended::Signal(9)]);
    let at = |event| status.first(&event).expect("it has happened");
    assert!(at(Event::Kill) - at(Event::Term) >= Duration::from_millis(400));
}

#[test]
fn a_pod_that_is_deleted_leaves_its_endpoints_and_is_asked_for_readiness_alone() {
    let (mut spec, answers) = shell(IGNORES);
    spec.grace = Duration::from_millis(500);
    let endpoints = Endpoints::new(Duration::ZERO);
    let pod = Pod::start_behind(&endpoints, spec);
    pod.wait_until(LONG, |_| {
        endpoints.addrs() == [pod.addr()] && is_trapped(&pod)
    });
    pod.delete();
    assert!(endpoints.addrs().is_empty());
    let status = pod.wait_until(LONG, |status| status.gone);
    assert_eq!(status.ends(), [Ended::Signal(9)]);
    assert_eq!(status.restarts, 0);
    let term = status.first(&Event::Term).expect("it was sent");
    assert!(answers.asked("/readiness", term) >= 3);
    // One may have been on its way.
    assert!(answers.asked("/liveness", term) <= 1);
    assert!(endpoints.addrs().is_empty());
}

#[test]
fn a_pod_that_is_not_ready_leaves_its_endpoints_and_comes_back() {
    let (spec, answers) = shell(HEEDS);
    let endpoints = Endpoints::new(Duration::ZERO);
    let pod = Pod::start_behind(&endpoints, spec);
    pod.wait_until(LONG, |_| endpoints.addrs() == [pod.addr()]);
    answers.bad(&["/readiness"]);
    pod.wait_until(LONG, |_| endpoints.addrs().is_empty());
    answers.bad(&[]);
    let status = pod.wait_until(LONG, |_| endpoints.addrs() == [pod.addr()]);
    assert_eq!(status.restarts, 0);
}

#[test]
fn a_container_that_keeps_ending_is_run_again_at_once_and_then_later() {
    let (spec, _answers) = shell("exit 1");
    let pod = Pod::start(spec);
    let status = pod.wait_until(LONG, |status| status.ends().len() == 2);
    assert_eq!(status.ends(), [Ended::Code(1); 2]);
    let runs = status.events.iter().filter(|(_, it)| *it == Event::Runs);
    let runs: Vec<_> = runs.map(|(at, _)| *at).collect();
    assert!(runs[1] - runs[0] < Duration::from_secs(5));
    // The next one is due ten seconds after the second end.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(pod.status().restarts, 1);
}
