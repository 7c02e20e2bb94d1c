//! SIGTERM and SIGINT: the first stops in order, the second skips the drain, the third ends at once;
//! from a few milliseconds after exec on, and whatever the threads of the runtime do.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use uptree_tests::http::{self, Connection};
use uptree_tests::{Ended, Postgres, Service, Signal, binary, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

/// Runs `name` with these settings until it is ready.
#[track_caller]
fn ready(name: &str, envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let (service, addr) = spawn(name, envs);
    service.wait_for_line(|line| line.contains(&format!("{name}/ready ready")), LONG);
    (service, addr)
}

fn spawn(name: &str, envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let addr_text = addr.to_string();
    let envs = envs.iter().copied().chain([("ADDR", &*addr_text)]);
    (Service::spawn(name, envs), addr)
}

/// The children that have stopped as they should, in order.
fn stopped(service: &Service, name: &str) -> Vec<String> {
    let lines = service.stdout_lines();
    let path = format!(" {name}/");
    let children = lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once(&path)?;
        rest.split_once(" stopped incarnation=")
            .map(|(child, _)| child)
    });
    children.map(str::to_owned).collect()
}

fn contains(service: &Service, part: &str) -> bool {
    service
        .stdout_lines()
        .iter()
        .any(|line| line.contains(part))
}

// ---------------------------------------------------------------------- the first

#[track_caller]
fn stops_in_order(signal: Signal, name: &str) {
    let (mut service, _) = ready("service", &[]);
    service.signal(signal);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(
        stopped(&service, "service"),
        ["ready", "ingestion", "repo", "endpoint"]
    );
    assert!(contains(&service, &format!(" service {name}: stopping ")));
    assert_eq!(service.stderr(), "");
}

#[test]
fn a_sigterm_stops_the_children_last_started_first() {
    stops_in_order(Signal::TERM, "SIGTERM");
}

#[test]
fn a_sigint_stops_the_children_last_started_first() {
    stops_in_order(Signal::INT, "SIGINT");
}

#[test]
fn a_sigterm_before_the_first_child_is_ready_ends_in_order() {
    let envs = [("NEVER_READY", "true"), ("DRAIN_DELAY", "30s")];
    let (mut service, addr) = spawn("slow", &envs);
    service.wait_for_line(|line| line.contains("slow/sluggish is never ready"), LONG);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!contains(&service, "slow/endpoint"), "nothing else starts");
    assert_eq!(service.stderr(), "");
    http::get(addr, "/alive").expect_err("nobody listens");
}

#[test]
fn a_sigterm_while_a_database_is_waited_for_calls_the_start_off_and_does_not_drain() {
    // Nobody listens there.
    let url = format!("postgres://app@{}/shop", free_addr());
    let envs = [("DATABASE_URL", &*url), ("DRAIN_DELAY", "30s")];
    let (mut service, addr) = spawn("service", &envs);
    service.wait_for_line(|line| line.contains("service/endpoint ready"), LONG);
    let alive = http::get(addr, "/alive").expect("the endpoint comes first");
    assert_eq!(alive.status, 200);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!contains(&service, "drain"), "no traffic was let in");
    assert_eq!(service.stderr(), "");
}

// ---------------------------------------------------------------------- the second and the third

#[track_caller]
fn skips_the_drain(first: Signal, second: Signal) {
    let (mut service, addr) = ready("service", &[("DRAIN_DELAY", "30s")]);
    let mut idle = Connection::open(addr).expect("it listens");
    assert_eq!(idle.get("/readings").expect("an answer").status, 200);
    service.signal(first);
    service.wait_for_line(|line| line.contains("service/ready draining"), LONG);
    assert_eq!(idle.get("/readings").expect("an answer").status, 200);
    let start = Instant::now();
    service.signal(second);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    let took = start.elapsed();
    println!("gone {took:?} after the second signal");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(
        stopped(&service, "service"),
        ["ready", "ingestion", "repo", "endpoint"]
    );
    assert_eq!(idle.read_to_end().expect("FIN"), b"");
    assert_eq!(service.stderr(), "");
}

#[test]
fn a_second_sigterm_skips_the_drain_delay() {
    skips_the_drain(Signal::TERM, Signal::TERM);
}

#[test]
fn a_sigint_after_a_sigterm_skips_the_drain_delay() {
    skips_the_drain(Signal::TERM, Signal::INT);
}

