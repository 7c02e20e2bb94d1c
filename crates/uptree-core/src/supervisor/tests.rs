//! Tables say what the machine does, the walk says what it never does; both are needed.

use std::collections::HashSet;

use super::*;
use crate::Shutdown;

const SECOND: Duration = Duration::from_secs(1);
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];
const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

fn specs(restarts: &[Restart]) -> impl Iterator<Item = Spec> {
    restarts.iter().map(|&restart| Spec {
        restart,
        ..Spec::default()
    })
}

/// Plays a script against the machine: the only place that knows its API. A line is what happened
/// and what is done next, written as `"exited 1 abnormal" => "stop 2"`; incarnation numbers are
/// kept by the player, so that a script reads as the story it tells.
#[track_caller]
fn check(strategy: Strategy, restarts: &[Restart], script: &[(&str, &str)]) {
    let intensity = Intensity::new(1, 5 * SECOND);
    let mut machine = Supervisor::new(strategy, intensity, specs(restarts));
    for (line, &(event, expected)) in script.iter().enumerate() {
        let mut notes = Vec::new();
        let event = parse(&machine, event);
        let action = machine.step(event, Duration::ZERO, &mut |note| notes.push(note));
        let mut said: Vec<String> = notes.into_iter().map(shown).collect();
        said.push(match action {
            Some(Action::Start(it)) => format!("start {}", it.child),
            Some(Action::Stop(it)) => format!("stop {}", it.child),
            Some(Action::Finish(outcome)) => format!("finish {outcome:?}"),
            None => "-".into(),
        });
        assert_eq!(said.join(", "), expected, "line {line}: {event:?}");
    }
}

fn parse(machine: &Supervisor, text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let it = || machine.incarnation(words[1].parse().expect("an index"));
    match words[0] {
        "boot" => Event::Boot,
        "started" => Event::Started(it()),
        "ignored" => Event::Ignored(it()),
        "stuck" => Event::Stuck(it()),
        "shutdown" => Event::Shutdown,
        "exited" => {
            let exit = match words[2] {
                "normal" => Exit::Normal,
                "shutdown" => Exit::Shutdown,
                "killed" => Exit::Killed,
                "abnormal" => Exit::Abnormal,
                other => panic!("no such exit: {other}"),
            };
            Event::Exited(it(), exit)
        }
        other => panic!("no such event: {other}"),
    }
}

fn shown(note: Note) -> String {
    match note {
        Note::StartError(i) => format!("start_error {i}"),
        Note::ChildTerminated(i) => format!("child_terminated {i}"),
        Note::ShutdownError(i) => format!("shutdown_error {i}"),
        Note::MaxIntensity(i) => format!("max_intensity {i}"),
        Note::Restarting { child, left } => format!("restarting {child} left {left}"),
        Note::LeftDown(i) => format!("left_down {i}"),
        Note::Booted => "booted".into(),
    }
}

const BOOT_OF_THREE: [(&str, &str); 4] = [
    ("boot", "start 0"),
    ("started 0", "start 1"),
    ("started 1", "start 2"),
    ("started 2", "booted, -"),
];

#[track_caller]
fn check_booted(strategy: Strategy, restarts: [Restart; 3], script: &[(&str, &str)]) {
    check(strategy, &restarts, &[&BOOT_OF_THREE, script].concat());
}

#[test]
fn one_for_one_restarts_the_failed_child_alone() {
    check_booted(
        Strategy::OneForOne,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, start 1",
            ),
            ("started 1", "-"),
        ],
    );
}

#[test]
fn rest_for_one_recycles_the_failed_child_and_the_later_ones() {
    check_booted(
        Strategy::RestForOne,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, stop 2",
            ),
            ("exited 2 shutdown", "start 1"),
            ("started 1", "start 2"),
            ("started 2", "-"),
        ],
    );
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    check_booted(
        Strategy::OneForAll,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, stop 2",
            ),
            ("exited 2 shutdown", "stop 0"),
            ("exited 0 shutdown", "start 0"),
            ("started 0", "start 1"),
            ("started 1", "start 2"),
            ("started 2", "-"),
        ],
    );
}

#[test]
fn a_temporary_sibling_taken_down_stays_down() {
    check_booted(
        Strategy::OneForAll,
        [Restart::Permanent, Restart::Temporary, Restart::Permanent],
        &[
            (
                "exited 0 abnormal",
                "child_terminated 0, restarting 0 left 0, stop 2",
            ),
            ("exited 2 shutdown", "stop 1"),
            ("exited 1 shutdown", "start 0"),
            ("started 0", "start 2"),
        ],
    );
}

