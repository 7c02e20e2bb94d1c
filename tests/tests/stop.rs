//! An orderly stop: what is in flight is finished, connections end cleanly, probes answer to the
//! end, and all of it within a budget.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use uptree_tests::http::{self, Connection};
use uptree_tests::load::{Ask, Load, Manners, Outcome};
use uptree_tests::{Ended, Postgres, Service, Signal, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

/// Runs `name` with these settings until it is ready.
#[track_caller]
fn ready(name: &str, envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let addr_text = addr.to_string();
    let envs = envs.iter().copied().chain([("ADDR", &*addr_text)]);
    let service = Service::spawn(name, envs);
    let said = format!(" {name}/ready ready ");
    service.wait_for_line(|line| line.contains(&said), LONG);
    (service, addr)
}

/// The first line of the log with all of these in it.
#[track_caller]
fn line(service: &Service, parts: &[&str]) -> String {
    let mut lines = service.stdout_lines().into_iter();
    let found = lines.find(|line| parts.iter().all(|part| line.contains(part)));
    found.unwrap_or_else(|| panic!("no line with {parts:?}"))
}

/// Where in the log this is said first.
#[track_caller]
fn position(service: &Service, part: &str) -> usize {
    let lines = service.stdout_lines();
    let found = lines.iter().position(|line| line.contains(part));
    found.unwrap_or_else(|| panic!("no line with {part:?}"))
}

// ---------------------------------------------------------------------- what is in flight

/// Sends so many requests that sleep, and returns when all of them do.
fn asleep(addr: SocketAddr, count: usize, sleep: Duration) -> Vec<Connection> {
    let request = format!(
        "GET /sleep/{} HTTP/1.1\r\nhost: test\r\n\r\n",
        sleep.as_millis()
    );
    let send = |_| {
        let mut client = Connection::open(addr).expect("it listens");
        client.send(request.as_bytes()).expect("it is open");
        client
    };
    let clients = (0..count).map(send).collect();
    eventually(LONG, || {
        let asleep = http::get(addr, "/asleep").expect("an answer").text();
        (asleep == count.to_string()).then_some(())
    });
    clients
}

/// A hundred requests, each of which asks the database something just before it is answered.
#[track_caller]
fn a_hundred_slow_requests_are_answered(database: &str) {
    let envs = [("DATABASE_URL", database), ("POOL_SIZE", "1")];
    let (mut service, addr) = ready("slow", &envs);
    // The pool opens its connection, which takes Postgres its time.
    assert_eq!(http::get(addr, "/pool").expect("an answer").status, 200);
    let mut clients = asleep(addr, 100, Duration::from_secs(2));
    let start = Instant::now();
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/ready draining"), LONG);
    for client in &mut clients {
        let answer = client.read_response().expect("an answer");
        assert_eq!((answer.status, &*answer.text()), (200, "slept"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.read_to_end().expect("FIN"), b"");
    }
    assert_eq!(service.wait(LONG), Ended::Code(0));
    println!("all told after {:?}", start.elapsed());
    assert_eq!(service.stderr(), "");
    let drained = position(&service, "slow/ready drained");
    assert!(drained < position(&service, "slow/repo stopped"));
}

#[test]
fn a_hundred_slow_requests_are_answered_while_the_pool_is_open_on_sqlite() {
    a_hundred_slow_requests_are_answered("sqlite://slow.db?mode=rwc");
}

#[test]
fn a_hundred_slow_requests_are_answered_while_the_pool_is_open_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    a_hundred_slow_requests_are_answered(&postgres.create_database("slow"));
}

/// Their headers come before the stop, their bodies in the middle of it.
#[test]
fn a_hundred_readings_whose_bodies_come_after_the_sigterm_are_accepted_and_written() {
    const HEAD: &str = "POST /readings HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
                        content-type: application/json\r\ncontent-length: 28\r\n\r\n";
    const BODY: &str = r#"{"sensor":"late","value":21}"#;
    const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let folder = tempfile::tempdir().expect("it can be made");
    let boot = || {
        let addr = free_addr();
        let envs = [("ADDR", addr.to_string())];
        let service = Service::spawn_in(folder.path(), "service", envs);
        service.wait_for_line(|line| line.contains("service/ready ready"), LONG);
        (service, addr)
    };

    let (mut service, addr) = boot();
    let begin = |_| -> io::Result<TcpStream> {
        let mut client = TcpStream::connect(addr)?;
        client.set_read_timeout(Some(LONG))?;
        client.write_all(HEAD.as_bytes())?;
        // It is in flight as soon as its body is asked for.
        let mut asked = [0; GO_ON.len()];
        client.read_exact(&mut asked)?;
        assert_eq!(String::from_utf8_lossy(&asked), GO_ON);
        Ok(client)
    };
    let clients: io::Result<Vec<_>> = (0..100).map(begin).collect();
    let mut clients = clients.expect("they are asked for their bodies");
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("service/ready draining"), LONG);
    for client in &mut clients {
        client.write_all(BODY.as_bytes()).expect("it is open");
    }
    for client in &mut clients {
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .expect("an answer, and FIN");
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");

    let (_again, addr) = boot();
    let summary = http::get(addr, "/sensors/late").expect("an answer").json();
    assert_eq!(summary["count"], 100, "{summary}");
}

#[test]
fn requests_that_outlast_the_drain_limit_are_cut_and_counted() {
    let (mut service, addr) = ready("slow", &[("DRAIN_LIMIT", "500ms")]);
    let mut clients = asleep(addr, 3, Duration::from_secs(60));
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    println!("cut and stopped after {took:?}");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    for client in &mut clients {
        client.read_response().expect_err("it is cut");
    }
    line(
        &service,
        &[
            "WARN",
            "slow/ready what is not finished within the drain limit is cut",
            "requests=3",
        ],
    );
    assert_eq!(service.stderr(), "");
}

// ---------------------------------------------------------------------- connections

/// Idle connections, one on which nothing was ever asked, and halves of headers: none of them is in
/// flight.
#[track_caller]
fn what_is_not_in_flight_ends_with_fin(delay: Duration) {
    let delay_text = format!("{}ms", delay.as_millis());
    let (mut service, addr) = ready("service", &[("DRAIN_DELAY", &delay_text)]);
    let open = || Connection::open(addr).expect("it listens");
    let mut used = open();
    assert_eq!(used.get("/readings").expect("an answer").status, 200);
    let silent = open();
    let mut half = open();
    half.send(b"GET /readings HTTP/1.1\r\nho")
        .expect("it is open");
    let mut second_half = open();
    let first = second_half.get("/readings").expect("an answer");
    assert_eq!(first.status, 200);
    second_half.send(b"GET /rea").expect("it is open");
    let mut fresh = open();
    assert_eq!(fresh.get("/alive").expect("an answer").status, 200);

    let start = Instant::now();
    service.signal(Signal::TERM);
    for mut client in [used, silent, half, second_half, fresh] {
        let rest = client.read_to_end().expect("FIN, not RST");
        assert_eq!(String::from_utf8_lossy(&rest), "");
        let lasted = start.elapsed();
        assert!(lasted >= delay, "{lasted:?}");
    }
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed().saturating_sub(delay);
    println!("the stop took the delay and {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(service.stderr(), "");
}

#[test]
fn idle_connections_and_half_sent_headers_end_with_fin_and_hold_nothing_up() {
    what_is_not_in_flight_ends_with_fin(Duration::ZERO);
}

#[test]
fn idle_connections_and_half_sent_headers_are_kept_through_the_drain_delay() {
    what_is_not_in_flight_ends_with_fin(Duration::from_secs(1));
}

#[test]
fn with_nobody_connected_a_stop_takes_no_time() {
    let (mut service, _) = ready("service", &[]);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    println!("stopped after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

// ---------------------------------------------------------------------- probes

#[test]
fn alive_answers_to_the_end_and_ready_says_no_from_the_beginning() {
    let delay = Duration::from_millis(500);
    let linger = Duration::from_secs(1);
    let envs = [("DRAIN_DELAY", "500ms"), ("LINGER", "1s")];
    let (mut service, addr) = ready("slow", &envs);
    let probe = |path| {
        let pause = Duration::from_millis(5);
        Load::start(addr, 1, Manners::Open, pause, Ask::Get(path))
    };
    let (alive, ready) = (probe("/alive"), probe("/ready"));
    // Both have been answered.
    for _ in 0..10 {
        assert_eq!(http::get(addr, "/ready").expect("an answer").status, 200);
    }
    let signalled = Instant::now();
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/ready draining"), LONG);
    let draining = Instant::now();
    service.wait_for_line(|line| line.contains("slow/lingering lingers"), LONG);
    // The drain is over and the rest stops: the probes are still answered.
    let stopping = http::get(addr, "/ready").expect("an answer");
    let text = stopping.text();
    assert_eq!(
        (stopping.status, text.lines().next()),
        (503, Some("stopping"))
    );
    assert!(text.contains("slow/lingering: stopping for "), "{text}");
    assert_eq!(http::get(addr, "/pool").expect("an answer").status, 503);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let [alive, ready] = [alive, ready].map(|probe| probe.finish().remove(0));

    // What takes longest comes before the endpoint's own stop.
    let end = signalled + delay + linger;
    for record in &alive {
        match record.outcome {
            Outcome::Answered { status, .. } => assert_eq!(status, 200),
            _ => assert!(record.ended >= end, "{record:?} before {end:?}"),
        }
    }
    let late = alive.iter().filter(|record| record.began > draining);
    let answered = late.filter(|record| record.succeeded()).count();
    assert!(answered >= 20, "{answered}");

    let mut refused = 0;
    for record in &ready {
        match record.status() {
            Some(503) => {
                assert!(record.ended >= signalled, "{record:?}");
                refused += 1;
            }
            Some(status) => {
                assert_eq!(status, 200);
                assert!(record.began <= draining, "{record:?} after {draining:?}");
            }
            None => assert!(record.ended >= end, "{record:?} before {end:?}"),
        }
    }
    assert!(refused >= 20, "{refused}");
}

// ---------------------------------------------------------------------- the drain delay

#[test]
fn in_kubernetes_the_drain_delay_is_five_seconds_and_the_log_says_so() {
    let envs = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let (mut service, addr) = ready("service", &envs);
    line(&service, &["service/ready", "drain_delay=5s"]);
    line(&service, &["service/ready", "Kubernetes", "DRAIN_DELAY"]);
    // Drain delay, drain limit and 2 s; ten for what is queued; five each for the others.
    line(&service, &["service booting", "stop_budget=42s"]);
    let start = Instant::now();
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("service/ready draining"), LONG);
    // Traffic still comes, and is served, until the word has spread.
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(http::get(addr, "/readings").expect("an answer").status, 200);
        assert_eq!(http::get(addr, "/ready").expect("an answer").status, 503);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    println!("stopped after {took:?}");
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn in_kubernetes_a_drain_delay_that_is_set_is_kept() {
    let envs = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("DRAIN_DELAY", "0s"),
    ];
    let (mut service, _) = ready("service", &envs);
    line(&service, &["service/ready", "drain_delay=0ns"]);
    let lines = service.stdout_lines();
    assert!(!lines.iter().any(|line| line.contains("Kubernetes")));
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

// ---------------------------------------------------------------------- the budget

#[test]
fn the_stop_budget_is_told_at_boot_and_is_the_sum_of_what_the_children_may_take() {
    // Endpoint, repo and migrator have 5 s each, the ingestion 10, and the drain its own and 2.
    for (envs, budget) in [
        (&[][..], "37s"),
        (&[("DRAIN_DELAY", "3s"), ("DRAIN_LIMIT", "30s")], "60s"),
        (&[("STOP_BUDGET", "4s")], "4s"),
    ] {
        let (service, _) = ready("service", envs);
        line(
            &service,
            &["service booting", &format!("stop_budget={budget}")],
        );
    }
}

#[test]
fn who_needs_more_than_the_stop_budget_has_is_killed_and_named_and_the_others_stop_in_order() {
    let envs = [("STOP_BUDGET", "1s"), ("LINGER", "60s")];
    let (mut service, _) = ready("slow", &envs);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let took = start.elapsed();
    println!("stopped after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(
        service.stderr(),
        "error: the stop budget is used up: killed before its own time was over: slow/lingering\n  \
         help: raise STOP_BUDGET, or give these children less to do at a stop"
    );
    line(&service, &["WARN", "slow/lingering", "killed"]);
    for child in ["ready", "blocker", "repo", "endpoint"] {
        line(&service, &[&format!("INFO slow/{child} stopped")]);
    }
}

#[test]
fn requests_that_outlast_the_stop_budget_are_cut_and_counted() {
    let (mut service, addr) = ready("slow", &[("STOP_BUDGET", "1s")]);
    let mut clients = asleep(addr, 3, Duration::from_secs(60));
    let start = Instant::now();
    service.signal(Signal::TERM);
    let _ = service.wait(LONG);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for client in &mut clients {
        client.read_response().expect_err("it is cut");
    }
    line(
        &service,
        &[
            "WARN",
            "slow/ready what is not finished within the drain limit is cut",
            "requests=3",
        ],
    );
}

#[test]
fn a_stop_that_needs_less_than_its_budget_ends_when_it_is_done() {
    let envs = [("STOP_BUDGET", "10s"), ("LINGER", "300ms")];
    let (mut service, _) = ready("slow", &envs);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(service.stderr(), "");
}