#[test]
fn a_second_signal_leaves_requests_in_flight_their_time() {
    let (mut service, addr) = ready("slow", &[("DRAIN_DELAY", "30s")]);
    let mut client = Connection::open(addr).expect("it listens");
    client
        .send(b"GET /sleep/2000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .expect("it is open");
    eventually(LONG, || {
        let asleep = http::get(addr, "/asleep").expect("an answer");
        (asleep.text() == "1").then_some(())
    });
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/ready draining"), LONG);
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("the drain delay is skipped"), LONG);
    let answer = client.read_response().expect("an answer");
    assert_eq!((answer.status, &*answer.text()), (200, "slept"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");
}

#[test]
fn a_third_signal_ends_the_process_at_once_and_says_what_was_left() {
    let (mut service, addr) = ready("slow", &[("LINGER", "60s")]);
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("slow/lingering lingers"), LONG);
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("the drain delay is skipped"), LONG);
    // That does not make a child hurry that ignores its stop.
    assert_eq!(http::get(addr, "/alive").expect("an answer").status, 200);
    let start = Instant::now();
    service.signal(Signal::INT);
    assert_eq!(service.wait(LONG), Ended::Code(130));
    let took = start.elapsed();
    println!("gone {took:?} after the third signal");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let stderr = service.stderr();
    let mut lines = stderr.lines();
    assert_eq!(
        lines.next(),
        Some("error: forced to end by a third SIGINT"),
        "{stderr}"
    );
    let left: Vec<_> = lines.collect();
    let named = |child: &str| left.iter().any(|line| line.contains(child));
    assert!(named("slow/lingering, stopping for "), "{stderr}");
    assert!(named("slow/repo, running for "), "{stderr}");
    assert!(!named("slow/ready"), "it had stopped: {stderr}");
}

// ---------------------------------------------------------------------- from when on

/// Whether the process has taken SIGTERM and SIGINT, so that neither ends it any more.
#[cfg(target_os = "linux")]
fn takes_signals(service: &Service) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid()));
    let status = status.expect("it has not been waited for");
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal n is bit n - 1.
    let both = 1 << (15 - 1) | 1 << (2 - 1);
    caught.is_some_and(|caught| caught & both == both)
}

/// Measured from the moment that exec has succeeded: 1.3 ms in a debug build, most of which is
/// the dynamic linker's.
#[cfg(target_os = "linux")]
#[test]
fn signals_are_taken_as_soon_as_main_begins() {
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let (mut service, _) = spawn("service", &[]);
            let start = Instant::now();
            while !takes_signals(&service) {
                assert!(start.elapsed() < LONG);
            }
            let took = start.elapsed();
            service.signal(Signal::TERM);
            assert_eq!(service.wait(LONG), Ended::Code(0));
            assert_eq!(service.stderr(), "");
            took
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    println!("signals are taken {median:?} after exec: {times:?}");
    assert!(median < Duration::from_millis(100), "{times:?}");
}

/// A hundred stops at moments from exec to well after readiness: one boot after the other, every
/// second one on a database that the first has begun to migrate. `reset` empties it.
#[cfg(target_os = "linux")]
#[track_caller]
fn stops_at_any_moment(url: &str, reset: impl Fn()) {
    let folder = tempfile::tempdir().expect("it can be made");
    let url = url.replace("FOLDER", &folder.path().display().to_string());
    let boot = || {
        let envs = [
            ("ADDR", free_addr().to_string()),
            ("DATABASE_URL", url.clone()),
        ];
        Service::spawn_in(folder.path(), "service", envs)
    };
    let empty = || {
        for file in fs::read_dir(folder.path()).expect("it is there") {
            fs::remove_file(file.expect("it is there").path()).expect("it can be removed");
        }
        reset();
    };
    let is_ready = |line: &str| line.contains("service/ready ready");

    let start = Instant::now();
    let first = boot();
    first.wait_for_line(is_ready, LONG);
    let to_ready = start.elapsed();
    drop(first);

    let (mut early, mut ready, mut longest) = (0, 0, Duration::ZERO);
    for n in 0..100_u8 {
        if n % 2 == 0 {
            empty();
        }
        // Denser at the beginning, where a thing happens each millisecond.
        let random = u8::try_from(RandomState::new().hash_one(n) % 100).expect("it is less");
        let part = (f64::from(n) + f64::from(random) / 100.0) / 100.0;
        let mut service = boot();
        thread::sleep(to_ready.mul_f64(1.5 * part * part));
        let taken = takes_signals(&service);
        service.signal(Signal::TERM);
        let start = Instant::now();
        let ended = service.wait(LONG);
        longest = longest.max(start.elapsed());
        if ended == Ended::Signal(15) && !taken {
            early += 1;
            continue;
        }
        assert_eq!(ended, Ended::Code(0), "{}", service.stderr());
        assert_eq!(service.stderr(), "");
        ready += u32::from(service.stdout_lines().iter().any(|line| is_ready(line)));
    }
    println!(
        "ready after {to_ready:?}; of 100, {early} ended before signals were taken and {ready} when \
         ready; the longest stop took {longest:?}"
    );
    assert!(longest < Duration::from_secs(3), "{longest:?}");

    // Whatever they were stopped in, the database is as it should be.
    let mut last = boot();
    last.wait_for_line(is_ready, LONG);
    last.signal(Signal::TERM);
    assert_eq!(last.wait(LONG), Ended::Code(0), "{}", last.stderr());
}

