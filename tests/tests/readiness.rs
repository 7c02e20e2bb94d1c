//! What real processes answer to `/alive`, `/ready` and `/started`, and when.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use uptree_tests::http::{self, Connection, Response};
use uptree_tests::{Database, Ended, Example, Service, Signal, eventually, free_addr, slow};

const SOON: Duration = Duration::from_secs(30);

/// The program `healthy`.
struct Healthy {
    process: Service,
    addr: SocketAddr,
}

impl Healthy {
    fn spawn(envs: &[(&str, &str)]) -> Self {
        let addr = free_addr();
        let addr_set = ("ADDR".to_owned(), addr.to_string());
        let envs = envs
            .iter()
            .map(|(name, it)| ((*name).to_owned(), (*it).to_owned()));
        let process = Service::spawn("healthy", envs.chain([addr_set]));
        Self { process, addr }
    }

    /// Waits until a probe's answer begins with this word.
    #[track_caller]
    fn until(&self, path: &str, word: &str) -> Response {
        eventually(SOON, || {
            let response = http::get(self.addr, path).ok()?;
            (response.text().lines().next() == Some(word)).then_some(response)
        })
    }

    fn post(&self, path: &str) {
        let mut connection = Connection::open(self.addr).expect("it listens");
        let headers = [("Authorization", "yes")];
        let response = connection.request("POST", path, &headers, b"");
        assert_eq!(response.expect("an answer").status, 200, "{path}");
    }

    #[track_caller]
    fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        let ended = self.process.wait(SOON);
        assert_eq!(ended, Ended::Code(0), "{}", self.process.stderr());
    }
}

fn json(addr: SocketAddr, path: &str) -> (u16, Value) {
    let mut connection = Connection::open(addr).expect("it listens");
    let headers = [("Accept", "application/json")];
    let response = connection.request("GET", path, &headers, b"");
    let response = response.expect("an answer");
    (response.status, response.json())
}

#[test]
fn a_boot_that_takes_its_time_is_told_and_the_app_s_layers_are_not_asked() {
    let mut service = Healthy::spawn(&[("FEED_START", "1s")]);
    let response = service.until("/started", "starting");
    assert_eq!(response.status, 503);
    let text = response.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].starts_with("healthy/feed: starting for "),
        "{text}"
    );
    assert!(lines[2].starts_with("healthy/keeper: down for "), "{text}");
    assert!(lines[3].starts_with("healthy/ready: down for "), "{text}");
    let (status, body) = json(service.addr, "/ready");
    assert_eq!((status, &body["status"]), (503, &"starting".into()));
    assert_eq!(body["missing"][0]["child"], "healthy/feed");
    assert_eq!(
        http::get(service.addr, "/alive").expect("an answer").text(),
        "alive"
    );

    service.until("/started", "started");
    let response = service.until("/ready", "ready");
    assert_eq!(response.text(), "ready");
    assert_eq!(http::get(service.addr, "/").expect("an answer").status, 401);
    service.stop();
}

