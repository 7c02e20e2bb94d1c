//! Boots in trouble, as processes: called off in any phase, hanging, killed between any two steps, and
//! beside another that has the same port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use uptree_tests::kubelet::{Kind, Pod, PodSpec, Probe};
use uptree_tests::load::{Ask, Load, Manners};
use uptree_tests::{
    Database, Ended, Example, Service, Signal, command, eventually, failure, free_addr, http,
    migrations,
};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

// ---------------------------------------------------------------------- a start that hangs

/// `slow`, with a child after the endpoint whose start goes no further than this.
fn hanging(phase: &str, envs: &[(&str, &str)]) -> (Service, SocketAddr) {
    let addr = free_addr();
    let addr_text = addr.to_string();
    let given = [
        ("ADDR", &*addr_text),
        ("DATABASE_URL", "sqlite::memory:"),
        ("HANGS", phase),
    ];
    let service = Service::spawn("slow", given.iter().chain(envs).copied());
    service.wait_for_line(|line| line.ends_with("slow/hanging hangs"), LONG);
    (service, addr)
}

#[test]
fn a_sigterm_calls_off_a_start_whatever_it_is_at() {
    for phase in [
        "silent", "step", "waiting", "attempts", "progress", "clean-up",
    ] {
        let (mut service, addr) = hanging(phase, &[("DRAIN_DELAY", "30s")]);
        for (path, status) in [("/alive", 200), ("/ready", 503), ("/asleep", 503)] {
            let answer = http::get(addr, path).expect("the endpoint comes first");
            assert_eq!(answer.status, status, "{path} while {phase}");
        }
        let start = Instant::now();
        service.signal(Signal::TERM);
        assert_eq!(service.wait(LONG), Ended::Code(0), "{phase}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?} while {phase}");
        assert_eq!(service.stderr(), "", "{phase}");
        let log = service.stdout_lines().join("\n");
        assert!(!log.contains("slow/repo"), "nothing else starts: {log}");
        assert!(!log.contains("drain"), "no traffic was let in: {log}");
        assert!(log.contains("slow/endpoint stopped"), "{log}");
        let cleaned = log.contains("slow/hanging has cleaned up");
        assert_eq!(cleaned, phase == "clean-up", "{log}");
    }
}

#[test]
fn a_start_that_blocks_its_thread_does_not_keep_the_process_beyond_its_budget() {
    let (mut service, addr) = hanging("blocks", &[("STOP_BUDGET", "1s")]);
    // It has but one thread.
    assert_eq!(http::get(addr, "/alive").expect("an answer").status, 200);
    let start = Instant::now();
    service.signal(Signal::TERM);
    let stderr = failure(&mut service, 3);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(stderr.contains("slow/hanging"), "{stderr}");
}

#[test]
fn a_start_that_hangs_is_given_up_with_what_it_was_at_and_one_that_gets_on_is_not() {
    for (phase, cause) in [("silent", ""), ("attempts", "connection refused")] {
        let (mut service, _) = hanging(phase, &[("START_TIMEOUT", "500ms")]);
        let stderr = failure(&mut service, 1);
        let said = "error: slow/hanging did not start\n  caused by: not ready within 500ms\n";
        assert!(stderr.starts_with(said), "{stderr}");
        assert!(stderr.contains(cause), "{stderr}");
    }
    let began = Instant::now();
    let (mut service, addr) = hanging("progress", &[("START_TIMEOUT", "500ms")]);
    // Three times as long as it has.
    eventually(LONG, || {
        (began.elapsed() > Duration::from_millis(1500)).then_some(())
    });
    assert_eq!(http::get(addr, "/alive").expect("an answer").status, 200);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
}

/// Kubernetes runs it again; liveness is not to blame.
#[test]
fn a_pod_whose_start_hangs_is_alive_and_never_ready_and_is_run_again_when_it_gives_up() {
    let addr = free_addr();
    let mut spec = PodSpec::new(addr, move || {
        let mut command = command("slow");
        let settings = [
            ("DATABASE_URL", "sqlite::memory:"),
            ("HANGS", "attempts"),
            ("START_TIMEOUT", "1s"),
        ];
        command.env("ADDR", addr.to_string()).envs(settings);
        command
    });
    let often = |path: &str| Probe::get(path).every(Duration::from_millis(100));
    spec.startup = Some(often("/alive").failures(100));
    spec.liveness = Some(often("/alive"));
    spec.readiness = Some(often("/ready").failures(1));
    let pod = Pod::start(spec);
    let status = pod.wait_until(LONG, |status| status.restarts == 1 && status.started);
    assert_eq!(status.ends(), [Ended::Code(1)], "{:?}", pod.stderr());
    assert!(pod.stderr()[0].contains("connection refused"));
    assert!(status.failures(Kind::Readiness).len() >= 3);
    let was_ready = |event| matches!(event, &uptree_tests::kubelet::Event::Ready(true));
    assert!(!status.events.iter().any(|(_, event)| was_ready(event)));
    assert!(
        !pod.status()
            .failures(Kind::Liveness)
            .iter()
            .any(|why| why.starts_with("503"))
    );
}

