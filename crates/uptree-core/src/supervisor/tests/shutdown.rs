use super::*;

const THREE: &str = "permanent, permanent, permanent";

#[test]
fn children_are_stopped_in_reverse() {
    booted(OneForOne, THREE).play(&[
        ("shutdown", "stop 2"),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn what_ends_by_itself_meanwhile_is_found_dead() {
    booted(OneForOne, "permanent, transient, permanent").play(&[
        ("shutdown", "stop 2"),
        ("exited 0 normal", "-"),
        ("exited 1 normal", "-"),
        (
            "exited 2 killed",
            "shutdown_error 2, shutdown_error 0, finish Shutdown",
        ),
    ]);
}

#[test]
fn a_child_that_is_killed_as_its_spec_says_is_not_reported() {
    booted(OneForOne, "permanent brutal, permanent brutal").play(&[
        ("shutdown", "stop 1"),
        ("exited 1 killed", "stop 0"),
        ("exited 0 shutdown", "shutdown_error 0, finish Shutdown"),
    ]);
}

#[test]
fn a_shutdown_during_the_boot_calls_off_the_start_under_way() {
    Player::new(supervisor(OneForOne, THREE)).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("shutdown", "stop 1"),
        // However its start ends now, that is not reported.
        ("exited 1 abnormal", "stop 0"),
        ("shutdown", "-"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_start_that_is_ignored_as_it_is_called_off_is_gone() {
    Player::new(supervisor(OneForOne, "permanent, temporary")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("shutdown", "stop 1"),
        ("ignored 1", "forgotten 1, stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_shutdown_during_a_restart_stops_the_later_ones_first() {
    booted(OneForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
        ("shutdown", "stop 2"),
        ("exited 2 shutdown", "stop 1"),
        // Its readiness crossed with the stop.
        ("started 1", "-"),
        ("exited 1 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_start_under_way_that_becomes_ready_is_stopped_as_what_runs() {
    booted(OneForOne, "permanent, permanent").play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("shutdown", "stop 1"),
        ("started 0", "-"),
        ("exited 1 shutdown", "stop 0"),
        ("exited 0 abnormal", "shutdown_error 0, finish Shutdown"),
    ]);
}

#[test]
fn a_shutdown_during_a_group_stop_goes_on_downwards() {
    booted(RestForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 2",
        ),
        ("shutdown", "-"),
        ("exited 2 killed", "shutdown_error 2, stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_start_that_fails_while_the_supervisor_ends_is_not_tried_again() {
    booted(OneForOne, THREE).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        ),
        ("shutdown", "stop 2"),
        ("exited 0 abnormal", "start_error 0"),
        ("exited 2 shutdown", "stop 1"),
        ("exited 1 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn the_first_reason_to_end_is_kept() {
    Player::new(supervisor(OneForOne, "permanent, permanent")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("exited 1 abnormal", "start_error 1, stop 0"),
        ("shutdown", "-"),
        ("exited 0 shutdown", "finish StartFailed(1)"),
    ]);
}

#[test]
fn a_stuck_child_is_not_waited_for_and_outranks_every_other_reason() {
    booted(OneForOne, THREE).play(&[
        ("shutdown", "stop 2"),
        ("stuck 2", "stop 1"),
        ("exited 1 shutdown", "stop 0"),
        ("stuck 0", "finish Stuck(2)"),
    ]);
    booted(RestForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, stop 2",
        ),
        ("stuck 2", "stop 0"),
        ("exited 0 shutdown", "finish Stuck(2)"),
    ]);
}

#[test]
fn a_child_can_be_stuck_in_every_state_in_which_it_is_there() {
    Player::new(supervisor(OneForOne, "permanent"))
        .play(&[("boot", "start 0"), ("stuck 0", "finish Stuck(0)")]);
    booted(OneForOne, "permanent").play(&[("stuck 0", "finish Stuck(0)")]);
    Player::new(supervisor(OneForOne, "permanent")).play(&[
        ("boot", "start 0"),
        ("shutdown", "stop 0"),
        ("stuck 0", "finish Stuck(0)"),
    ]);
    booted(OneForOne, "permanent, permanent").play(&[
        ("call terminate 0", "stop 0"),
        ("stuck 0", "answer stuck, stop 1"),
        ("exited 1 shutdown", "finish Stuck(0)"),
    ]);
}

#[test]
fn a_stuck_child_that_goes_after_all_changes_nothing() {
    booted(OneForOne, "permanent, permanent").play(&[
        ("stuck 1", "stop 0"),
        ("exited 1 abnormal", "-"),
        ("exited 0 shutdown", "finish Stuck(1)"),
    ]);
}

#[test]
fn a_retry_is_not_tried_when_the_supervisor_ends() {
    booted_with(9, RestForOne, THREE).play(&[
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 8, stop 2",
        ),
        ("exited 2 shutdown", "start 1"),
        ("call terminate 0", "-"),
        ("exited 1 abnormal", "start_error 1, stop 0"),
        ("shutdown", "-"),
        ("exited 0 shutdown", "answer stopped, finish Shutdown"),
    ]);
}

#[test]
fn a_shutdown_overtakes_the_start_of_a_call() {
    booted(OneForOne, "permanent").play(&[
        ("call start temporary", "start 1"),
        ("shutdown", "stop 1"),
        ("exited 1 abnormal", "forgotten 1, answer exited, stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
    // Its readiness crosses with the stop.
    booted(OneForOne, "permanent").play(&[
        ("call start permanent", "start 1"),
        ("shutdown", "stop 1"),
        ("started 1", "answer started"),
        ("exited 1 shutdown", "stop 0"),
    ]);
}

#[test]
fn a_start_for_a_call_that_fails_before_it_is_called_off_is_told_to_the_caller_alone() {
    booted(OneForOne, "transient, permanent").play(&[
        ("exited 0 normal", "left_down 0"),
        ("call restart 0", "start 0"),
        ("shutdown", "stop 1"),
        ("exited 0 abnormal", "answer exited"),
        ("exited 1 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_shutdown_overtakes_the_stop_of_a_call() {
    booted(OneForOne, THREE).play(&[
        ("call terminate 1", "stop 1"),
        ("shutdown", "-"),
        ("exited 1 shutdown", "answer stopped, stop 2"),
        ("exited 2 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_call_that_waits_for_its_turn_never_gets_it() {
    booted(OneForOne, "permanent").play(&[
        ("shutdown", "stop 0"),
        ("call ask", "-"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_call_that_a_shutdown_overtakes_in_its_turn_does_nothing() {
    let mut machine = supervisor(OneForOne, "permanent, transient");
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |_| ());
    let [first, second] = [0, 1].map(Incarnation::first);
    step(Event::Boot);
    step(Event::Started(first));
    step(Event::Started(second));
    step(Event::Exited(second, Exit::Normal));
    assert_eq!(step(Event::Call), Some(Action::Serve));
    assert_eq!(step(Event::Shutdown), Some(Action::Stop(first)));
    let before = machine.clone();
    let out = &mut |_| ();
    assert_eq!(machine.start_child(Spec::default()), Err(Refusal::Ending));
    assert_eq!(machine.restart_child(1), Err(Refusal::Ending));
    assert_eq!(machine.delete_child(1, out), Err(Refusal::Ending));
    assert_eq!(machine.terminate_child(0, out), None);
    assert_eq!(machine, before);
}

#[test]
fn it_is_ending_from_its_reason_to_end_on() {
    let mut machine = supervisor(OneForOne, "permanent, permanent");
    let mut step = |event| {
        machine.step(event, Duration::ZERO, &mut |_| ());
        machine.is_ending()
    };
    assert!(!step(Event::Boot));
    assert!(!step(Event::Started(Incarnation::first(0))));
    assert!(step(Event::Exited(Incarnation::first(1), Exit::Abnormal)));
    assert!(step(Event::Shutdown));
}
