use super::*;

const THREE: &str = "permanent, permanent, permanent";

#[test]
fn one_for_one_restarts_the_failed_child_alone() {
    booted(OneForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
        ("started 1", "-"),
    ]);
}

#[test]
fn rest_for_one_recycles_the_failed_child_and_the_later_ones() {
    booted(RestForOne, "permanent, permanent, permanent, permanent").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 3",
        ),
        ("exited 3 shutdown", "stop 2"),
        ("exited 2 shutdown", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "start 3"),
        ("started 3", "-"),
    ]);
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    booted(OneForAll, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 2",
        ),
        ("exited 2 shutdown", "stop 0"),
        ("exited 0 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_permanent_child_is_restarted_and_reported_whatever_its_end() {
    for end in ["normal", "shutdown", "shutdown_with", "killed", "abnormal"] {
        let said = "child_terminated 0, restarting 0 left 0, start 0";
        let ends = format!("exited 0 {end}");
        booted(OneForOne, "permanent").play(&[(&ends, said)]);
    }
}

#[test]
fn a_transient_child_is_restarted_after_an_abnormal_end_alone() {
    for end in ["normal", "shutdown", "shutdown_with"] {
        let ends = format!("exited 0 {end}");
        booted(OneForAll, "transient, permanent").play(&[(&ends, "left_down 0")]);
    }
    for end in ["killed", "abnormal"] {
        let said = "child_terminated 0, restarting 0 left 0, stop 1";
        let ends = format!("exited 0 {end}");
        booted(OneForAll, "transient, permanent").play(&[(&ends, said)]);
    }
}

#[test]
fn a_temporary_child_that_ends_touches_nobody_and_is_forgotten() {
    for end in ["normal", "shutdown", "shutdown_with"] {
        let ends = format!("exited 1 {end}");
        let said = "left_down 1, forgotten 1";
        booted(OneForAll, "permanent, temporary, permanent").play(&[(&ends, said)]);
    }
    for end in ["killed", "abnormal"] {
        let ends = format!("exited 1 {end}");
        let said = "child_terminated 1, left_down 1, forgotten 1";
        booted(OneForAll, "permanent, temporary, permanent").play(&[(&ends, said)]);
    }
}

#[test]
fn a_temporary_sibling_taken_down_stays_down() {
    booted(OneForAll, "permanent, temporary, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "forgotten 1, start 0"),
        ("started 0", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn temporary_siblings_are_forgotten_wherever_they_are_in_the_order() {
    booted(OneForAll, "temporary, permanent, temporary").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 2",
        ),
        ("exited 2 shutdown", "forgotten 2, stop 0"),
        ("exited 0 shutdown", "forgotten 0, start 1"),
        ("started 1", "-"),
    ]);
}

#[test]
fn a_transient_child_that_finishes_is_left_down_until_its_group_restarts() {
    booted(RestForOne, "permanent, transient, permanent").play(&[
        ("exited 1 normal", "left_down 1"),
        (
            "exited 0 normal",
            "child_terminated 0, restarting 0 left 0, stop 2",
        ),
        ("exited 2 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
    ]);
}

#[test]
fn a_migrator_runs_again_when_the_pool_beneath_it_fails() {
    Player::new(supervisor(RestForOne, THREE)).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("ignored 1", "start 2"),
        ("started 2", "booted"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, stop 2",
        ),
        ("exited 2 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("ignored 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_restart_that_is_ignored_is_a_success() {
    booted(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("ignored 0", "-"),
        ("call restart 0", "start 0"),
        ("started 0", "answer started"),
    ]);
}

#[test]
fn a_sibling_found_dead_in_a_group_restart_is_reported_and_counts_once() {
    booted(OneForAll, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 2",
        ),
        ("exited 0 abnormal", "-"),
        ("exited 2 shutdown", "shutdown_error 0, start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_child_that_ends_while_its_group_starts_restarts_it_once_more() {
    booted_with(2, OneForAll, "permanent, permanent").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 1, stop 0",
        ),
        ("exited 0 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("exited 0 abnormal", "-"),
        (
            "started 1",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("exited 1 shutdown", "start 0"),
    ]);
}

#[test]
fn one_restart_more_than_the_limit_ends_the_supervisor() {
    booted(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @7",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("started 0", "-"),
        (
            "exited 1 abnormal @12",
            "child_terminated 1, max_intensity 1, stop 0",
        ),
        ("exited 0 shutdown", "finish MaxIntensity(1)"),
    ]);
    booted(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @7",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("started 0", "-"),
        (
            "exited 1 abnormal @13",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
    ]);
}

#[test]
fn the_time_that_the_supervisor_is_busy_is_not_counted() {
    // A start that takes longer than the window, and fails.
    booted(OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        (
            "exited 0 abnormal @31",
            "start_error 0, max_intensity 0, finish MaxIntensity(0)",
        ),
    ]);
    // A stop that does.
    booted(RestForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("exited 1 shutdown @21", "start 0"),
        ("started 0 @31", "start 1"),
        ("started 1 @41", "-"),
        (
            "exited 0 abnormal @46",
            "child_terminated 0, max_intensity 0, stop 1",
        ),
    ]);
    // A call that does.
    booted(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("started 0", "-"),
        ("call terminate 1 @2", "stop 1"),
        ("exited 1 shutdown @30", "answer stopped"),
        (
            "exited 0 abnormal @34",
            "child_terminated 0, max_intensity 0, finish MaxIntensity(0)",
        ),
    ]);
    // Idle time is counted before and after.
    booted(RestForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("exited 1 shutdown @21", "start 0"),
        ("started 0 @31", "start 1"),
        ("started 1 @41", "-"),
        (
            "exited 0 abnormal @47",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
    ]);
}

#[test]
fn a_word_from_an_earlier_life_counts_for_nothing() {
    booted_with(2, OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, start 0",
        ),
        ("late exited 0 abnormal", "-"),
        ("late started 0", "-"),
        ("late ignored 0", "-"),
        ("late stuck 0", "-"),
        ("started 0", "-"),
        ("late exited 0 abnormal", "-"),
        ("late stuck 0", "-"),
        ("call terminate 0", "stop 0"),
        ("late ignored 0", "-"),
        ("late exited 0 shutdown", "-"),
        ("late stuck 0", "-"),
        ("exited 0 shutdown", "answer stopped"),
        ("late exited 0 shutdown", "-"),
    ]);
}

#[test]
fn a_word_that_comes_twice_counts_once() {
    booted(OneForOne, "transient, permanent").play(&[
        ("started 0", "-"),
        ("ignored 0", "-"),
        ("exited 0 normal", "left_down 0"),
        ("exited 0 abnormal", "-"),
        ("started 0", "-"),
        ("ignored 0", "-"),
        ("stuck 0", "-"),
        ("call ask", "ok"),
        ("shutdown", "stop 1"),
    ]);
}