#[test]
fn a_temporary_child_that_crashes_touches_nobody() {
    check_booted(
        Strategy::OneForAll,
        [Restart::Permanent, Restart::Temporary, Restart::Permanent],
        &[("exited 1 abnormal", "child_terminated 1, left_down 1, -")],
    );
}

#[test]
fn a_transient_child_that_finishes_is_left_down_until_its_group_restarts() {
    check_booted(
        Strategy::RestForOne,
        [Restart::Permanent, Restart::Transient, Restart::Permanent],
        &[
            ("exited 1 normal", "left_down 1, -"),
            (
                "exited 0 normal",
                "child_terminated 0, restarting 0 left 0, stop 2",
            ),
            ("exited 2 shutdown", "start 0"),
            ("started 0", "start 1"),
        ],
    );
}

#[test]
fn a_migrator_runs_again_when_the_pool_beneath_it_fails() {
    check(
        Strategy::RestForOne,
        &[Restart::Permanent; 3],
        &[
            ("boot", "start 0"),
            ("started 0", "start 1"),
            ("ignored 1", "start 2"),
            ("started 2", "booted, -"),
            (
                "exited 0 abnormal",
                "child_terminated 0, restarting 0 left 0, stop 2",
            ),
            ("exited 2 shutdown", "start 0"),
            ("started 0", "start 1"),
            ("ignored 1", "start 2"),
            ("started 2", "-"),
        ],
    );
}

#[test]
fn a_start_that_fails_at_boot_stops_what_had_started_in_reverse() {
    check(
        Strategy::OneForOne,
        &[Restart::Permanent; 3],
        &[
            ("boot", "start 0"),
            ("started 0", "start 1"),
            ("started 1", "start 2"),
            ("exited 2 abnormal", "start_error 2, stop 1"),
            ("exited 1 shutdown", "stop 0"),
            ("exited 0 shutdown", "finish StartFailed(2)"),
        ],
    );
}

#[test]
fn a_restart_that_fails_is_tried_again_behind_what_waits_and_counts() {
    check_booted(
        Strategy::OneForOne,
        [Restart::Transient; 3],
        &[
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
        ],
    );
}

#[test]
fn a_retry_under_rest_for_one_starts_at_the_child_whose_start_failed() {
    let intensity = Intensity::new(2, 5 * SECOND);
    let mut machine = Supervisor::new(
        Strategy::RestForOne,
        intensity,
        specs(&[Restart::Permanent; 3]),
    );
    let mut step = |event| {
        let event = parse(&machine, event);
        machine.step(event, Duration::ZERO, &mut |_| ())
    };
    for (event, _) in BOOT_OF_THREE {
        step(event);
    }
    for event in [
        "exited 0 abnormal",
        "exited 2 shutdown",
        "exited 1 shutdown",
    ] {
        step(event);
    }
    let again = |child, number| Some(Action::Start(Incarnation { child, number }));
    assert_eq!(step("started 0"), again(1, 1));
    assert_eq!(step("exited 1 abnormal"), again(1, 2), "not child 0 again");
    assert_eq!(step("started 1"), again(2, 1));
}

#[test]
fn a_sibling_found_dead_in_a_group_restart_is_reported_and_counts_once() {
    check_booted(
        Strategy::OneForAll,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, stop 2",
            ),
            ("exited 0 abnormal", "-"),
            ("exited 2 shutdown", "shutdown_error 0, start 0"),
            ("started 0", "start 1"),
            ("started 1", "start 2"),
            ("started 2", "-"),
        ],
    );
}

#[test]
fn a_shutdown_during_the_boot_calls_off_the_start_under_way() {
    check(
        Strategy::OneForOne,
        &[Restart::Permanent; 3],
        &[
            ("boot", "start 0"),
            ("started 0", "start 1"),
            ("shutdown", "stop 1"),
            // However its start ends now, that is not reported.
            ("exited 1 abnormal", "stop 0"),
            ("shutdown", "-"),
            ("exited 0 shutdown", "finish Shutdown"),
        ],
    );
}

#[test]
fn a_shutdown_during_a_restart_stops_the_later_ones_first() {
    check_booted(
        Strategy::OneForOne,
        [Restart::Permanent; 3],
        &[
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
        ],
    );
}