#[test]
fn a_child_that_gates_takes_the_service_out_of_traffic_while_it_is_down() {
    let mut service = Healthy::spawn(&[("FEED_START", "1s"), ("FEED_GRACE", "300ms")]);
    service.until("/ready", "ready");
    service.post("/fail");
    let response = service.until("/ready", "unready");
    assert_eq!(response.status, 503);
    let text = response.text();
    assert!(
        text.starts_with("unready\nhealthy/feed: starting for 0."),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    // Kubernetes kills for neither, and the routes are served.
    assert_eq!(
        http::get(service.addr, "/alive").expect("an answer").status,
        200
    );
    assert_eq!(
        http::get(service.addr, "/started")
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(http::get(service.addr, "/").expect("an answer").status, 401);
    service.until("/ready", "ready");
    service.stop();
}

#[test]
fn a_restart_within_its_grace_is_not_seen() {
    let mut service = Healthy::spawn(&[("FEED_GRACE", "1h")]);
    service.until("/ready", "ready");
    service.post("/fail");
    let failed = |line: &str| line.contains("healthy/feed") && line.contains("hunter2");
    service.process.wait_for_line(failed, SOON);
    for _ in 0..100 {
        let ready = http::get(service.addr, "/ready").expect("an answer");
        assert_eq!(ready.status, 200, "{}", ready.text());
    }
    service.stop();
}

#[test]
fn a_critical_check_says_how_it_does_not_pass_and_is_logged_once() {
    let mut service = Healthy::spawn(&[]);
    service.until("/ready", "ready");
    for (what, state) in [
        ("fail", "failing"),
        ("hang", "timed out"),
        ("block", "timed out"),
        ("panic", "panicked"),
    ] {
        service.post(&format!("/check/{what}"));
        let line = format!("unready\nhealthy/keeper/disk: {state} for ");
        let text = eventually(SOON, || {
            let text = http::get(service.addr, "/ready").ok()?.text();
            text.starts_with(&line).then_some(text)
        });
        assert!(!text.contains("hunter2"), "{text}");
        let (_, body) = json(service.addr, "/ready");
        assert_eq!(body["missing"][0]["check"], "healthy/keeper/disk", "{body}");
        service.post("/check/pass");
        service.until("/ready", "ready");
    }
    service.stop();
    let log = service.process.stdout_lines();
    let lines = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines("a health check passes again"), 4, "{log:#?}");
    assert_eq!(lines("a health check does not pass"), 2, "{log:#?}");
    assert_eq!(lines("a health check does not answer"), 2, "{log:#?}");
    assert_eq!(lines("check=disk"), 8, "{log:#?}");
}

#[test]
fn with_probe_detail_off_a_probe_says_a_word() {
    let mut service = Healthy::spawn(&[("FEED_START", "1s"), ("PROBE_DETAIL", "off")]);
    let starting = service.until("/started", "starting");
    assert_eq!(starting.text(), "starting");
    let (_, body) = json(service.addr, "/ready");
    assert_eq!(body.to_string(), r#"{"status":"starting"}"#);
    service.until("/ready", "ready");
    service.post("/check/fail");
    assert_eq!(service.until("/ready", "unready").text(), "unready");
    service.stop();
}

#[test]
fn a_migration_is_what_the_example_waits_for() {
    let database = Database::sqlite();
    let folder = uptree_tests::migrations(&[("0009_slow.sql", &*slow(&database, 2))]);
    let dir = folder.path().display().to_string();
    let mut service = Example::spawn(&database.url(), &[("MIGRATIONS_DIR", &dir)]);
    let text = eventually(SOON, || {
        let text = http::get(service.addr, "/started").ok()?.text();
        text.contains("service/migrator: starting for ")
            .then_some(text)
    });
    assert!(text.starts_with("starting\n"), "{text}");
    assert!(!text.contains("service/repo"), "{text}");
    service.wait_until_ready();
    assert_eq!(service.get("/started").text(), "started");
    service.stop();
}

#[test]
fn the_example_tells_of_a_queue_that_is_nearly_full_and_is_ready_all_the_same() {
    let database = Database::sqlite();
    let mut service = Example::boot(&database.url(), &[("QUEUE_SIZE", "10")]);
    let held = database.hold();
    for _ in 0..9 {
        let reading = serde_json::json!({"sensor": "attic", "value": 21.5});
        assert_eq!(service.post(&reading).status, 202);
    }
    let ready = eventually(SOON, || {
        let ready = service.get("/ready");
        ready.text().contains("queue").then_some(ready)
    });
    assert_eq!(ready.status, 200);
    let text = ready.text();
    assert!(
        text.starts_with("ready\ninformative: service/ingestion/queue: failing for "),
        "{text}"
    );
    drop(held);
    let written = eventually(SOON, || {
        let text = service.get("/ready").text();
        (text == "ready").then_some(text)
    });
    assert_eq!(written, "ready");
    assert!(
        service.log().contains("9 readings wait, of 10 at the most"),
        "{}",
        service.log()
    );
    service.stop();
}