// ---------------------------------------------------------------------- killed between steps

/// Killed as soon as it has said the first line, the second, and so on to the last: whatever it had
/// done by then, the next boot makes a whole of it, on the same port.
#[test]
fn a_boot_after_a_kill_between_any_two_steps_of_the_one_before_succeeds() {
    let folder = migrations(&[
        ("0004_rooms.sql", "CREATE TABLE rooms (id INT)"),
        ("0005_more.sql", "ALTER TABLE rooms ADD COLUMN name TEXT"),
    ]);
    let dir = folder.path().display().to_string();
    let database = Database::sqlite();
    let addr = free_addr().to_string();
    // Each step is a line.
    let envs = [
        ("MIGRATIONS_DIR", &*dir),
        ("RUST_LOG", "info,uptree=debug,uptree_supervisor=debug"),
        ("ADDR", &*addr),
    ];
    let mut whole = Example::boot(&database.url(), &envs);
    let steps = whole.process.stdout_lines().len();
    whole.stop();
    assert!(steps >= 10, "{}", whole.log());

    for step in 1..=steps {
        database.clear();
        let mut killed = Example::spawn(&database.url(), &envs);
        eventually(LONG, || {
            (killed.process.stdout_lines().len() >= step).then_some(())
        });
        assert_eq!(killed.process.kill(), Ended::Signal(Signal::KILL.as_raw()));
        let mut next = Example::boot(&database.url(), &envs);
        assert_eq!(database.ledger(), "1 2 3 4 5", "killed after line {step}");
        next.stop();
    }
    println!("killed after each of {steps} lines");
}

// ---------------------------------------------------------------------- the same port

#[test]
fn a_second_instance_on_the_same_port_is_refused_and_the_first_does_not_notice() {
    let databases = [Database::sqlite(), Database::sqlite()];
    let mut first = Example::boot(&databases[0].url(), &[]);
    let pause = Duration::from_millis(5);
    let load = Load::start(first.addr, 2, Manners::Keep, pause, Ask::Get("/readings"));
    let fresh = Load::start(first.addr, 2, Manners::Open, pause, Ask::Get("/readings"));

    let addr = first.addr.to_string();
    let mut second = Example::spawn(&databases[1].url(), &[("ADDR", &addr)]);
    let stderr = second.fails(1);
    let said =
        format!("error: service/endpoint did not start\n  caused by: cannot listen on {addr}\n");
    assert!(stderr.starts_with(&said), "{stderr}");
    assert!(!second.log().contains("service/repo"), "{}", second.log());

    let records = [load, fresh].map(|load| load.finish().into_iter().flatten().collect::<Vec<_>>());
    for record in records.iter().flatten() {
        assert!(record.succeeded(), "{record:?}");
    }
    // Whoever comes when the first is gone gets its port at once.
    first.stop();
    Example::boot(&databases[1].url(), &[("ADDR", &addr)]).stop();
}

#[test]
fn of_two_that_boot_at_once_on_the_same_port_one_serves() {
    let databases = [Database::sqlite(), Database::sqlite()];
    let addr = free_addr().to_string();
    let [mut one, mut other] = databases
        .each_ref()
        .map(|database| Example::spawn(&database.url(), &[("ADDR", &addr)]));
    let ended = eventually(LONG, || {
        match (one.process.ended(), other.process.ended()) {
            (None, None) => None,
            ended => Some(ended),
        }
    });
    let (served, refused) = match ended {
        (Some(_), _) => (&mut other, &mut one),
        _ => (&mut one, &mut other),
    };
    let stderr = refused.fails(1);
    assert!(stderr.contains("Address already in use"), "{stderr}");
    served.wait_until_ready();
    served.stop();
}
