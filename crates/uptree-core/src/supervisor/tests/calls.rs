//! What each call answers, by the state of the child: OTP's table.

use super::*;
use crate::Status;

#[test]
fn a_started_child_is_the_last_in_the_order() {
    booted(OneForAll, "permanent").play(&[
        ("call start permanent", "start 1"),
        ("started 1", "answer started"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("exited 1 shutdown", "start 0"),
        ("started 0", "start 1"),
    ]);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind_and_is_not_reported() {
    for restart in ["permanent", "transient", "temporary"] {
        let call = format!("call start {restart}");
        booted(OneForAll, "permanent").play(&[
            (&call, "start 1"),
            ("exited 1 abnormal", "forgotten 1, answer exited"),
            (&call, "start 1"),
            ("started 1", "answer started"),
            ("late exited 1 abnormal", "-"),
        ]);
    }
}

#[test]
fn a_start_that_is_ignored_is_kept_unless_it_is_temporary() {
    for restart in ["permanent", "transient"] {
        let call = format!("call start {restart}");
        booted(OneForAll, "permanent").play(&[
            (&call, "start 1"),
            ("ignored 1", "answer ignored"),
            (&call, "start 2"),
            ("started 2", "answer started"),
            ("call restart 1", "start 1"),
            ("started 1", "answer started"),
        ]);
    }
    booted(OneForAll, "permanent").play(&[
        ("call start temporary", "start 1"),
        ("ignored 1", "forgotten 1, answer ignored"),
        ("call start temporary", "start 1"),
    ]);
}

#[test]
fn a_child_that_runs_is_stopped_and_kept_unless_it_is_temporary() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        booted(strategy, "permanent, transient, temporary").play(&[
            ("call terminate 0", "stop 0"),
            ("exited 0 shutdown", "answer stopped"),
            ("call terminate 1", "stop 1"),
            ("exited 1 abnormal", "shutdown_error 1, answer stopped"),
            ("call terminate 2", "stop 2"),
            ("exited 2 normal", "forgotten 2, answer stopped"),
            ("call terminate 0", "ok"),
            ("call restart 1", "start 1"),
            ("started 1", "answer started"),
            ("shutdown", "stop 1"),
        ]);
    }
}

#[test]
fn a_child_found_dead_by_a_terminate_is_reported_and_not_restarted() {
    booted(OneForOne, "permanent, temporary, permanent").play(&[
        ("call terminate 2", "stop 2"),
        ("call terminate 0", "-"),
        ("call terminate 1", "-"),
        ("exited 0 normal", "-"),
        ("exited 1 normal", "-"),
        (
            "exited 2 shutdown",
            "answer stopped, shutdown_error 0, ok, forgotten 1, ok",
        ),
        ("call ask", "ok"),
    ]);
}

#[test]
fn a_child_that_is_down_is_started_again_without_being_counted() {
    booted_with(0, RestForOne, "transient, permanent").play(&[
        ("exited 0 normal", "left_down 0"),
        ("call restart 0", "start 0"),
        // Not kept back for a retry, and not reported.
        ("exited 0 abnormal", "answer exited"),
        ("call restart 0", "start 0"),
        ("ignored 0", "answer ignored"),
        ("call restart 0", "start 0"),
        ("started 0", "answer started"),
    ]);
}

#[test]
fn a_start_that_fails_keeps_the_child_that_was_known_before() {
    booted(OneForOne, "permanent").play(&[
        ("call start permanent", "start 1"),
        ("started 1", "answer started"),
        ("call terminate 1", "stop 1"),
        ("exited 1 shutdown", "answer stopped"),
        ("call restart 1", "start 1"),
        ("exited 1 abnormal", "answer exited"),
        ("call restart 1", "start 1"),
        ("started 1", "answer started"),
    ]);
}

