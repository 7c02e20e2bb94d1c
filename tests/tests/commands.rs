//! A service's binary as its own tool: commands, their signals and their exit codes.

use std::time::Duration;

use uptree_tests::{Ended, Service, Signal, command};

const SOON: Duration = Duration::from_secs(20);

fn probe(arguments: &[&str]) -> Service {
    Service::start(command("probe").args(arguments))
}

#[test]
fn a_command_has_the_list_of_children_and_stdout_to_itself() {
    let mut process = probe(&["blocks", "tree", "--log-format", "json"]);
    assert_eq!(process.wait(SOON), Ended::Code(0));
    let lines = process.stdout_lines();
    assert_eq!(
        lines[1..],
        ["probe", "probe/first", "probe/odd", "probe/last"]
    );
    let log: serde_json::Value = serde_json::from_str(&process.stderr()).expect("a line of JSON");
    assert_eq!(log["message"], "all told");
}

#[test]
fn run_is_what_is_done_without_a_command() {
    for arguments in [&["never-ready"][..], &["never-ready", "run"]] {
        let mut process = probe(arguments);
        process.wait_for_line(|line| line.contains("probe/first ready"), SOON);
        process.signal(Signal::TERM);
        assert_eq!(process.wait(SOON), Ended::Code(0), "{}", process.stderr());
    }
}

#[test]
fn a_command_that_is_ended_by_a_signal_says_so() {
    for (signal, code, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let mut process = probe(&["blocks", "heeds"]);
        process.wait_for_line(|line| line == "waiting", SOON);
        process.signal(signal);
        assert_eq!(process.wait(SOON), Ended::Code(code));
        let told = format!("error: interrupted by {name}: it was waiting");
        assert_eq!(process.stderr(), told);
    }
}

#[test]
fn the_third_signal_ends_a_command_that_blocks() {
    let mut process = probe(&["blocks", "stays"]);
    for line in ["waiting", "first: SIGTERM", "second"] {
        process.wait_for_line(|it| it == line, SOON);
        process.signal(Signal::TERM);
    }
    assert_eq!(process.wait(SOON), Ended::Code(130));
    assert_eq!(process.stderr(), "error: forced to end by a third SIGTERM");
}

#[test]
fn a_command_that_panics_fails() {
    let mut process = probe(&["blocks", "panics"]);
    assert_eq!(process.wait(SOON), Ended::Code(1));
    let stderr = process.stderr();
    let told = "error: the command panicked: the command is odd";
    assert!(stderr.ends_with(told), "{stderr}");
    assert!(stderr.contains("tests/src/bin/probe.rs"), "{stderr}");
}
