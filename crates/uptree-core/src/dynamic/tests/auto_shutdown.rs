use super::*;
use crate::AutoShutdown::{AllSignificant, AnySignificant};

#[track_caller]
fn check(auto_shutdown: AutoShutdown, children: &str, script: &[(&str, &str)]) {
    booted(supervisor(children).auto_shutdown(auto_shutdown)).play(script);
}

#[test]
fn the_end_of_a_significant_child_ends_it() {
    for auto in [AnySignificant, AllSignificant] {
        check(
            auto,
            "transient significant, permanent",
            &[
                (
                    "exited 0 normal",
                    "left_down 0, auto_shutdown 0, forgotten 0, stop 1",
                ),
                ("exited 1 shutdown", "forgotten 1, finish AutoShutdown(0)"),
            ],
        );
        check(
            auto,
            "temporary significant",
            &[(
                "exited 0 abnormal",
                "child_terminated 0, left_down 0, auto_shutdown 0, forgotten 0, \
                 finish AutoShutdown(0)",
            )],
        );
    }
}

#[test]
fn the_end_of_another_or_a_restart_does_not() {
    for auto in [AnySignificant, AllSignificant] {
        check(
            auto,
            "temporary, transient significant",
            &[
                ("exited 0 normal", "left_down 0, forgotten 0"),
                (
                    "exited 1 abnormal",
                    "child_terminated 1, restarting 1 left 0, start 1",
                ),
                ("ignored 1", "forgotten 1"),
            ],
        );
    }
    booted(supervisor("transient")).play(&[("exited 0 normal", "left_down 0, forgotten 0")]);
}

#[test]
fn all_means_the_last_of_them() {
    check(
        AllSignificant,
        "transient significant, temporary significant, temporary",
        &[
            ("exited 0 normal", "left_down 0, forgotten 0"),
            (
                "exited 1 normal",
                "left_down 1, auto_shutdown 1, forgotten 1, stop 2",
            ),
        ],
    );
}

#[test]
fn one_that_is_terminated_neither_ends_it_nor_holds_it_open() {
    check(
        AllSignificant,
        "temporary significant, temporary significant",
        &[
            ("call terminate 0", "stop 0"),
            ("exited 0 normal", "forgotten 0, answer stopped"),
            (
                "exited 1 normal",
                "left_down 1, auto_shutdown 1, forgotten 1, finish AutoShutdown(1)",
            ),
        ],
    );
    // As if it were gone already: in OTP it would be.
    check(
        AllSignificant,
        "temporary significant, temporary significant, temporary significant",
        &[
            ("call start temporary significant", "start 3"),
            ("call terminate 3", "stop 3"),
            ("call terminate 0", "stop 0"),
            ("exited 2 normal", "left_down 2, forgotten 2"),
            (
                "exited 1 normal",
                "left_down 1, auto_shutdown 1, forgotten 1",
            ),
            ("exited 0 normal", "forgotten 0, answer stopped"),
            (
                "exited 3 normal",
                "forgotten 3, answer exited, answer stopped, finish AutoShutdown(1)",
            ),
        ],
    );
}

#[test]
fn one_that_starts_or_is_being_restarted_holds_it_open() {
    check(
        AllSignificant,
        "transient significant, transient significant",
        &[
            (
                "exited 0 abnormal",
                "child_terminated 0, restarting 0 left 0, start 0",
            ),
            ("exited 0 abnormal", "start_error 0, wait 0 0ns"),
            ("exited 1 normal", "left_down 1, forgotten 1"),
            ("call start transient significant", "start 1"),
            ("call terminate 0", "forgotten 0, ok"),
            ("started 1", "answer started"),
            (
                "exited 1 normal",
                "left_down 1, auto_shutdown 1, forgotten 1, finish AutoShutdown(1)",
            ),
        ],
    );
}

#[test]
fn a_child_that_does_not_fit_is_refused() {
    booted(supervisor("")).play(&[
        ("call start transient significant", "refused BadCombination"),
        ("call start permanent", "start 0"),
    ]);
    check(
        AnySignificant,
        "",
        &[
            ("call start permanent significant", "refused BadCombination"),
            ("call start transient significant", "start 0"),
        ],
    );
}