#[test]
fn a_child_that_runs_is_neither_restarted_nor_deleted() {
    booted(OneForOne, "permanent, permanent").play(&[
        ("call restart 0", "refused Running"),
        ("call delete 0", "refused Running"),
        // Its end has not been looked at: it counts as running.
        ("call terminate 1", "stop 1"),
        ("call restart 0", "-"),
        ("call delete 0", "-"),
        ("exited 0 abnormal", "-"),
        (
            "exited 1 shutdown",
            "answer stopped, refused Running, refused Running, \
             child_terminated 0, restarting 0 left 0, start 0",
        ),
    ]);
}

#[test]
fn a_child_that_is_down_is_deleted_and_its_slot_used_again() {
    booted(OneForOne, "permanent, transient, permanent").play(&[
        ("exited 1 normal", "left_down 1"),
        ("call delete 1", "forgotten 1, ok"),
        ("call start permanent", "start 1"),
        ("late exited 1 abnormal", "-"),
        ("late started 1", "-"),
        ("late ignored 1", "-"),
        ("started 1", "answer started"),
        ("late exited 1 abnormal", "-"),
        ("late stuck 1", "-"),
        ("call start permanent", "start 3"),
        ("started 3", "answer started"),
        ("shutdown", "stop 3"),
        ("exited 3 shutdown", "stop 1"),
        ("exited 1 shutdown", "stop 2"),
        ("exited 2 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn the_slot_of_a_forgotten_child_is_used_again() {
    booted(OneForAll, "temporary, permanent").play(&[
        ("exited 0 normal", "left_down 0, forgotten 0"),
        ("call start temporary", "start 0"),
        ("late exited 0 normal", "-"),
        ("late stuck 0", "-"),
        ("started 0", "answer started"),
        ("late exited 0 normal", "-"),
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 0",
        ),
        ("exited 0 shutdown", "forgotten 0, start 1"),
    ]);
}

#[test]
fn an_exit_that_waits_is_not_the_next_childs() {
    booted(OneForOne, "temporary, permanent").play(&[
        ("call terminate 1", "stop 1"),
        ("call terminate 0", "-"),
        ("call start permanent", "-"),
        ("exited 0 abnormal", "-"),
        (
            "exited 1 shutdown",
            "answer stopped, shutdown_error 0, forgotten 0, ok, start 0",
        ),
        // The exit of the first child in this slot is the next in the mailbox.
        ("started 0", "answer started"),
    ]);
}

#[test]
fn calls_are_served_in_turn_one_at_a_time() {
    booted(OneForOne, "permanent, permanent").play(&[
        ("call terminate 0", "stop 0"),
        ("call start permanent", "-"),
        ("call ask", "-"),
        ("exited 0 shutdown", "answer stopped, start 2"),
        ("exited 1 abnormal", "-"),
        (
            "started 2",
            "answer started, ok, child_terminated 1, restarting 1 left 0, start 1",
        ),
    ]);
}

#[test]
fn no_call_is_served_while_a_group_restarts() {
    booted(RestForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("call ask", "-"),
        ("exited 1 shutdown", "start 0"),
        ("call ask", "-"),
        ("started 0", "start 1"),
        ("started 1", "ok, ok"),
    ]);
}

#[test]
fn children_are_listed_newest_first_with_their_states() {
    let mut machine = supervisor(OneForOne, "permanent, transient supervisor, permanent");
    machine.intensity = Intensity::new(9, Duration::from_secs(5));
    machine.backoffs.default = Some(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)));
    _ = machine.backoffs.failed(0, Duration::ZERO);
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |_| ());
    step(Event::Boot);
    for i in 0..3 {
        step(Event::Started(Incarnation::first(i)));
    }
    step(Event::Exited(Incarnation::first(1), Exit::Normal));
    step(Event::Exited(Incarnation::first(0), Exit::Abnormal));
    let children: Vec<_> = machine.newest_first().collect();
    let expected = [
        (2, Status::Running),
        (1, Status::Undefined),
        (0, Status::Restarting),
    ];
    assert_eq!(children, expected);
    let counts = Counts {
        specs: 3,
        active: 1,
        supervisors: 1,
        workers: 2,
    };
    assert_eq!(machine.counts(), counts);
}
