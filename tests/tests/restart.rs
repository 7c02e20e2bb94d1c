//! A failure behind the endpoint: what comes after it in the list is restarted, nothing drains, and
//! the routes are back at once. And what the log says of it all.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use uptree_tests::http::{self, Connection};
use uptree_tests::{Ended, Postgres, Service, Signal, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

fn spawn(name: &str, addr: SocketAddr, envs: &[(&str, &str)]) -> Service {
    let addr = addr.to_string();
    Service::spawn(name, envs.iter().copied().chain([("ADDR", &*addr)]))
}

/// Runs `slow` with these settings until it is ready.
#[track_caller]
fn ready(envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let service = spawn("slow", addr, envs);
    service.wait_for_line(|line| line.contains(" slow/ready ready "), LONG);
    (service, addr)
}

fn open(addr: SocketAddr) -> Connection {
    Connection::open(addr).expect("it listens")
}

/// Sends a request that sleeps, and returns when it does.
fn asleep(addr: SocketAddr, ms: u32) -> Connection {
    let mut client = open(addr);
    let request = format!("GET /sleep/{ms} HTTP/1.1\r\nhost: test\r\n\r\n");
    client.send(request.as_bytes()).expect("it is open");
    eventually(LONG, || {
        let asleep = http::get(addr, "/asleep").expect("an answer");
        (asleep.text() == "1").then_some(())
    });
    client
}

/// How often the log has a line with `part` in it.
fn count(service: &Service, part: &str) -> usize {
    let lines = service.stdout_lines();
    lines.iter().filter(|line| line.contains(part)).count()
}

/// Waits until it has so more often than `before`.
#[track_caller]
fn await_again(service: &Service, part: &str, before: usize) {
    let lines = Cell::new(0);
    let is_new = |line: &str| {
        lines.set(lines.get() + usize::from(line.contains(part)));
        lines.get() > before
    };
    service.wait_for_line(is_new, LONG);
}

// ---------------------------------------------------------------------- rest_for_one

/// Kills the pool; returns how long it takes until a request succeeds on the same connection.
#[track_caller]
fn until_back(service: &Service, client: &mut Connection) -> Duration {
    let before = count(service, "slow/repo terminated: restarting");
    let start = Instant::now();
    let killed = client.post_json("/kill-pool", "").expect("an answer");
    assert_eq!(killed.status, 202);
    await_again(service, "slow/repo terminated: restarting", before);
    // The first success from here on is the new pool's: there is none in between.
    loop {
        let answer = client.get("/pool").expect("the connection is kept");
        assert_eq!(answer.header("connection"), None);
        match answer.status {
            200 => return start.elapsed(),
            status => assert_eq!(status, 503),
        }
    }
}

/// Kills the pool of a service that drains for fifteen seconds when it stops.
#[track_caller]
fn routes_are_back_at_once(database: &str) {
    let envs = [("DRAIN_DELAY", "15s"), ("DATABASE_URL", database)];
    let (mut service, addr) = ready(&envs);
    let mut client = open(addr);
    let mut idle = open(addr);
    for client in [&mut client, &mut idle] {
        assert_eq!(client.get("/pool").expect("an answer").status, 200);
    }
    let mut busy = asleep(addr, 1500);

    // Twice, for a busy machine.
    let times = [(); 2].map(|()| until_back(&service, &mut client));
    println!("back after {times:?}");
    assert!(
        times.iter().min() < Some(&Duration::from_secs(1)),
        "{times:?}"
    );

    assert_eq!(http::get(addr, "/ready").expect("an answer").status, 200);
    let answer = idle.get("/pool").expect("the connection is kept");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    let answer = busy.read_response().expect("it is left alone");
    assert_eq!((answer.status, &*answer.text()), (200, "slept"));
    busy.get("/pool").expect("the connection is kept");
    assert_eq!(count(&service, "drain_delay=15s"), 3, "let in");
    assert_eq!(count(&service, "slow/ready draining"), 0);
    assert_eq!(count(&service, "slow/endpoint listening"), 1);

    // With nobody in a hurry it does drain.
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/ready draining"), LONG);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");
}

#[test]
fn with_its_pool_killed_a_service_is_back_at_once_on_the_same_connections_on_sqlite() {
    routes_are_back_at_once("sqlite://slow.db?mode=rwc");
}