#[cfg(target_os = "linux")]
#[test]
fn a_sigterm_at_any_moment_after_exec_ends_in_order_on_sqlite() {
    stops_at_any_moment("sqlite://FOLDER/service.db?mode=rwc", || {});
}

#[cfg(target_os = "linux")]
#[test]
fn a_sigterm_at_any_moment_after_exec_ends_in_order_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create_database("service");
    stops_at_any_moment(&url, || {
        postgres.psql("postgres", "DROP DATABASE service WITH (FORCE)");
        postgres.create_database("service");
    });
}

// ---------------------------------------------------------------------- blocked threads

/// The moment at which a line of the log was written, within its day.
#[track_caller]
fn at(line: &str) -> Duration {
    let clock = line.split_once('T').and_then(|(_, rest)| rest.get(..15));
    let seconds = clock.and_then(|clock| {
        let mut parts = clock.split(':');
        let mut part = || parts.next()?.parse::<f64>().ok();
        Some((part()? * 60.0 + part()?) * 60.0 + part()?)
    });
    Duration::from_secs_f64(seconds.unwrap_or_else(|| panic!("no time in {line:?}")))
}

/// Blocks every worker of a service whose stop has two seconds.
fn blocked() -> Service {
    let (service, addr) = ready("slow", &[("STOP_BUDGET", "2s")]);
    // The answer may not get out any more.
    let _ = http::post_json(addr, "/block", "{}");
    service.wait_for_line(|line| line.contains("every worker is blocked"), LONG);
    let mut client = Connection::open(addr).expect("the system accepts");
    let timeout = client.set_timeout(Duration::from_millis(200));
    timeout.expect("it is a timeout");
    client.get("/alive").expect_err("nobody answers");
    service
}

#[test]
fn with_every_worker_blocked_the_process_ends_with_3_and_names_the_child() {
    let mut service = blocked();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let stderr = service.stderr();
    let said = "error: the stop took longer than its budget of 2s\n";
    assert!(stderr.starts_with(said), "{stderr}");
    assert!(stderr.contains("slow/blocker, "), "{stderr}");
}

#[test]
fn with_every_worker_blocked_the_process_ends_when_its_budget_does() {
    let mut service = blocked();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(3));
    let lines = service.stdout_lines();
    let moment = |part: &str| {
        let line = lines.iter().find(|line| line.contains(part));
        at(line.expect("it is said"))
    };
    // Whoever allows two seconds kills after two seconds.
    let took = moment("exit code=3").saturating_sub(moment("SIGTERM: stopping"));
    assert!(took < Duration::from_millis(2300), "{took:?}");
}

#[test]
fn with_every_worker_blocked_a_third_signal_ends_the_process_at_once() {
    let mut service = blocked();
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("SIGTERM: stopping"), LONG);
    service.signal(Signal::TERM);
    service.wait_for_line(|line| line.contains("the drain delay is skipped"), LONG);
    let start = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(130));
    let took = start.elapsed();
    println!("gone {took:?} after the third signal");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let stderr = service.stderr();
    assert!(stderr.starts_with("error: forced to end"), "{stderr}");
    assert!(stderr.contains("slow/blocker, "), "{stderr}");
}

