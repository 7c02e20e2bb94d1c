use super::*;
use crate::AutoShutdown::{AllSignificant, AnySignificant, Never};

#[track_caller]
fn check(auto_shutdown: AutoShutdown, children: &str, script: &[(&str, &str)]) {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let machine = supervisor(strategy, children).auto_shutdown(auto_shutdown);
        let len = machine.children.len();
        Player::new(machine).booted(len).play(script);
    }
}

#[test]
fn a_supervisor_that_never_does_goes_on() {
    check(
        Never,
        "transient, permanent",
        &[("exited 0 normal", "left_down 0")],
    );
}

#[test]
fn a_transient_child_that_ends_in_order_ends_it() {
    for auto in [AnySignificant, AllSignificant] {
        for end in ["normal", "shutdown", "shutdown_with"] {
            let ends = format!("exited 0 {end}");
            check(
                auto,
                "transient significant, permanent",
                &[
                    (&ends, "left_down 0, auto_shutdown 0, stop 1"),
                    ("exited 1 shutdown", "finish AutoShutdown(0)"),
                ],
            );
        }
    }
}

#[test]
fn a_transient_child_that_is_restarted_does_not() {
    check(
        AnySignificant,
        "transient significant",
        &[(
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, start 0",
        )],
    );
}

#[test]
fn a_temporary_child_that_ends_in_any_way_ends_it() {
    let said = "left_down 0, auto_shutdown 0, forgotten 0, finish AutoShutdown(0)";
    let reported = format!("child_terminated 0, {said}");
    for auto in [AnySignificant, AllSignificant] {
        for end in ["normal", "shutdown", "shutdown_with"] {
            let ends = format!("exited 0 {end}");
            check(auto, "temporary significant", &[(&ends, said)]);
        }
        for end in ["killed", "abnormal"] {
            let ends = format!("exited 0 {end}");
            check(auto, "temporary significant", &[(&ends, &reported)]);
        }
    }
}

#[test]
fn a_child_that_is_not_significant_does_not() {
    for auto in [AnySignificant, AllSignificant] {
        check(
            auto,
            "transient, temporary, permanent",
            &[
                ("exited 0 normal", "left_down 0"),
                ("exited 1 normal", "left_down 1, forgotten 1"),
            ],
        );
        check(
            auto,
            "transient, temporary significant",
            &[("exited 0 normal", "left_down 0")],
        );
    }
}

#[test]
fn any_means_the_first_of_them() {
    check(
        AnySignificant,
        "transient significant, transient significant",
        &[
            ("exited 1 normal", "left_down 1, auto_shutdown 1, stop 0"),
            ("exited 0 normal", "finish AutoShutdown(1)"),
        ],
    );
}

#[test]
fn all_means_the_last_of_them() {
    check(
        AllSignificant,
        "transient significant, permanent, temporary significant",
        &[
            ("exited 0 normal", "left_down 0"),
            (
                "exited 2 normal",
                "left_down 2, auto_shutdown 2, forgotten 2, stop 1",
            ),
            ("exited 1 shutdown", "finish AutoShutdown(2)"),
        ],
    );
}

#[test]
fn one_that_is_terminated_neither_ends_it_nor_holds_it_open() {
    check(
        AllSignificant,
        "transient significant, temporary significant, transient significant",
        &[
            ("call terminate 0", "stop 0"),
            ("exited 0 normal", "answer stopped"),
            ("call terminate 1", "stop 1"),
            ("exited 1 normal", "forgotten 1, answer stopped"),
            (
                "exited 2 normal",
                "left_down 2, auto_shutdown 2, finish AutoShutdown(2)",
            ),
        ],
    );
    check(
        AnySignificant,
        "transient significant",
        &[
            ("call terminate 0", "stop 0"),
            ("exited 0 normal", "answer stopped"),
        ],
    );
}

#[test]
fn one_that_had_ended_when_it_is_terminated_does_not_end_it() {
    check(
        AnySignificant,
        "transient significant, permanent",
        &[
            ("call terminate 1", "stop 1"),
            ("call terminate 0", "-"),
            ("exited 0 normal", "-"),
            ("exited 1 shutdown", "answer stopped, ok"),
            ("call ask", "ok"),
        ],
    );
}

#[test]
fn one_that_was_ignored_does_not_hold_it_open() {
    let children = "transient significant, transient significant";
    let machine = supervisor(OneForOne, children).auto_shutdown(AllSignificant);
    Player::new(machine).play(&[
        ("boot", "start 0"),
        ("ignored 0", "start 1"),
        ("started 1", "booted"),
        (
            "exited 1 normal",
            "left_down 1, auto_shutdown 1, finish AutoShutdown(1)",
        ),
    ]);
}

#[test]
fn a_restart_that_is_ignored_does_not_end_it() {
    for auto in [AnySignificant, AllSignificant] {
        check(
            auto,
            "transient significant",
            &[
                (
                    "exited 0 abnormal",
                    "child_terminated 0, restarting 0 left 0, start 0",
                ),
                ("ignored 0", "-"),
            ],
        );
    }
}

#[test]
fn one_that_is_being_restarted_holds_it_open() {
    let children = "transient significant, transient significant";
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
    let mut machine = supervisor(OneForOne, children).auto_shutdown(AllSignificant);
    machine.intensity = Intensity::new(2, Duration::from_secs(5));
    machine.set_backoff(0, backoff);
    Player::new(machine).booted(2).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 1, start 0",
        ),
        ("started 0", "-"),
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, wait 0 1s",
        ),
        ("exited 1 normal", "left_down 1"),
        ("retry 0", "start 0"),
        ("started 0", "-"),
        (
            "exited 0 normal",
            "left_down 0, auto_shutdown 0, finish AutoShutdown(0)",
        ),
    ]);
}

#[test]
fn siblings_taken_down_with_a_group_do_not_end_it() {
    let children = "transient significant, temporary significant";
    let machine = supervisor(OneForAll, children).auto_shutdown(AnySignificant);
    Player::new(machine).booted(2).play(&[
        (
            "exited 0 abnormal",
            "child_terminated 0, restarting 0 left 0, stop 1",
        ),
        ("exited 1 normal", "forgotten 1, start 0"),
        ("started 0", "-"),
    ]);
}

#[test]
fn a_child_that_does_not_fit_is_refused() {
    check(
        Never,
        "permanent",
        &[
            ("call start transient significant", "refused BadCombination"),
            ("call start transient", "start 1"),
        ],
    );
    check(
        AllSignificant,
        "permanent",
        &[
            ("call start permanent significant", "refused BadCombination"),
            ("call start transient significant", "start 1"),
            ("started 1", "answer started"),
            ("exited 1 normal", "left_down 1, auto_shutdown 1, stop 0"),
        ],
    );
}
