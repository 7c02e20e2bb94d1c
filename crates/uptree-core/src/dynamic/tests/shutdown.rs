use super::*;

#[test]
fn children_are_stopped_all_at_once() {
    booted(supervisor("permanent, permanent, permanent, permanent")).play(&[
        ("shutdown", "stop 0, stop 1, stop 2, stop 3"),
        ("shutdown", "-"),
        ("exited 1 shutdown", "forgotten 1"),
        ("exited 3 normal", "shutdown_error 3, forgotten 3"),
        ("exited 0 shutdown_with", "forgotten 0"),
        (
            "exited 2 killed",
            "shutdown_error 2, forgotten 2, finish Shutdown",
        ),
    ]);
    booted(supervisor("")).play(&[("shutdown", "finish Shutdown")]);
}

#[test]
fn what_is_starting_is_called_off() {
    Player::new(supervisor("permanent, permanent")).play(&[
        ("boot", "start 0, start 1"),
        ("call start permanent", "start 2"),
        ("shutdown", "stop 0, stop 1, stop 2"),
        ("started 0", "-"),
        ("exited 0 abnormal", "forgotten 0"),
        ("ignored 1", "forgotten 1"),
        (
            "exited 2 abnormal",
            "forgotten 2, answer exited, finish Shutdown",
        ),
    ]);
}

#[test]
fn what_is_being_restarted_is_not_waited_for() {
    let mut machine = supervisor("permanent, permanent, permanent, permanent");
    machine.intensity = Intensity::new(9, Duration::from_secs(5));
    let second = Duration::from_secs(1);
    machine.set_backoff(1, Backoff::new(second, second));
    _ = machine.backoffs.failed(1, Duration::ZERO);
    booted(machine).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 8, start 0",
        ),
        ("exited 0 abnormal", "start_error 0, wait 0 0ns"),
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 7, wait 1 1s",
        ),
        ("call terminate 3", "stop 3"),
        ("shutdown", "stop 2"),
        ("retry 0", "-"),
        ("retry 1", "-"),
        ("exited 2 shutdown", "forgotten 2"),
        (
            "exited 3 shutdown",
            "forgotten 3, answer stopped, finish Shutdown",
        ),
    ]);
}

#[test]
fn what_is_called_meanwhile_changes_nothing() {
    booted(supervisor("permanent, permanent")).play(&[
        ("shutdown", "stop 0, stop 1"),
        ("call start permanent", "refused Ending"),
        ("call terminate 0", "ok"),
        ("exited 0 shutdown", "forgotten 0"),
        ("exited 1 shutdown", "forgotten 1, finish Shutdown"),
    ]);
}

#[test]
fn a_stuck_child_is_not_waited_for_and_outranks_every_other_reason() {
    booted(supervisor("permanent, permanent, permanent")).play(&[
        ("shutdown", "stop 0, stop 1, stop 2"),
        ("stuck 1", "-"),
        ("exited 0 shutdown", "forgotten 0"),
        ("exited 1 shutdown", "-"),
        ("stuck 2", "finish Stuck(1)"),
    ]);
    booted(supervisor("permanent")).play(&[("stuck 0", "finish Stuck(0)")]);
    Player::new(supervisor("permanent"))
        .play(&[("boot", "start 0"), ("stuck 0", "finish Stuck(0)")]);
    booted(supervisor("permanent, permanent")).play(&[
        ("call terminate 0", "stop 0"),
        ("stuck 0", "answer stuck, stop 1"),
        ("exited 1 shutdown", "forgotten 1, finish Stuck(0)"),
    ]);
}

/// Events between the actions that one shutdown asks for: a driver sends none, but may.
#[test]
fn what_ends_before_its_turn_to_be_stopped_is_found_dead() {
    let mut machine = supervisor("permanent, permanent, transient, permanent");
    let mut notes = Vec::new();
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |note| notes.push(note));
    let [zero, one, two, three] = [0, 1, 2, 3].map(Incarnation::first);
    step(Event::Boot);
    for it in [zero, one, two, three] {
        step(Event::Started(it));
    }
    step(Event::Exited(two, Exit::Abnormal));
    assert_eq!(step(Event::Shutdown), Some(Action::Stop(zero)));
    // A failed restart that is not to be tried again.
    let next = step(Event::Exited(two.next(), Exit::Abnormal));
    assert_eq!(next, Some(Action::Stop(one)));
    assert_eq!(step(Event::Exited(three, Exit::Abnormal)), None);
    assert_eq!(step(Event::Exited(one, Exit::Shutdown)), None);
    let finish = Some(Action::Finish(Outcome::Shutdown));
    assert_eq!(step(Event::Exited(zero, Exit::Shutdown)), finish);
    let expected = [
        Note::Booted,
        Note::ChildTerminated(2),
        Note::Restarting { child: 2, left: 0 },
        Note::StartError(2),
        Note::ShutdownError(3),
        Note::Forgotten(3),
        Note::Forgotten(1),
        Note::Forgotten(0),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn it_is_ending_from_its_reason_to_end_on() {
    let mut machine = supervisor("permanent, permanent");
    let mut step = |event| {
        machine.step(event, Duration::ZERO, &mut |_| ());
        machine.is_ending()
    };
    assert!(!step(Event::Boot));
    assert!(!step(Event::Started(Incarnation::first(0))));
    assert!(step(Event::Exited(Incarnation::first(1), Exit::Abnormal)));
    assert!(step(Event::Shutdown));
}