#[test]
fn a_shutdown_during_a_group_stop_goes_on_downwards() {
    check_booted(
        Strategy::RestForOne,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, stop 2",
            ),
            ("shutdown", "-"),
            ("exited 2 killed", "shutdown_error 2, stop 0"),
            ("exited 0 shutdown", "finish Shutdown"),
        ],
    );
}

#[test]
fn a_start_that_fails_while_the_supervisor_ends_is_not_tried_again() {
    check_booted(
        Strategy::OneForOne,
        [Restart::Permanent; 3],
        &[
            (
                "exited 0 abnormal",
                "child_terminated 0, restarting 0 left 0, start 0",
            ),
            ("shutdown", "stop 2"),
            ("exited 0 abnormal", "start_error 0, -"),
            ("exited 2 shutdown", "stop 1"),
            ("exited 1 shutdown", "finish Shutdown"),
        ],
    );
}

#[test]
fn the_first_reason_to_end_is_kept() {
    check(
        Strategy::OneForOne,
        &[Restart::Permanent; 2],
        &[
            ("boot", "start 0"),
            ("started 0", "start 1"),
            ("exited 1 abnormal", "start_error 1, stop 0"),
            ("shutdown", "-"),
            ("exited 0 shutdown", "finish StartFailed(1)"),
        ],
    );
}

#[test]
fn a_stuck_child_is_not_waited_for_and_outranks_every_other_reason() {
    check_booted(
        Strategy::OneForOne,
        [Restart::Permanent; 3],
        &[
            ("shutdown", "stop 2"),
            ("stuck 2", "stop 1"),
            ("exited 1 shutdown", "stop 0"),
            ("stuck 0", "finish Stuck(2)"),
        ],
    );
    check_booted(
        Strategy::RestForOne,
        [Restart::Permanent; 3],
        &[
            (
                "exited 1 abnormal",
                "child_terminated 1, restarting 1 left 0, stop 2",
            ),
            ("stuck 2", "stop 0"),
            ("exited 0 shutdown", "finish Stuck(2)"),
        ],
    );
}

#[test]
fn a_word_from_an_earlier_life_counts_for_nothing() {
    let mut machine = Supervisor::new(
        Strategy::OneForOne,
        Intensity::default(),
        specs(&[Restart::Permanent]),
    );
    let mut step = |event| machine.step(event, Duration::ZERO, &mut |_| ());
    let first = Incarnation::first(0);
    let second = first.next();
    step(Event::Boot);
    step(Event::Started(first));
    assert_eq!(
        step(Event::Exited(first, Exit::Abnormal)),
        Some(Action::Start(second))
    );
    assert_eq!(step(Event::Exited(first, Exit::Abnormal)), None);
    assert_eq!(step(Event::Started(first)), None);
    assert_eq!(step(Event::Ignored(first)), None);
    assert_eq!(
        step(Event::Shutdown),
        Some(Action::Stop(second)),
        "it is still starting"
    );
    assert_eq!(step(Event::Stuck(first)), None);
}

#[test]
fn a_supervisor_without_children_boots_and_ends() {
    check(
        Strategy::OneForAll,
        &[],
        &[("boot", "booted, -"), ("shutdown", "finish Shutdown")],
    );
}

#[test]
fn a_child_that_is_killed_as_its_spec_says_is_not_reported() {
    let brutal = Spec {
        restart: Restart::Permanent,
        shutdown: Shutdown::BrutalKill,
    };
    let mut machine = Supervisor::new(Strategy::OneForOne, Intensity::default(), [brutal]);
    let mut notes = Vec::new();
    for event in ["boot", "started 0", "shutdown", "exited 0 killed"] {
        let event = parse(&machine, event);
        machine.step(event, Duration::ZERO, &mut |note| notes.push(note));
    }
    assert_eq!(notes, [Note::Booted]);
}

const EXITS: [Exit; 3] = [Exit::Normal, Exit::Shutdown, Exit::Abnormal];