// ---------------------------------------------------------------------- nobody reads the log

/// Runs `slow` by a script of the shell, in which `$0` is its path.
fn shell(script: &str, envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(binary("slow")).env_clear();
    shell.env("PATH", env::var_os("PATH").unwrap_or_default());
    shell.env("ADDR", addr.to_string());
    shell.envs([("DATABASE_URL", "sqlite::memory:"), ("STOP_BUDGET", "2s")]);
    (Service::start(shell.envs(envs.iter().copied())), addr)
}

/// Makes a named pipe.
const PIPE: &str = "pipe=$(mktemp -u); mkfifo $pipe;";

/// Does so, and returns when it is ready.
fn ready_by(script: &str) -> (Service, SocketAddr) {
    let (mut service, addr) = shell(script, &[]);
    eventually(LONG, || {
        assert_eq!(service.ended(), None, "{}", service.stderr());
        let ready = http::get(addr, "/ready").ok()?;
        (ready.status == 200).then_some(())
    });
    (service, addr)
}

/// A service that waits for whoever reads its log to go on reading: a stopped terminal, a pipe to
/// what hangs. Its workers are blocked as soon as each of them has said something.
fn stalled(output: &str) -> Service {
    // A pipe takes 64 KiB; the service itself holds the end that nobody reads from.
    let fill = "exec 3<>$pipe; rm $pipe; head -c 60000 /dev/zero >&3; exec \"$0\"";
    let (service, addr) = ready_by(&format!("{PIPE} {fill} {output}"));
    let mut in_vain = 0;
    for _ in 0..1000 {
        let mut client = Connection::open(addr).expect("the system accepts");
        let timeout = client.set_timeout(Duration::from_millis(500));
        timeout.expect("it is a timeout");
        // Two lines in the log.
        in_vain += u32::from(client.get("/panic").is_err());
        if in_vain == 3 {
            return service;
        }
    }
    panic!("the pipe should be full by now");
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_process_from_ending_when_its_budget_does() {
    let mut service = stalled(">&3");
    service.signal(Signal::TERM);
    let ended = service.wait(Duration::from_secs(6));
    assert_eq!(ended, Ended::Code(3), "{}", service.stderr());
}

#[track_caller]
fn three_signals_end_it_though_nobody_reads(output: &str) {
    let mut service = stalled(output);
    let ended = eventually(Duration::from_secs(3), || {
        // Some more than three: of two at once the system makes one.
        service.signal(Signal::TERM);
        service.ended()
    });
    assert_eq!(ended, Ended::Code(130));
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_a_third_signal_from_ending_the_process() {
    three_signals_end_it_though_nobody_reads(">&3");
}

#[test]
fn errors_that_nobody_reads_do_not_keep_a_third_signal_from_ending_the_process() {
    three_signals_end_it_though_nobody_reads(">&3 2>&3");
}

/// Reads the log until the service is ready, and goes away.
const READ_TO_READY: &str = "(while read line; do case $line in *slow/ready?ready*) break;; esac; \
     done <$pipe; rm $pipe) & exec \"$0\"";

#[track_caller]
fn stops_in_order_though_the_reader_is_gone(output: &str) {
    let (mut service, addr) = ready_by(&format!("{PIPE} {READ_TO_READY} {output}"));
    for _ in 0..3 {
        // Two lines in the log.
        let answer = http::get(addr, "/panic").expect("an answer");
        assert_eq!(answer.status, 500);
    }
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
    assert_eq!(service.stderr(), "");
}

#[test]
fn a_reader_of_the_log_that_goes_away_leaves_a_service_that_stops_in_order() {
    stops_in_order_though_the_reader_is_gone(">$pipe");
}

#[test]
fn a_reader_of_log_and_errors_that_goes_away_leaves_a_service_that_stops_in_order() {
    stops_in_order_though_the_reader_is_gone(">$pipe 2>&1");
}

#[test]
fn the_exit_code_is_right_also_when_nobody_is_there_to_read_the_errors() {
    let gone = "(: <$pipe) & exec 2>$pipe; wait; rm $pipe; exec \"$0\"";
    let wrong = [("DATABASE_URL", "nosuch://thing")];
    let (mut service, _) = shell(&format!("{PIPE} {gone}"), &wrong);
    assert_eq!(service.wait(LONG), Ended::Code(1));
}
