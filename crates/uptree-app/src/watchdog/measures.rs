//! What is measured of blocked threads and stalls.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::StallCause;

/// Says what there is to measure, and in which unit.
pub(super) fn describe() {
    describe_counter!(
        "uptree_blocks_total",
        Unit::Count,
        "How often the code of a child has blocked a worker thread for a second or more"
    );
    describe_gauge!(
        "uptree_blocked_workers",
        Unit::Count,
        "How many worker threads the code of children blocks now"
    );
    describe_counter!(
        "uptree_stalls_total",
        Unit::Count,
        "How often the process has stalled, by what did not work"
    );
    describe_gauge!(
        "uptree_stalled",
        Unit::Count,
        "Whether the process stalls: 0 or 1"
    );
}

/// Without the child's path: dynamic ones may have any number of them. The log has it.
pub(super) fn count_blocked() {
    counter!("uptree_blocks_total").increment(1);
}

pub(super) fn count_stall(cause: StallCause) {
    let cause = match cause {
        StallCause::Runtime => "runtime",
        StallCause::AcceptEnded => "accept_ended",
        StallCause::AcceptFails => "accept_fails",
        StallCause::AcceptSilent => "accept_silent",
    };
    counter!("uptree_stalls_total", "cause" => cause).increment(1);
}

/// At each look.
pub(super) fn set(blocked: usize, stalls: bool) {
    let blocked = u32::try_from(blocked).unwrap_or(u32::MAX);
    gauge!("uptree_blocked_workers").set(blocked);
    gauge!("uptree_stalled").set(f64::from(u8::from(stalls)));
}