/// Every state that three children can reach, each with every event that can happen in it.
#[test]
fn every_reachable_state_keeps_the_order_and_is_never_stuck() {
    let mut steps = 0_u64;
    let mut states = 0;
    for strategy in STRATEGIES {
        for code in 0..27 {
            let restarts = [
                RESTARTS[code % 3],
                RESTARTS[code / 3 % 3],
                RESTARTS[code / 9],
            ];
            let start = Supervisor::new(strategy, Intensity::new(1, 5 * SECOND), specs(&restarts));
            let mut booted = start.clone();
            booted.step(Event::Boot, Duration::ZERO, &mut |_| ());
            let mut seen = HashSet::from([booted.clone()]);
            let mut todo = vec![booted];
            while let Some(before) = todo.pop() {
                for event in possible_events(&before) {
                    let mut after = before.clone();
                    let action = after.step(event, Duration::ZERO, &mut |_| ());
                    steps += 1;
                    invariants(&before, event, action, &after);
                    if !matches!(action, Some(Action::Finish(_))) && seen.insert(after.clone()) {
                        todo.push(after);
                    }
                }
            }
            states += seen.len();
        }
    }
    // So that a walk that stopped walking is noticed.
    assert!(
        states > 20_000 && steps > 100_000,
        "{states} states, {steps} steps"
    );
}

fn possible_events(machine: &Supervisor) -> Vec<Event> {
    let mut events = vec![Event::Shutdown];
    for i in 0..machine.children.len() {
        let it = machine.incarnation(i);
        match machine.children[i].state {
            State::Starting => {
                events.extend([Event::Started(it), Event::Ignored(it)]);
                events.extend([Event::Exited(it, Exit::Abnormal), Event::Stuck(it)]);
            }
            // A child can be ready, or done, just as it is told to stop.
            State::Stopping | State::CalledOff => {
                events.extend([Event::Started(it), Event::Ignored(it), Event::Stuck(it)]);
                events.extend(EXITS.map(|exit| Event::Exited(it, exit)));
            }
            State::Running => {
                events.push(Event::Stuck(it));
                events.extend(EXITS.map(|exit| Event::Exited(it, exit)));
            }
            State::Down
            | State::Exited(_)
            | State::Restarting
            | State::Forgotten
            | State::Stuck => {}
        }
    }
    events
}

fn invariants(before: &Supervisor, event: Event, action: Option<Action>, after: &Supervisor) {
    let shown = || format!("{before:#?}\n{event:?} -> {action:?}\n{after:#?}");
    let is = |i: Index, states: &[State]| states.contains(&after.children[i].state);
    let up = |i: &Index| {
        let up = [
            State::Starting,
            State::Running,
            State::Stopping,
            State::CalledOff,
        ];
        is(*i, &up)
    };
    let count = |state| {
        after
            .children
            .iter()
            .filter(|child| child.state == state)
            .count()
    };
    let len = after.children.len();

    assert!(
        count(State::Starting) <= 1,
        "two starts at once\n{}",
        shown()
    );
    assert!(
        count(State::Stopping) + count(State::CalledOff) <= 1,
        "two stops at once\n{}",
        shown()
    );
    match action {
        Some(Action::Start(it)) => {
            assert_eq!(after.ending, None, "a start while ending\n{}", shown());
            assert_eq!(
                count(State::Stopping),
                0,
                "a start beside a stop\n{}",
                shown()
            );
            assert!(
                it.number <= 2,
                "more lives than the limit allows\n{}",
                shown()
            );
            let untried = |i: Index| is(i, &[State::Down]) && after.children[i].number == 0;
            assert!(
                !(0..it.child).any(untried),
                "a start out of order\n{}",
                shown()
            );
        }
        Some(Action::Stop(it)) => {
            let range = match &after.phase {
                Phase::Stopping { range, .. } => range.clone(),
                phase => panic!("a stop in {phase:?}\n{}", shown()),
            };
            assert_eq!(
                range.end,
                it.child,
                "not the last of the range\n{}",
                shown()
            );
            let ends = after.ending.is_some();
            let later = (it.child + 1..len).filter(up).count();
            assert!(!ends || later == 0, "a stop out of order\n{}", shown());
        }
        Some(Action::Finish(_)) => {
            assert_eq!(
                (0..len).filter(up).count(),
                0,
                "an end with children up\n{}",
                shown()
            );
        }
        None => {
            let in_flight = [State::Starting, State::Stopping, State::CalledOff]
                .into_iter()
                .any(|state| count(state) > 0);
            let settled = after.ending.is_none()
                && after.mailbox.is_empty()
                && after.phase == Phase::Idle
                && (0..len).all(|i| is(i, &[State::Running, State::Down, State::Forgotten]));
            assert!(in_flight || settled, "stuck\n{}", shown());
        }
    }
}
