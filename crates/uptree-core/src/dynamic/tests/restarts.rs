use super::*;

#[test]
fn a_child_that_fails_is_restarted_alone() {
    booted(supervisor("permanent, transient, permanent")).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
        ("late exited 1 abnormal", "-"),
        ("started 1", "-"),
    ]);
}

#[test]
fn its_end_and_its_restart_type_decide() {
    for end in ["normal", "shutdown", "shutdown_with"] {
        let ends = |i| format!("exited {i} {end}");
        booted(supervisor("transient, temporary, permanent")).play(&[
            (&ends(0), "left_down 0, forgotten 0"),
            (&ends(1), "left_down 1, forgotten 1"),
            (&ends(2), "child_terminated 2, restarting 2 left 0, start 2"),
        ]);
    }
    for end in ["killed", "abnormal"] {
        let ends = |i| format!("exited {i} {end}");
        booted(supervisor("temporary, transient")).play(&[
            (&ends(0), "child_terminated 0, left_down 0, forgotten 0"),
            (&ends(1), "child_terminated 1, restarting 1 left 0, start 1"),
        ]);
    }
}

#[test]
fn a_restart_that_is_ignored_forgets_the_child() {
    booted(supervisor("permanent")).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("ignored 0", "forgotten 0"),
        ("call ask", "ok"),
    ]);
}

#[test]
fn one_restart_more_than_the_limit_ends_the_supervisor() {
    booted(supervisor("permanent, permanent, temporary")).play(&[
        (
            "exited 0 abnormal @7",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        (
            "exited 1 abnormal @12",
            "child_terminated 1, max_intensity 1, stop 0, stop 2",
        ),
        ("exited 0 abnormal", "forgotten 0"),
        ("exited 2 shutdown", "forgotten 2, finish MaxIntensity(1)"),
    ]);
    booted(supervisor("permanent, permanent")).play(&[
        (
            "exited 0 abnormal @7",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        (
            "exited 1 abnormal @13",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
    ]);
}

#[test]
fn a_restart_that_fails_is_tried_again_after_what_waits_and_counts() {
    booted(supervisor("permanent, permanent")).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("exited 0 abnormal", "start_error 0, wait 0 0ns"),
        ("retry 0", "max_intensity 0, stop 1"),
        ("exited 1 shutdown", "forgotten 1, finish MaxIntensity(0)"),
    ]);
}

#[test]
fn a_retry_is_dropped_when_a_call_has_terminated_the_child() {
    let script = [
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("exited 0 abnormal", "start_error 0, wait 0 0ns"),
        ("call terminate 0", "forgotten 0, ok"),
        ("call start permanent", "start 0"),
        ("retry 0", "-"),
        ("started 0", "answer started"),
    ];
    booted(supervisor("permanent")).play(&script);
    // The same once the next child runs.
    let mut late = script;
    late.swap(4, 5);
    booted(supervisor("permanent")).play(&late);
}

#[test]
fn the_next_restarts_wait_for_their_backoff() {
    let seconds = Duration::from_secs;
    let backoff = Backoff::new(seconds(1), seconds(8)).reset_after(seconds(30));
    let mut machine = supervisor("permanent, permanent").backoff(Some(backoff));
    machine.intensity = Intensity::new(9, seconds(5));
    machine.set_backoff(1, Backoff::new(seconds(7), seconds(7)));
    booted(machine).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("started 0", "-"),
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 7, wait 0 1s",
        ),
        (
            "exited 1 abnormal @1",
            "child_terminated 1, restarting 1 left 6, start 1",
        ),
        ("retry 0 @2", "start 0"),
        ("exited 1 abnormal @2", "start_error 1, wait 1 0ns"),
        ("retry 1 @2", "restarting 1 left 5, wait 1 7s"),
        ("started 0 @3", "-"),
        ("retry 1 @9", "start 1"),
        ("started 1 @9", "-"),
        (
            "exited 0 abnormal @33",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
    ]);
}

#[test]
fn a_child_that_waits_can_be_terminated() {
    let second = Duration::from_secs(1);
    let mut machine = supervisor("permanent").backoff(Some(Backoff::new(second, second)));
    _ = machine.backoffs.failed(0, Duration::ZERO);
    booted(machine).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, wait 0 1s",
        ),
        ("call terminate 0", "forgotten 0, ok"),
        ("retry 0", "-"),
    ]);
}

#[test]
fn a_word_that_makes_no_sense_counts_for_nothing() {
    let mut machine = supervisor("permanent");
    machine.intensity = Intensity::new(9, Duration::from_secs(5));
    booted(machine).play(&[
        ("started 0", "-"),
        ("ignored 0", "-"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("exited 0 abnormal", "start_error 0, wait 0 0ns"),
        ("started 0", "-"),
        ("ignored 0", "-"),
        ("exited 0 abnormal", "-"),
        ("stuck 0", "-"),
        ("retry 0", "restarting 0 left 7, start 0"),
    ]);
}

#[test]
fn slow_restarts_of_one_child_are_too_many_in_a_row() {
    let script: [(&str, &str); 4] = [
        (
            "exited 0 abnormal @10",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("exited 0 abnormal @20", "start_error 0, wait 0 0ns"),
        ("retry 0 @20", "max_intensity 0, stop 1"),
        (
            "exited 1 shutdown @20",
            "forgotten 1, finish MaxIntensity(0)",
        ),
    ];
    booted(supervisor("permanent, permanent")).play(&script);
    // Its start succeeds, and it fails soon after.
    booted(supervisor("permanent")).play(&[
        script[0],
        ("started 0 @20", "-"),
        (
            "exited 0 abnormal @25",
            "child_terminated 0, max_intensity 0, finish MaxIntensity(0)",
        ),
    ]);
}

#[test]
fn slow_restarts_of_many_children_or_with_long_runs_between_are_not_too_many() {
    booted(supervisor("permanent, permanent")).play(&[
        (
            "exited 0 abnormal @10",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        (
            "exited 1 abnormal @16",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
        ("started 0 @20", "-"),
        (
            "exited 0 abnormal @26",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
    ]);
}