#[test]
fn with_its_pool_killed_a_service_is_back_at_once_on_the_same_connections_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    routes_are_back_at_once(&postgres.create_database("slow"));
}

#[test]
fn a_sigterm_in_the_middle_of_a_restart_stops_in_order() {
    // A restart takes a few milliseconds.
    for moment in (0..40).map(|n| Duration::from_micros(n * 200)) {
        let (mut service, addr) = ready(&[]);
        let killed = http::post_json(addr, "/kill-pool", "").expect("an answer");
        assert_eq!(killed.status, 202);
        thread::sleep(moment);
        service.signal(Signal::TERM);
        assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
        assert_eq!(service.stderr(), "");
    }
}

// ---------------------------------------------------------------------- one_for_all

#[test]
fn an_endpoint_that_is_restarted_leaves_no_connection_and_is_back_at_once() {
    let envs = [("DRAIN_DELAY", "15s"), ("ONE_FOR_ALL", "true")];
    let (mut service, addr) = ready(&envs);
    let mut idle = open(addr);
    assert_eq!(idle.get("/pool").expect("an answer").status, 200);
    let mut half = open(addr);
    half.send(b"GET /pool HTTP/1.1\r\nho").expect("it is open");
    let mut busy = asleep(addr, 60_000);

    let start = Instant::now();
    let killed = http::post_json(addr, "/kill-pool", "").expect("an answer");
    assert_eq!(killed.status, 202);
    assert_eq!(idle.read_to_end().expect("FIN"), b"");
    assert_eq!(half.read_to_end().expect("FIN"), b"");
    busy.read_response().expect_err("what it needs is gone");
    let ended = start.elapsed();
    service.wait_for_line(|line| line.contains("slow/endpoint stopped"), LONG);
    eventually(LONG, || {
        let answer = http::get(addr, "/pool").ok()?;
        (answer.status == 200).then_some(())
    });
    let took = start.elapsed();
    println!("connections ended after {ended:?}, back after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(count(&service, "slow/ready draining"), 0);
    assert_eq!(count(&service, "slow/endpoint listening"), 2);
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/ready draining"), LONG);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
}

// ---------------------------------------------------------------------- the log

/// Every line is a JSON object with the fields that each has; returns them as (child, message).
#[track_caller]
fn objects(service: &Service, root: &str) -> Vec<(String, String)> {
    let below = format!("{root}/");
    let object = |line: String| {
        let object: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object.is_object(), "{line}");
        let text = |field: &str| {
            let text = object[field].as_str();
            text.unwrap_or_else(|| panic!("no text {field:?} in {line}"))
                .to_owned()
        };
        assert!(text("timestamp").ends_with('Z'), "{line}");
        assert!(
            ["ERROR", "WARN", "INFO"].contains(&&*text("level")),
            "{line}"
        );
        text("target");
        let child = text("child");
        assert!(child == root || child.starts_with(&below), "{line}");
        (child, text("message"))
    };
    service.stdout_lines().into_iter().map(object).collect()
}

/// A failure and nothing else: a chain that begins with an error, each further line one of its
/// parts.
#[track_caller]
fn is_a_chain(stderr: &str) {
    let mut lines = stderr.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("error: "), "{stderr}");
    for line in lines {
        let is_part = ["  caused by: ", "  help: ", "    "]
            .iter()
            .any(|part| line.starts_with(part));
        assert!(is_part, "{line:?} in {stderr}");
    }
    let all: Vec<_> = stderr.lines().map(str::trim).collect();
    let once: BTreeSet<_> = all.iter().collect();
    assert_eq!(once.len(), all.len(), "said twice: {stderr}");
}

fn json_ready(service: &Service) {
    service.wait_for_line(|line| line.contains("requests are let in"), LONG);
}

/// Kills the pool, and returns when the one after it is there.
#[track_caller]
fn crash(service: &Service, addr: SocketAddr) {
    let before = count(service, "requests are let in");
    let killed = http::post_json(addr, "/kill-pool", "").expect("an answer");
    assert_eq!(killed.status, 202);
    await_again(service, "requests are let in", before);
}

