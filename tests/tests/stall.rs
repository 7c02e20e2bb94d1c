//! Blocked threads, a runtime that does not answer, servers that do not accept: what the watchdog
//! makes of them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use uptree_tests::http::{Connection, Response};
use uptree_tests::{Ended, Service, Signal, binary, command, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(40);

/// Runs `stall` until it is ready.
fn ready(envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let addr_text = addr.to_string();
    let envs = envs.iter().copied().chain([("ADDR", &*addr_text)]);
    let service = Service::spawn("stall", envs);
    service.wait_for_line(|line| line.contains("stall/ready ready"), LONG);
    (service, addr)
}

/// Asks for what may block whoever is to answer.
fn order(addr: SocketAddr, what: &str) {
    let mut client = Connection::open(addr).expect("it listens");
    let request = format!("POST {what} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n");
    client.send(request.as_bytes()).expect("it is open");
    let timeout = client.set_timeout(Duration::from_millis(200));
    timeout.expect("it is a timeout");
    let _ = client.read_response();
}

/// Ends whatever it was told to do.
fn release(service: &Service) {
    fs::write(service.folder().join("release"), "").expect("it can be written");
}

/// The line that says this.
#[track_caller]
fn said(service: &Service, parts: &[&str]) -> String {
    let all = |line: &str| parts.iter().all(|part| line.contains(part));
    service.wait_for_line(all, LONG)
}

/// How often this has been said so far.
fn times(service: &Service, part: &str) -> usize {
    let lines = service.stdout_lines();
    lines.iter().filter(|line| line.contains(part)).count()
}

/// The first answer of this status; others, and none at all, are tried again.
#[track_caller]
fn answers(addr: SocketAddr, path: &str, status: u16) -> Response {
    eventually(LONG, || {
        let answer = ask(addr, path)?;
        (answer.status == status).then_some(answer)
    })
}

/// The answer, if there is one soon.
fn ask(addr: SocketAddr, path: &str) -> Option<Response> {
    let mut client = Connection::open(addr).ok()?;
    client.set_timeout(Duration::from_secs(1)).ok()?;
    client.get(path).ok()
}

// ---------------------------------------------------------------------- one thread of several

#[test]
fn a_child_that_blocks_one_worker_is_named_once_and_once_more_when_it_is_over() {
    let admin = free_addr();
    let admin_text = admin.to_string();
    let envs = [
        ("TOKIO_WORKER_THREADS", "4"),
        ("STALL_LIMIT", "2s"),
        ("ADMIN_ADDR", &*admin_text),
    ];
    let (mut service, addr) = ready(&envs);
    order(addr, "/block/one");
    said(&service, &["WARN stall/blocker blocks a worker thread"]);
    let tree = answers(admin, "/tree", 200).json();
    let children = tree["children"].as_array().expect("it is a list");
    for child in children {
        let blocks = child["blocks_for_ms"]
            .as_f64()
            .is_some_and(|ms| ms >= 1000.0);
        assert_eq!(blocks, child["id"] == "blocker", "{tree}");
    }
    let metrics = answers(admin, "/metrics", 200).text();
    for line in [
        "uptree_blocks_total 1",
        "uptree_blocked_workers 1",
        "uptree_stalled 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    // The others go on, however long it takes: that is no stall.
    thread::sleep(Duration::from_secs(4));
    answers(addr, "/alive", 200);
    release(&service);
    said(
        &service,
        &["INFO stall/blocker no longer blocks a worker thread"],
    );
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
    assert_eq!(times(&service, " blocks a worker thread"), 2);
    assert_eq!(times(&service, "stalled"), 0);
}

#[test]
fn a_child_that_blocks_one_worker_at_a_stop_is_named_with_what_it_does() {
    let envs = [
        ("TOKIO_WORKER_THREADS", "4"),
        ("STOP_BUDGET", "4s"),
        ("BLOCKS_IN_STOP", "true"),
    ];
    let (mut service, _) = ready(&envs);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    let blocker = stderr.lines().find(|line| line.contains("stall/blocker"));
    let blocker = blocker.unwrap_or_else(|| panic!("{stderr}"));
    assert!(
        blocker.contains("; it blocks a worker thread, for "),
        "{stderr}"
    );
    assert!(
        stderr.contains("help: code that blocks its thread"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("stall/blocker").count(), 1, "{stderr}");
}

// ---------------------------------------------------------------------- all of them

#[test]
fn with_every_worker_blocked_by_a_child_503_says_so_until_the_runtime_is_back() {
    let envs = [("TOKIO_WORKER_THREADS", "2"), ("STALL_LIMIT", "2s")];
    let (mut service, addr) = ready(&envs);
    order(addr, "/block/all");
    said(&service, &["every worker is blocked"]);
    said(
        &service,
        &["WARN", "the runtime does not answer", "stall/blocker"],
    );
    let line = said(
        &service,
        &["ERROR", "stalled: every request is answered 503"],
    );
    assert!(
        line.contains("stall/blocker blocks a worker thread for"),
        "{line}"
    );
    for path in ["/alive", "/ready", "/hello", "/nothing"] {
        let answer = answers(addr, path, 503);
        let text = answer.text();
        let expected = "stalled\nthe runtime does not answer, for ";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("stall/blocker blocks a worker thread"),
            "{text}"
        );
        assert_eq!(answer.header("connection"), Some("close"));
    }
    release(&service);
    answers(addr, "/alive", 200);
    said(&service, &["INFO", "the runtime answers again"]);
    said(&service, &["INFO", "no longer stalled"]);
    assert_eq!(answers(addr, "/hello", 200).text(), "hello");
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
    assert_eq!(times(&service, "stalled: every"), 1);
}

#[test]
fn without_probe_detail_a_stalled_process_says_no_more_than_that() {
    let envs = [
        ("TOKIO_WORKER_THREADS", "1"),
        ("STALL_LIMIT", "1s"),
        ("PROBE_DETAIL", "off"),
    ];
    let (_service, addr) = ready(&envs);
    order(addr, "/block/one");
    assert_eq!(answers(addr, "/alive", 503).text(), "stalled\n");
}

#[test]
fn who_was_blocked_again_and_again_is_told_of_each_time_and_the_process_recovers_each_time() {
    let envs = [("TOKIO_WORKER_THREADS", "1"), ("STALL_LIMIT", "1s")];
    let (mut service, addr) = ready(&envs);
    for round in 1..=3 {
        order(addr, "/block/one");
        let text = answers(addr, "/alive", 503).text();
        assert!(
            text.contains("stall/blocker blocks a worker thread"),
            "{text}"
        );
        release(&service);
        // From the runtime's first answer on it is never 503 again.
        answers(addr, "/hello", 200);
        assert_eq!(answers(addr, "/alive", 200).status, 200);
        eventually(LONG, || {
            (times(&service, "no longer stalled") == round).then_some(())
        });
        fs::remove_file(service.folder().join("release")).expect("it is there");
    }
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
    assert_eq!(times(&service, "stalled: every request"), 3);
    assert_eq!(times(&service, "no longer stalled"), 3);
}

#[test]
fn code_outside_the_tree_that_blocks_every_worker_is_told_as_such() {
    let envs = [
        ("TOKIO_WORKER_THREADS", "2"),
        ("STALL_LIMIT", "2s"),
        ("STOP_BUDGET", "1s"),
    ];
    let (mut service, addr) = ready(&envs);
    order(addr, "/block/outside");
    said(
        &service,
        &["WARN", "the runtime does not answer, and no child"],
    );
    let text = answers(addr, "/alive", 503).text();
    assert!(!text.contains("blocks a worker thread"), "{text}");
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    let said = "the runtime does not answer, for ";
    assert!(stderr.contains(said), "{stderr}");
    assert!(stderr.contains("and no child blocks it"), "{stderr}");
}

#[test]
fn a_sigterm_to_a_stalled_process_ends_it_within_the_budget_and_names_the_culprit() {
    let envs = [
        ("TOKIO_WORKER_THREADS", "1"),
        ("STALL_LIMIT", "1s"),
        ("STOP_BUDGET", "2s"),
    ];
    let (mut service, addr) = ready(&envs);
    order(addr, "/block/one");
    answers(addr, "/alive", 503);
    service.signal(Signal::TERM);
    // To the end: it is never 200 again.
    while service.ended().is_none() {
        let answer = ask(addr, "/alive");
        assert!(answer.is_none_or(|answer| answer.status == 503));
    }
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    let first = "error: the stop took longer than its budget of 2s\n";
    assert!(stderr.starts_with(first), "{stderr}");
    assert!(stderr.contains("stall/blocker, running for"), "{stderr}");
    assert!(
        stderr.contains("; it blocks a worker thread, for "),
        "{stderr}"
    );
}

#[test]
fn with_the_limit_off_nothing_is_answered_and_the_culprit_is_named_all_the_same() {
    let envs = [("TOKIO_WORKER_THREADS", "1"), ("STALL_LIMIT", "off")];
    let (service, addr) = ready(&envs);
    order(addr, "/block/one");
    said(&service, &["WARN stall/blocker blocks a worker thread"]);
    said(&service, &["WARN", "the runtime does not answer"]);
    thread::sleep(Duration::from_secs(2));
    assert!(ask(addr, "/alive").is_none());
    release(&service);
    answers(addr, "/alive", 200);
    assert_eq!(times(&service, "stalled"), 0);
}

// ---------------------------------------------------------------------- who asks a stalled process

#[test]
fn a_stalled_process_answers_in_the_face_of_slow_silent_and_greedy_clients() {
    let envs = [("TOKIO_WORKER_THREADS", "1"), ("STALL_LIMIT", "1s")];
    let (service, addr) = ready(&envs);
    order(addr, "/block/one");
    answers(addr, "/alive", 503);
    let open = || Connection::open(addr).expect("the system accepts");
    let silent: Vec<_> = (0..200).map(|_| open()).collect();
    let half: Vec<_> = (0..200)
        .map(|_| {
            let mut client = open();
            client.send(b"GET /alive HT").expect("it is open");
            client
        })
        .collect();
    let mut greedy = open();
    let line = [b'x'; 1024];
    greedy.send(b"GET / HTTP/1.1\r\n").expect("it is open");
    // As much as it takes; it may be cut at any time.
    for _ in 0..1000 {
        if greedy.send(&line).is_err() {
            break;
        }
    }
    let mut tls = open();
    tls.send(b"\x16\x03\x01\x02\x00\x01").expect("it is open");
    let answer = answers(addr, "/alive", 503);
    assert!(answer.text().starts_with("stalled\n"));
    // A request in pieces.
    let mut pieces = open();
    for piece in [
        &b"GET /alive"[..],
        b" HTTP/1.1\r\n",
        b"host: x\r\n\r",
        b"\n",
    ] {
        pieces.send(piece).expect("it is open");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(pieces.read_response().expect("an answer").status, 503);
    // A HEAD has no body.
    let mut head = open();
    let answer = head.request("HEAD", "/alive", &[], b"").expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert_eq!(head.read_to_end().expect("FIN"), b"");
    drop((silent, half, greedy, tls));
    release(&service);
    answers(addr, "/alive", 200);
}

// ---------------------------------------------------------------------- servers

#[test]
fn without_a_file_descriptor_for_ten_seconds_503_says_so_until_there_is_one() {
    let addr = free_addr();
    let folder = tempfile::tempdir().expect("it can be made");
    let mut shell = Command::new("sh");
    let script = "ulimit -n 64; exec \"$0\"";
    shell.arg("-c").arg(script).arg(binary("stall")).env_clear();
    shell
        .env("ADDR", addr.to_string())
        .current_dir(folder.path());
    let mut service = Service::start(&mut shell);
    service.wait_for_line(|line| line.contains("stall/ready ready"), LONG);
    order(addr, "/exhaust");
    let connect = || drop(Connection::open(addr));
    eventually(LONG, || {
        connect();
        (times(&service, "cannot accept connections") > 0).then_some(())
    });
    let line = said(&service, &["ERROR", "stalled: every request"]);
    assert!(
        line.contains("no connection can be accepted, for 1"),
        "{line}"
    );
    let text = answers(addr, "/alive", 503).text();
    assert!(text.contains("no connection can be accepted"), "{text}");
    fs::write(folder.path().join("release"), "").expect("it can be written");
    answers(addr, "/alive", 200);
    said(&service, &["INFO", "no longer stalled"]);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
}

/// What comes of a server that no longer accepts, as it is told.
#[track_caller]
fn a_server_that_does_not_accept(what: &str, reason: &str) {
    let server = free_addr();
    let server_text = server.to_string();
    let envs = [("SERVER_ADDR", &*server_text), ("STALL_LIMIT", "2s")];
    let (mut service, addr) = ready(&envs);
    assert_eq!(answers(server, "/", 200).text(), "hello");
    // Well asked and answered, for longer than the limit.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(answers(server, "/", 200).text(), "hello");
    order(addr, what);
    said(&service, &["ERROR", "stalled", reason]);
    // Without the reason, as it wants it.
    assert_eq!(answers(server, "/", 503).text(), "stalled\n");
    // The other server has nothing to do with it.
    answers(addr, "/alive", 200);
    service.signal(Signal::TERM);
    let _ = service.wait(LONG);
}

#[test]
fn an_accept_loop_that_has_ended_is_a_stall() {
    a_server_that_does_not_accept("/server/end", "the accept loop has ended");
}

#[test]
fn an_accept_loop_that_hangs_while_the_runtime_runs_is_a_stall() {
    a_server_that_does_not_accept("/server/hang", "the accept loop does not answer");
}

// ---------------------------------------------------------------------- what is no stall

#[test]
fn a_process_that_was_stopped_and_goes_on_has_not_stalled() {
    let envs = [("TOKIO_WORKER_THREADS", "1"), ("STALL_LIMIT", "2s")];
    let (mut service, addr) = ready(&envs);
    for _ in 0..3 {
        service.signal(Signal::STOP);
        thread::sleep(Duration::from_secs(4));
        service.signal(Signal::CONT);
        answers(addr, "/alive", 200);
        thread::sleep(Duration::from_secs(1));
    }
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
    for word in ["stalled", "does not answer", "blocks a worker"] {
        assert_eq!(times(&service, word), 0, "{word}");
    }
}

#[test]
fn a_child_that_blocks_in_place_as_it_may_is_not_told_of() {
    let envs = [("TOKIO_WORKER_THREADS", "2"), ("STALL_LIMIT", "2s")];
    let (mut service, addr) = ready(&envs);
    order(addr, "/in-place");
    said(&service, &["blocking in place"]);
    thread::sleep(Duration::from_secs(4));
    answers(addr, "/alive", 200);
    release(&service);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
    assert_eq!(times(&service, "blocks a worker"), 0);
    assert_eq!(times(&service, "stalled"), 0);
}

// ---------------------------------------------------------------------- in the boot

/// The one worker is blocked by a start.
#[test]
fn a_child_that_blocks_every_worker_in_its_start_is_named_at_a_stop() {
    let mut probe = command("probe");
    probe.arg("blocks-in-start");
    probe.envs([("TOKIO_WORKER_THREADS", "1"), ("STOP_BUDGET", "2s")]);
    let mut service = Service::start(&mut probe);
    said(&service, &["WARN probe/odd blocks a worker thread"]);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    let odd = "still there: probe/odd, starting for ";
    assert!(stderr.contains(odd), "{stderr}");
    assert!(
        stderr.contains("; it blocks a worker thread, for "),
        "{stderr}"
    );
}

/// So short a budget ends before the watchdog has seen enough to tell of it.
#[test]
fn who_blocks_is_named_at_a_stop_also_when_it_has_only_begun_to() {
    let mut probe = command("probe");
    probe.arg("blocks-in-start");
    probe.envs([("TOKIO_WORKER_THREADS", "1"), ("STOP_BUDGET", "100ms")]);
    let mut service = Service::start(&mut probe);
    said(&service, &["booting"]);
    thread::sleep(Duration::from_millis(200));
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    assert!(stderr.contains("probe/odd, starting for"), "{stderr}");
    assert!(stderr.contains("; it blocks a worker thread"), "{stderr}");
}
