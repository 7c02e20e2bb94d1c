use super::*;

#[test]
fn children_start_side_by_side() {
    booted(supervisor("")).play(&[
        ("call start permanent", "start 0"),
        ("call start permanent", "start 1"),
        ("call start temporary", "start 2"),
        ("started 1", "answer started"),
        ("started 2", "answer started"),
        ("started 0", "answer started"),
    ]);
}

#[test]
fn it_boots_with_its_children_all_at_once() {
    Player::new(supervisor("")).play(&[("boot", "booted"), ("done", "-")]);
    Player::new(supervisor("permanent, temporary, transient")).play(&[
        ("boot", "start 0, start 1, start 2"),
        ("started 1", "-"),
        ("call start temporary", "start 3"),
        ("ignored 2", "forgotten 2"),
        ("started 3", "answer started"),
        ("started 0", "booted"),
        ("call start temporary", "start 2"),
        ("started 2", "answer started"),
    ]);
}

#[test]
fn a_child_of_the_boot_that_is_called_off_does_not_hold_it_up() {
    Player::new(supervisor("permanent, temporary")).play(&[
        ("boot", "start 0, start 1"),
        ("call terminate 1", "stop 1"),
        ("started 0", "booted"),
        ("exited 1 shutdown", "forgotten 1, answer stopped"),
    ]);
    Player::new(supervisor("permanent")).play(&[
        ("boot", "start 0"),
        ("call terminate 0", "stop 0, booted"),
        ("ignored 0", "forgotten 0, answer stopped"),
    ]);
}

#[test]
fn a_child_that_fails_to_start_at_boot_ends_it() {
    Player::new(supervisor("permanent, permanent, temporary")).play(&[
        ("boot", "start 0, start 1, start 2"),
        ("started 0", "-"),
        ("exited 1 abnormal", "start_error 1, stop 0, stop 2"),
        ("started 2", "-"),
        ("exited 2 shutdown", "forgotten 2"),
        ("exited 0 shutdown", "forgotten 0, finish StartFailed(1)"),
    ]);
    Player::new(supervisor("permanent")).play(&[
        ("boot", "start 0"),
        ("exited 0 normal", "start_error 0, finish StartFailed(0)"),
    ]);
}

#[test]
fn a_start_that_fails_or_is_ignored_leaves_nothing_behind() {
    booted(supervisor("")).play(&[
        ("call start permanent", "start 0"),
        ("exited 0 abnormal", "forgotten 0, answer exited"),
        ("call start permanent", "start 0"),
        ("ignored 0", "forgotten 0, answer ignored"),
        ("call start permanent", "start 0"),
        ("late started 0", "-"),
        ("late ignored 0", "-"),
        ("late exited 0 abnormal", "-"),
        ("late stuck 0", "-"),
        ("started 0", "answer started"),
        ("late exited 0 abnormal", "-"),
    ]);
}

#[test]
fn a_terminated_child_is_forgotten_whatever_its_restart_type() {
    booted(supervisor("permanent, transient, temporary")).play(&[
        ("call terminate 0", "stop 0"),
        ("call terminate 1", "stop 1"),
        ("call terminate 2", "stop 2"),
        ("exited 1 normal", "forgotten 1, answer stopped"),
        (
            "exited 0 normal",
            "shutdown_error 0, forgotten 0, answer stopped",
        ),
        ("exited 2 shutdown_with", "forgotten 2, answer stopped"),
        ("call terminate 2", "ok"),
        ("exited 2 shutdown", "-"),
    ]);
}

#[test]
fn a_child_that_is_starting_is_called_off() {
    booted(supervisor("")).play(&[
        ("call start permanent", "start 0"),
        ("call terminate 0", "stop 0"),
        // Somebody else has asked for it.
        ("call terminate 0", "ok"),
        ("started 0", "answer started"),
        ("exited 0 abnormal", "forgotten 0, answer stopped"),
    ]);
}

#[test]
fn so_many_children_are_allowed_and_no_more() {
    booted(supervisor("permanent").max_children(2)).play(&[
        ("call start permanent", "start 1"),
        // It counts from its start to its end.
        ("call start permanent", "refused MaxChildren"),
        ("started 1", "answer started"),
        ("call terminate 0", "stop 0"),
        ("call start permanent", "refused MaxChildren"),
        ("exited 0 shutdown", "forgotten 0, answer stopped"),
        ("call start permanent", "start 0"),
        ("started 0", "answer started"),
        (
            "exited 1 abnormal",
            "child_terminated 1, restarting 1 left 0, start 1",
        ),
        ("exited 1 abnormal", "start_error 1, wait 1 0ns"),
        ("call start permanent", "refused MaxChildren"),
    ]);
}

#[test]
fn children_are_listed_with_their_states() {
    let mut machine = supervisor("permanent, temporary supervisor, permanent, transient");
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |_| ());
    step(Event::Boot);
    for i in [1, 2, 3] {
        step(Event::Started(Incarnation::first(i)));
    }
    step(Event::Exited(Incarnation::first(3), Exit::Normal));
    step(Event::Exited(Incarnation::first(2), Exit::Abnormal));
    step(Event::Exited(Incarnation::first(2).next(), Exit::Abnormal));
    let children: Vec<_> = machine.children().collect();
    let expected = [
        (0, Status::Running),
        (1, Status::Running),
        (2, Status::Restarting),
    ];
    assert_eq!(children, expected);
    assert_eq!(machine.status(3), Status::Undefined);
    let counts = Counts {
        specs: 3,
        active: 1,
        supervisors: 1,
        workers: 2,
    };
    assert_eq!(machine.counts(), counts);
}

#[test]
fn a_child_that_waits_for_its_backoff_is_restarting() {
    let mut machine = supervisor("permanent");
    let second = Duration::from_secs(1);
    machine.set_backoff(0, Backoff::new(second, second));
    _ = machine.backoffs.failed(0, Duration::ZERO);
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |_| ());
    step(Event::Boot);
    step(Event::Started(Incarnation::first(0)));
    step(Event::Exited(Incarnation::first(0), Exit::Abnormal));
    assert_eq!(machine.status(0), Status::Restarting);
    assert_eq!(machine.counts().active, 0);
}
