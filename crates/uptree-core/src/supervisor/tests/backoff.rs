use super::*;

/// Its children have failed before: their next restart waits for one second, then two and so on.
fn failing(strategy: Strategy, children: &str) -> Player<Supervisor> {
    let seconds = Duration::from_secs;
    let backoff = Backoff::new(seconds(1), seconds(8)).reset_after(seconds(30));
    let mut machine = supervisor(strategy, children).backoff(Some(backoff));
    machine.intensity = Intensity::new(3, seconds(5));
    let len = machine.children.len();
    for i in 0..len {
        assert!(machine.backoffs.failed(i, Duration::ZERO).is_zero());
    }
    Player::new(machine).booted(len)
}

#[test]
fn the_first_restart_is_at_once_and_the_next_ones_wait() {
    let machine = supervisor(OneForOne, "permanent");
    let seconds = Duration::from_secs;
    let mut machine = machine.backoff(Some(Backoff::new(seconds(1), seconds(8))));
    machine.intensity = Intensity::new(9, seconds(5));
    Player::new(machine).booted(1).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("started 0", "-"),
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 7, wait 0 1s",
        ),
        ("retry 0 @2", "start 0"),
        // A start that fails: it is tried again after the wait, which counts.
        (
            "exited 0 abnormal @2",
            "start_error 0, restarting 0 left 6, wait 0 2s",
        ),
        ("retry 0 @4", "start 0"),
        ("started 0 @4", "-"),
        // It has run for as long as is forgiven.
        (
            "exited 0 abnormal @34",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
    ]);
}

#[test]
fn a_child_can_have_its_own() {
    let seconds = Duration::from_secs;
    let mut machine = supervisor(OneForOne, "permanent, permanent");
    machine.intensity = Intensity::new(9, seconds(5));
    machine.set_backoff(1, Backoff::new(seconds(7), seconds(7)));
    Player::new(machine).booted(2).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 8, start 1",
        ),
        (
            "exited 1 abnormal",
            "start_error 1, restarting 1 left 7, wait 1 7s",
        ),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 6, start 0",
        ),
        (
            "exited 0 abnormal",
            "start_error 0, restarting 0 left 5, start 0",
        ),
    ]);
}

#[test]
fn a_group_goes_down_at_once_and_comes_back_after_the_wait() {
    failing(OneForAll, "permanent, temporary, permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 2, stop 2",
        ),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "forgotten 1, wait 0 1s"),
        ("call restart 0", "refused Restarting"),
        ("retry 0 @2", "start 0"),
        ("started 0", "start 2"),
        ("started 2", "-"),
    ]);
    failing(RestForOne, "permanent, permanent, permanent").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 2, stop 2",
        ),
        ("exited 2 shutdown", "wait 1 1s"),
        ("retry 1", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_sibling_found_dead_while_the_group_goes_down_does_not_wait() {
    failing(OneForAll, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, stop 1",
        ),
        ("exited 1 abnormal", "shutdown_error 1, wait 0 1s"),
        ("retry 0", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "-"),
    ]);
}

#[test]
fn siblings_are_served_meanwhile() {
    failing(OneForOne, "permanent, transient").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, wait 0 1s",
        ),
        ("exited 1 normal", "left_down 1"),
        ("call restart 1", "start 1"),
        ("retry 0", "-"),
        ("started 1", "answer started, start 0"),
    ]);
}

#[test]
fn a_terminate_cancels_the_wait_and_the_siblings_stay_down() {
    failing(OneForAll, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, stop 1",
        ),
        ("exited 1 shutdown", "wait 0 1s"),
        ("call terminate 0", "ok"),
        ("retry 0", "-"),
        ("call restart 1", "start 1"),
        ("started 1", "answer started"),
        ("shutdown", "stop 1"),
    ]);
}

#[test]
fn a_wait_that_was_cancelled_does_not_end_the_next_one() {
    failing(OneForOne, "permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, wait 0 1s",
        ),
        ("call terminate 0", "ok"),
        ("call restart 0", "start 0"),
        ("started 0", "answer started"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, wait 0 2s",
        ),
        ("retry 0", "-"),
        ("retry 0", "start 0"),
    ]);
}

#[test]
fn what_a_call_started_meanwhile_is_stopped_before_the_group_comes_back() {
    failing(OneForAll, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, stop 1",
        ),
        ("exited 1 shutdown", "wait 0 1s"),
        ("call restart 1", "start 1"),
        ("started 1", "answer started"),
        ("call start permanent", "start 2"),
        ("started 2", "answer started"),
        ("retry 0", "stop 2"),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn a_group_restart_meanwhile_takes_the_place_of_the_wait() {
    // 0 has no backoff to wait for.
    let mut player = failing(RestForOne, "permanent, permanent");
    player.machine.backoffs.forget(0);
    player.play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 2, wait 1 1s",
        ),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, start 0",
        ),
        ("started 0", "start 1"),
        ("started 1", "-"),
        ("retry 1", "-"),
    ]);
}

#[test]
fn a_group_that_waits_meanwhile_takes_the_wait_along() {
    failing(RestForOne, "permanent, permanent, permanent").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 2, stop 2",
        ),
        ("exited 2 shutdown", "wait 1 1s"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, wait 0 1s",
        ),
        ("retry 1", "-"),
        ("retry 0", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "-"),
    ]);
}

#[test]
fn two_children_wait_side_by_side() {
    failing(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, wait 0 1s",
        ),
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 1, wait 1 1s",
        ),
        ("retry 1", "start 1"),
        ("retry 0", "-"),
        ("started 1", "start 0"),
        ("started 0", "-"),
    ]);
}

#[test]
fn the_time_that_a_child_waits_is_not_counted() {
    let script = |last: &str, said: &str| {
        failing(OneForOne, "permanent").play(&[
            (
                "exited 0 abnormal @1",
                "child_terminated 0, restarting 0 left 2, wait 0 1s",
            ),
            ("retry 0 @11", "start 0"),
            (
                "exited 0 abnormal @21",
                "start_error 0, restarting 0 left 1, wait 0 2s",
            ),
            ("call ask @30", "ok"),
            ("retry 0 @31", "start 0"),
            ("started 0 @41", "-"),
            (last, said),
        ]);
    };
    script(
        "exited 0 abnormal @46",
        "child_terminated 0, restarting 0 left 0, wait 0 4s",
    );
    script(
        "exited 0 abnormal @47",
        "child_terminated 0, restarting 0 left 2, wait 0 4s",
    );
}

#[test]
fn the_time_after_a_wait_was_cancelled_is_counted() {
    failing(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal @1",
            "child_terminated 0, restarting 0 left 2, wait 0 1s",
        ),
        ("call terminate 0 @1", "ok"),
        (
            "exited 1 abnormal @7",
            "child_terminated 1, restarting 1 left 2, wait 1 1s",
        ),
    ]);
}

#[test]
fn a_shutdown_does_not_wait() {
    failing(OneForAll, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, stop 1",
        ),
        ("shutdown", "-"),
        ("exited 1 shutdown", "finish Shutdown"),
    ]);
    failing(OneForOne, "permanent, permanent").play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 2, wait 1 1s",
        ),
        ("shutdown", "stop 0"),
        ("retry 1", "-"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_child_that_is_forgotten_takes_its_failures_along() {
    failing(OneForOne, "permanent").play(&[
        ("call terminate 0", "stop 0"),
        ("exited 0 shutdown", "answer stopped"),
        ("call delete 0", "forgotten 0, ok"),
        ("call start permanent", "start 0"),
        ("started 0", "answer started"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 2, start 0",
        ),
    ]);
}