#[test]
fn as_json_every_line_of_a_boot_a_crash_and_a_stop_is_an_object_with_the_childs_path() {
    let addr = free_addr();
    let mut service = spawn("slow", addr, &[("LOG_FORMAT", "json")]);
    json_ready(&service);
    crash(&service, addr);
    assert_eq!(http::get(addr, "/panic").expect("an answer").status, 500);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");
    let lines = objects(&service, "slow");
    for (child, part) in [
        ("slow", "booting"),
        ("slow/endpoint", "listening"),
        ("slow/endpoint", "ready"),
        ("slow/ready", "requests are let in"),
        ("slow", "booted in"),
        ("slow/repo", "terminated: restarting"),
        ("slow/lingering", "lingers"),
        ("slow/endpoint", "panicked: as a handler with a bug does"),
        ("slow", "SIGTERM: stopping"),
        ("slow/ready", "draining"),
        ("slow/repo", "stopped"),
        ("slow/endpoint", "stopped"),
    ] {
        let said = |line: &(String, String)| line.0 == child && line.1.contains(part);
        assert!(lines.iter().any(said), "{child} {part:?} in {lines:?}");
    }
}

#[test]
fn as_json_every_line_of_the_example_service_is_an_object_with_the_childs_path() {
    let addr = free_addr();
    let mut service = spawn("service", addr, &[("LOG_FORMAT", "json")]);
    json_ready(&service);
    let reading = r#"{"sensor":"attic","value":21.5}"#;
    let accepted = http::post_json(addr, "/readings", reading).expect("an answer");
    assert_eq!(accepted.status, 202);
    service.signal(Signal::INT);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");
    let children: BTreeSet<_> = objects(&service, "service")
        .into_iter()
        .map(|(child, _)| child)
        .collect();
    let expected = [
        "",
        "/endpoint",
        "/ingestion",
        "/migrator",
        "/ready",
        "/repo",
    ];
    assert!(
        children
            .iter()
            .eq(expected.map(|id| format!("service{id}")).iter())
    );
}

#[test]
fn as_json_a_failed_boot_logs_objects_and_leaves_its_errors_to_stderr() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let addr = taken.local_addr().expect("it is bound");
    let mut service = spawn("slow", addr, &[("LOG_FORMAT", "json")]);
    assert_eq!(service.wait(LONG), Ended::Code(1));
    objects(&service, "slow");
    let stderr = service.stderr();
    is_a_chain(&stderr);
    assert!(
        stderr.contains(&format!("cannot listen on {addr}")),
        "{stderr}"
    );
}

#[test]
fn as_json_a_service_that_gives_up_logs_objects_and_leaves_its_errors_to_stderr() {
    let addr = free_addr();
    let mut service = spawn("slow", addr, &[("LOG_FORMAT", "json")]);
    json_ready(&service);
    // Three times in five seconds are allowed.
    for _ in 0..3 {
        crash(&service, addr);
    }
    let _ = http::post_json(addr, "/kill-pool", "");
    assert_eq!(service.wait(LONG), Ended::Code(2));
    let lines = objects(&service, "slow");
    let said = |line: &(String, String)| line.0 == "slow/repo" && line.1.contains("gives up");
    assert!(lines.iter().any(said), "{lines:?}");
    let stderr = service.stderr();
    is_a_chain(&stderr);
    assert!(stderr.contains("the pool was closed"), "{stderr}");
}

#[test]
fn where_no_terminal_is_the_log_is_pretty_without_colours() {
    let addr = free_addr();
    let envs = [("TERM", "xterm-256color"), ("LOG_FORMAT", "pretty")];
    let mut service = spawn("slow", addr, &envs);
    json_ready(&service);
    crash(&service, addr);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    for line in service.stdout_lines() {
        assert!(!line.contains('\x1b'), "{line:?}");
        // Such as `2026-01-31T12:00:00.000000Z  INFO slow/repo ready took=1ms`.
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(time.len() == 27 && time.ends_with('Z'), "{line:?}");
        let level = words.next().unwrap_or_default();
        assert!(["ERROR", "WARN", "INFO"].contains(&level), "{line:?}");
        let child = words.next().unwrap_or_default();
        assert!(child == "slow" || child.starts_with("slow/"), "{line:?}");
    }
}
