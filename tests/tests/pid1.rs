//! A service as process 1, as in a container: signals reach it, its exit codes are its own, and what
//! it is left with does not keep it.
//!
//! For process 1 the system has rules of its own: a signal that it does not take is no end but
//! nothing, and whoever loses its parent becomes its child.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use uptree_tests::http;
use uptree_tests::{Ended, Service, Signal, command, eventually, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

/// A service that is process 1 of a PID namespace of its own.
struct First {
    /// `unshare`, which ends as its child does.
    outer: Service,
    addr: SocketAddr,
}

impl First {
    /// Runs it; `None` where that takes more rights than the test has.
    fn spawn(name: &str, envs: &[(&str, &str)]) -> Option<Self> {
        let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc"];
        let tried = Command::new("unshare").args(unshare).arg("true").status();
        if !tried.is_ok_and(|status| status.success()) {
            println!("skipped: it takes root and `unshare` to be process 1");
            return None;
        }
        let service = command(name);
        let addr = free_addr();
        let outer = Service::start(
            Command::new("unshare")
                .args(unshare)
                .arg(service.get_program())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("ADDR", addr.to_string())
                .env("DATABASE_URL", "sqlite::memory:")
                .envs(envs.iter().copied()),
        );
        Some(Self { outer, addr })
    }

    fn ready(name: &str, envs: &[(&str, &str)]) -> Option<Self> {
        let first = Self::spawn(name, envs)?;
        let said = format!(" {name} booted in ");
        first.outer.wait_for_line(|line| line.contains(&said), LONG);
        Some(first)
    }

    /// What it is called outside.
    fn pid(&self) -> u32 {
        eventually(LONG, || {
            children(self.outer.pid()).first().map(|(pid, _)| *pid)
        })
    }

    /// Runs this by the shell inside, as `docker exec` does: its parent stays outside.
    fn exec(&self, script: &str) {
        let pid = self.pid().to_string();
        // It may be killed in the middle: all end with process 1.
        let status = Command::new("nsenter")
            .args(["--target", &pid, "--pid", "--mount", "sh", "-c", script])
            .status();
        status.expect("it comes with unshare");
    }

    /// Has it get a signal from within.
    fn signal(&self, name: &str) {
        self.exec(&format!("kill -{name} 1"));
    }
}

/// The children of a process, and the state of each, such as `Z`.
fn children(parent: u32) -> Vec<(u32, char)> {
    let processes = fs::read_dir("/proc").expect("this is Linux");
    let of_parent = processes.filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let of: u32 = field("PPid:")?.trim().parse().ok()?;
        let state = field("State:")?.trim().chars().next()?;
        (of == parent).then_some((pid, state))
    });
    of_parent.collect()
}

#[test]
fn process_1_stops_in_order_at_sigterm_and_at_sigint() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let Some(mut first) = First::ready("service", &[]) else {
            return;
        };
        assert_eq!(
            http::get(first.addr, "/ready").expect("an answer").status,
            200
        );
        first.signal(signal);
        assert_eq!(first.outer.wait(LONG), Ended::Code(0));
        assert_eq!(first.outer.stderr(), "");
        let log = first.outer.stdout_lines().join("\n");
        assert!(log.contains(&format!(" {name}: stopping ")), "{log}");
        assert!(log.contains("service/endpoint stopped"), "{log}");
    }
}

#[test]
fn process_1_takes_a_second_and_a_third_signal() {
    let Some(mut first) = First::ready("slow", &[("LINGER", "60s")]) else {
        return;
    };
    first.signal("TERM");
    first
        .outer
        .wait_for_line(|line| line.contains("slow/lingering lingers"), LONG);
    first.signal("TERM");
    first
        .outer
        .wait_for_line(|line| line.contains("the drain delay is skipped"), LONG);
    first.signal("TERM");
    assert_eq!(first.outer.wait(LONG), Ended::Code(130));
    assert!(first.outer.stderr().starts_with("error: forced to end"));
}

/// Those that would end another process do nothing to process 1, where nobody takes them.
#[test]
fn signals_that_are_not_taken_do_not_end_process_1() {
    let Some(mut first) = First::ready("service", &[]) else {
        return;
    };
    for signal in ["HUP", "QUIT", "USR1", "KILL"] {
        first.signal(signal);
    }
    assert_eq!(
        http::get(first.addr, "/alive").expect("an answer").status,
        200
    );
    first.signal("TERM");
    assert_eq!(first.outer.wait(LONG), Ended::Code(0));
}

#[test]
fn process_1_has_the_exit_codes_of_any_other() {
    let Some(mut unbooted) = First::spawn("service", &[("DATABASE_URL", "nosuch://thing")]) else {
        return;
    };
    assert_eq!(unbooted.outer.wait(LONG), Ended::Code(1));
    assert!(unbooted.outer.stderr().starts_with("error: DATABASE_URL"));

    let blocked = [("STOP_BUDGET", "1s")];
    let mut blocked = First::ready("slow", &blocked).expect("it was just done");
    let _ = http::post_json(blocked.addr, "/block", "{}");
    let said = |line: &str| line.contains("every worker is blocked");
    blocked.outer.wait_for_line(said, LONG);
    blocked.signal("TERM");
    assert_eq!(blocked.outer.wait(LONG), Ended::Code(3));
    assert!(blocked.outer.stderr().contains("slow/blocker"));
}

/// Who is run inside by `docker exec` and leaves a child behind leaves it to process 1. A service has
/// children of its own that it alone may wait for, so that it leaves the orphans: dead, they stay as
/// zombies until it ends, and do not keep it from that.
#[test]
fn orphans_do_not_keep_process_1_from_its_end() {
    let Some(mut first) = First::ready("service", &[]) else {
        return;
    };
    let pid = first.pid();
    // One that is dead soon, and one that stays.
    first.exec("sleep 0.05 & sleep 600 & true");
    eventually(LONG, || {
        let states: Vec<_> = children(pid).iter().map(|(_, state)| *state).collect();
        (states.len() == 2 && states.contains(&'Z')).then_some(())
    });
    let orphans = children(pid);
    assert_eq!(
        http::get(first.addr, "/ready").expect("an answer").status,
        200
    );
    let start = Instant::now();
    first.signal("TERM");
    assert_eq!(first.outer.wait(LONG), Ended::Code(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(first.outer.stderr(), "");
    for (orphan, _) in orphans {
        let gone = || !fs::exists(format!("/proc/{orphan}")).expect("it can be looked for");
        eventually(LONG, || gone().then_some(()));
    }
}

/// From outside, as `docker stop` and the kubelet do it.
#[test]
fn process_1_takes_signals_from_outside() {
    let Some(mut first) = First::ready("service", &[]) else {
        return;
    };
    let pid = i32::try_from(first.pid())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.expect("it is a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("it is ours");
    assert_eq!(first.outer.wait(LONG), Ended::Code(0));
}
