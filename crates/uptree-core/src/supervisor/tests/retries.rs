//! Restarts that fail, and are tried again.

use super::*;

const THREE: &str = "permanent, permanent, permanent";

#[test]
fn a_retry_waits_behind_what_came_before_it_and_counts() {
    booted(OneForOne, "transient, transient, transient").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("exited 2 normal", "-"),
        // The exit of 2 was first in the mailbox.
        (
            "exited 0 abnormal",
            "start_error 0, left_down 2, max_intensity 0, stop 1",
        ),
        ("exited 1 shutdown", "finish MaxIntensity(0)"),
    ]);
}

#[test]
fn calls_are_served_between_the_attempts() {
    booted_with(9, OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("call restart 0", "-"),
        ("call delete 0", "-"),
        (
            "exited 0 abnormal",
            "start_error 0, refused Restarting, refused Restarting, restarting 0 left 7, start 0",
        ),
    ]);
}

#[test]
fn under_rest_for_one_it_starts_at_the_child_whose_start_failed() {
    booted_with(2, RestForOne, THREE).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "start 0"),
        ("started 0", "start 1"),
        // Not child 0 again.
        (
            "exited 1 abnormal",
            "start_error 1, restarting 1 left 0, start 1",
        ),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn under_one_for_all_it_stops_first_what_had_been_started() {
    booted_with(2, OneForAll, THREE).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        (
            "exited 2 abnormal",
            "start_error 2, restarting 2 left 0, stop 1",
        ),
        ("exited 1 shutdown", "stop 0"),
        ("exited 0 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn it_is_dropped_when_a_call_has_terminated_the_child() {
    // Its siblings stay down.
    booted_with(9, RestForOne, THREE).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "start 0"),
        ("call terminate 0", "-"),
        ("exited 0 abnormal", "start_error 0, ok"),
        ("call ask", "ok"),
        ("call restart 1", "start 1"),
        ("started 1", "answer started"),
        ("shutdown", "stop 1"),
        ("exited 1 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn it_is_dropped_when_the_child_was_terminated_and_started_by_calls() {
    booted_with(9, OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("call terminate 0", "-"),
        ("call restart 0", "-"),
        ("exited 0 abnormal", "start_error 0, ok, start 0"),
        ("started 0", "answer started"),
    ]);
}

#[test]
fn it_is_dropped_when_the_slot_is_another_childs() {
    booted_with(9, OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("call terminate 0", "-"),
        ("call delete 0", "-"),
        ("call start permanent", "-"),
        (
            "exited 0 abnormal",
            "start_error 0, ok, forgotten 0, ok, start 0",
        ),
        ("started 0", "answer started"),
        (
            "exited 0 normal",
            "child_terminated 0, restarting 0 left 7, start 0",
        ),
    ]);
}

#[test]
fn it_is_dropped_when_a_group_restart_came_in_between() {
    booted_with(9, OneForAll, THREE).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("exited 0 abnormal", "-"),
        // The exit of 0 is in the mailbox before the retry of 1.
        (
            "exited 1 abnormal",
            "start_error 1, child_terminated 0, restarting 0 left 7, start 0",
        ),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_group_restart_starts_a_child_whose_restart_had_failed() {
    // 1 fails to start while 0, which is before it, has ended; 0's restart takes 1 along.
    booted_with(9, RestForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 8, stop 2",
        ),
        ("exited 0 abnormal", "-"),
        ("exited 2 shutdown", "start 1"),
        (
            "exited 1 abnormal",
            "start_error 1, child_terminated 0, restarting 0 left 7, start 0",
        ),
        ("started 0", "start 1"),
        (
            "exited 1 abnormal",
            "start_error 1, restarting 1 left 6, start 1",
        ),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}
