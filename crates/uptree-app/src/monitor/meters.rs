//! What is counted of children.
//!
//! Those of the lists are counted one by one, by their paths: as many as the code names. Children
//! that are many alike are counted together, under the supervisor that the code names, with
//! counters that are looked up once for each life of their own supervisor.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Unit, counter, gauge};
use uptree_supervisor::{Event, EventKind, ExitReason};

/// The kinds of exits that are told apart.
const KINDS: [&str; 6] = ["normal", "shutdown", "stop", "error", "panic", "killed"];

/// Which of [`KINDS`].
fn kind(reason: &ExitReason) -> usize {
    match reason {
        ExitReason::Normal => 0,
        ExitReason::Shutdown => 1,
        ExitReason::Stop(_) => 2,
        ExitReason::Panic(_) => 4,
        ExitReason::Killed => 5,
        _ => 3,
    }
}

/// Says what there is to count, and in which unit.
pub(super) fn describe() {
    use metrics::{describe_counter, describe_gauge};
    for (name, text) in [
        (
            "uptree_child_starts_total",
            "Starts of a child, the first included",
        ),
        (
            "uptree_child_restarts_total",
            "Starts of a child after its first",
        ),
        (
            "uptree_child_start_failures_total",
            "Starts of a child that failed",
        ),
        (
            "uptree_child_exits_total",
            "Ends of a child that had started, by reason",
        ),
        (
            "uptree_dynamic_starts_total",
            "Starts of the dynamic children below a supervisor",
        ),
        (
            "uptree_dynamic_restarts_total",
            "Restarts of dynamic children that failed below a supervisor",
        ),
        (
            "uptree_dynamic_exits_total",
            "Ends of the dynamic children below a supervisor that had started, by reason",
        ),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    describe_gauge!(
        "uptree_child_up",
        Unit::Count,
        "Whether a child is up: 1, also if it has done its work, or 0"
    );
    describe_gauge!(
        "uptree_child_start_seconds",
        Unit::Seconds,
        "How long the latest start of a child took"
    );
    describe_gauge!(
        "uptree_dynamic_up",
        Unit::Count,
        "How many dynamic children are up below a supervisor"
    );
    describe_gauge!(
        "uptree_boot_seconds",
        Unit::Seconds,
        "How long the boot took"
    );
}

/// How a child that had started ended, if the event says so.
fn exit<'a>(kind: &'a EventKind<'_>) -> Option<&'a ExitReason> {
    match kind {
        EventKind::Terminated(reason)
        | EventKind::Stopped { reason, .. }
        | EventKind::ShutdownError(reason) => Some(reason),
        // Told as terminated before.
        EventKind::LeftDown(reason) if !reason.is_abnormal() => Some(reason),
        _ => None,
    }
}

/// Counts what happens to a child of a list.
pub(super) fn count(event: &Event<'_>, path: &str) {
    let child = || path.to_owned();
    match &event.kind {
        EventKind::Starting => {
            counter!("uptree_child_starts_total", "child" => child()).increment(1);
            if event.incarnation() > 0 {
                counter!("uptree_child_restarts_total", "child" => child()).increment(1);
            }
            gauge!("uptree_child_up", "child" => child()).set(0);
        }
        EventKind::Ready { took } | EventKind::Ignored { took } => {
            gauge!("uptree_child_up", "child" => child()).set(1);
            gauge!("uptree_child_start_seconds", "child" => child()).set(took.as_secs_f64());
            if event.is_root() {
                gauge!("uptree_boot_seconds", "child" => child()).set(took.as_secs_f64());
            }
        }
        EventKind::Gone { .. } => gauge!("uptree_child_up", "child" => child()).set(0),
        EventKind::StartFailed(_) => {
            counter!("uptree_child_start_failures_total", "child" => child()).increment(1);
        }
        kind_of_event => {
            if let Some(reason) = exit(kind_of_event).filter(|_| event.was_ready()) {
                let reason = KINDS[kind(reason)];
                let exits =
                    counter!("uptree_child_exits_total", "child" => child(), "reason" => reason);
                exits.increment(1);
            }
        }
    }
}

/// Counts children that are many alike.
pub(super) struct Tally {
    starts: Counter,
    restarts: Counter,
    exits: [Counter; KINDS.len()],
    up: Gauge,
    /// How many of those that are up were counted here.
    up_here: AtomicU64,
}

impl Tally {
    /// The counters of the children below the supervisor at `path`.
    fn new(path: &str) -> Self {
        let path = || path.to_owned();
        Self {
            starts: counter!("uptree_dynamic_starts_total", "supervisor" => path()),
            restarts: counter!("uptree_dynamic_restarts_total", "supervisor" => path()),
            exits: KINDS.map(|reason| {
                counter!("uptree_dynamic_exits_total", "supervisor" => path(), "reason" => reason)
            }),
            up: gauge!("uptree_dynamic_up", "supervisor" => path()),
            up_here: AtomicU64::new(0),
        }
    }

    /// Counts what happens to one of many.
    pub(super) fn count(event: &Event<'_>) {
        let tally = event
            .kept()
            .get_or_init(|| Box::new(Self::new(&event.counted_under().to_string())));
        let Some(tally) = tally.downcast_ref::<Self>() else {
            return;
        };
        match &event.kind {
            EventKind::Starting => tally.starts.increment(1),
            EventKind::Restarting { .. } => tally.restarts.increment(1),
            EventKind::Ready { .. } => {
                tally.up_here.fetch_add(1, Ordering::Relaxed);
                tally.up.increment(1);
            }
            EventKind::Gone { .. } if event.was_ready() => {
                tally.up_here.fetch_sub(1, Ordering::Relaxed);
                tally.up.decrement(1);
            }
            kind_of_event => {
                if let Some(reason) = exit(kind_of_event).filter(|_| event.was_ready()) {
                    tally.exits[kind(reason)].increment(1);
                }
            }
        }
    }
}

/// A supervisor that is killed tells of no ends below it.
impl Drop for Tally {
    fn drop(&mut self) {
        let left = self.up_here.load(Ordering::Relaxed);
        if left > 0 {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 children")]
            self.up.decrement(left as f64);
        }
    }
}
