use super::*;

#[test]
fn children_are_started_one_after_another() {
    Player::new(supervisor(OneForOne, "permanent, transient, temporary")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("started 2", "booted"),
    ]);
}

#[test]
fn a_supervisor_without_children_boots_and_ends() {
    Player::new(supervisor(OneForAll, "")).play(&[
        ("boot", "booted"),
        ("done", "-"),
        ("shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_child_that_is_ignored_is_kept_unless_it_is_temporary() {
    let children = "permanent, transient, temporary, permanent";
    Player::new(supervisor(OneForOne, children)).play(&[
        ("boot", "start 0"),
        ("ignored 0", "start 1"),
        ("ignored 1", "start 2"),
        ("ignored 2", "forgotten 2, start 3"),
        ("started 3", "booted"),
        ("call restart 0", "start 0"),
        ("started 0", "answer started"),
        ("call restart 1", "start 1"),
        ("ignored 1", "answer ignored"),
        // The free slot is at the end of the order.
        ("call start permanent", "start 2"),
        ("started 2", "answer started"),
        ("shutdown", "stop 2"),
        ("exited 2 shutdown", "stop 3"),
        ("exited 3 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish Shutdown"),
    ]);
}

#[test]
fn a_start_that_fails_stops_what_had_started_in_reverse() {
    Player::new(supervisor(OneForOne, "permanent, permanent, permanent")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("exited 2 abnormal", "start_error 2, stop 1"),
        ("exited 1 shutdown", "stop 0"),
        ("exited 0 shutdown", "finish StartFailed(2)"),
    ]);
}

#[test]
fn a_start_that_fails_leaves_the_later_ones_alone() {
    Player::new(supervisor(OneForAll, "temporary, temporary, permanent")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("exited 1 normal", "start_error 1, forgotten 1, stop 0"),
        ("exited 0 normal", "forgotten 0, finish StartFailed(1)"),
    ]);
}

#[test]
fn what_ends_during_the_boot_is_looked_at_after_it() {
    Player::new(supervisor(OneForOne, "permanent, temporary, permanent")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("exited 1 abnormal", "-"),
        ("exited 0 normal", "-"),
        (
            "started 2",
            "booted, child_terminated 1, left_down 1, forgotten 1, \
             child_terminated 0, restarting 0 left 0, start 0",
        ),
    ]);
}

#[test]
fn what_ended_is_found_dead_when_the_boot_fails() {
    Player::new(supervisor(OneForOne, "permanent, transient, permanent")).play(&[
        ("boot", "start 0"),
        ("started 0", "start 1"),
        ("started 1", "start 2"),
        ("exited 1 normal", "-"),
        ("exited 0 normal", "-"),
        // The answer of a permanent child should have been another.
        (
            "exited 2 abnormal",
            "start_error 2, shutdown_error 0, finish StartFailed(2)",
        ),
    ]);
}
