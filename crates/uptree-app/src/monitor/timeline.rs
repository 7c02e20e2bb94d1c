//! The boot timeline and the journal, as they are told to the outside.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What has happened to an app since it began. Offsets are counted from then.
///
/// It is bounded: of the starts of a boot the first thousand are kept, of later ones the latest
/// 256, of the journal the latest 512 entries. Dynamic children are in it only with what went
/// wrong. As JSON, times are in milliseconds, and their names end in `_ms`.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Timeline {
    /// For how long it has run.
    #[serde(rename = "age_ms", serialize_with = "ms")]
    pub age: Duration,
    /// How long its boot took; `None` if it has not booted.
    #[serde(rename = "boot_ms", serialize_with = "opt_ms")]
    pub boot: Option<Duration>,
    /// When its stop began.
    #[serde(rename = "stop_at_ms", serialize_with = "opt_ms")]
    pub stop_at: Option<Duration>,
    /// When nothing of it was left.
    #[serde(rename = "ended_at_ms", serialize_with = "opt_ms")]
    pub ended_at: Option<Duration>,
    /// Starts, in the order in which their turn came.
    pub starts: Vec<StartRecord>,
    /// How many starts are not kept.
    pub starts_left_out: u64,
    /// What failed, was restarted and stopped, in order.
    pub journal: Vec<JournalEntry>,
    /// How many entries are not kept.
    pub journal_left_out: u64,
}

impl Timeline {
    /// The start that is under way, of those the one that began last: of nested ones the innermost.
    pub fn underway(&self) -> Option<&StartRecord> {
        let underway = |start: &&StartRecord| start.outcome == StartOutcome::Underway;
        self.starts.iter().rev().find(underway)
    }

    /// Of the workers that were started during the boot, the one whose start took longest.
    pub fn slowest(&self) -> Option<&StartRecord> {
        let of_boot = self.starts.iter().filter(|start| !start.supervisor);
        of_boot.max_by_key(|start| start.took)
    }
}

/// One start of a child.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StartRecord {
    /// Its place in the tree.
    pub child: String,
    /// It is a supervisor: its start is that of its children.
    pub supervisor: bool,
    /// How often it had been started before.
    pub incarnation: u64,
    /// When its turn came.
    #[serde(rename = "at_ms", serialize_with = "ms")]
    pub at: Duration,
    /// How long it took; `None` while it is under way.
    #[serde(rename = "took_ms", serialize_with = "opt_ms")]
    pub took: Option<Duration>,
    /// How much of that it waited for something else, as it has said by
    /// [`Starting::waiting`](crate::Starting::waiting).
    #[serde(rename = "waited_ms", serialize_with = "ms")]
    pub waited: Duration,
    /// How much of that it worked.
    #[serde(rename = "worked_ms", serialize_with = "ms")]
    pub worked: Duration,
    /// What it has said to do, in order.
    pub steps: Vec<StepRecord>,
    /// How many steps before the last one are not kept.
    pub steps_left_out: u64,
    /// The latest of its progress.
    pub progress: Option<ProgressRecord>,
    /// How many attempts failed and were made again.
    pub attempts_failed: u64,
    /// What the latest of them failed with.
    pub last_failure: Option<String>,
    /// How it ended.
    pub outcome: StartOutcome,
    /// What it failed with, if it did.
    pub reason: Option<String>,
}

/// How a start ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StartOutcome {
    /// It has not.
    Underway,
    /// The child is ready.
    Ready,
    /// The child did all its work.
    Done,
    /// It failed.
    Failed,
    /// It was called off.
    CalledOff,
}

/// A step of a start.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// What is done, or what is waited for.
    pub name: String,
    /// It waits.
    pub waiting: bool,
    /// When it began.
    #[serde(rename = "at_ms", serialize_with = "ms")]
    pub at: Duration,
    /// How long it took; `None` while it is under way.
    #[serde(rename = "took_ms", serialize_with = "opt_ms")]
    pub took: Option<Duration>,
}

/// The progress of a start.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProgressRecord {
    /// When it was told.
    #[serde(rename = "at_ms", serialize_with = "ms")]
    pub at: Duration,
    /// So much is done,
    pub done: u64,
    /// of so much,
    pub total: u64,
    /// and this is worked on.
    pub what: String,
}

/// Something that happened to a child after its start, or made its start fail.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// When.
    #[serde(rename = "at_ms", serialize_with = "ms")]
    pub at: Duration,
    /// Its place in the tree.
    pub child: String,
    /// How often it had been started before.
    pub incarnation: u64,
    /// What.
    pub what: Happened,
    /// How it ended, or what its start failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many more restarts its supervisor allowed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_left: Option<usize>,
    /// How long its restart waits.
    #[serde(
        rename = "delay_ms",
        serialize_with = "opt_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub delay: Option<Duration>,
    /// How long its stop took.
    #[serde(
        rename = "took_ms",
        serialize_with = "opt_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub took: Option<Duration>,
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happened {
    /// Its start failed.
    StartFailed,
    /// It failed, and is restarted.
    Restarting,
    /// Its restart waits.
    BackingOff,
    /// It ended, and stays down.
    LeftDown,
    /// It failed once too often: its supervisor gives up.
    MaxIntensity,
    /// It is significant, and its end ends its supervisor.
    AutoShutdown,
    /// It is a supervisor, and ends unasked.
    Ending,
    /// Its time was over, and it was killed.
    Killed,
    /// It has stopped, as it was asked.
    Stopped,
    /// It did not stop as it should have.
    ShutdownError,
    /// It was killed and is still there.
    Stuck,
}

/// Milliseconds, to the microsecond.
pub(super) fn ms<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

#[expect(clippy::ref_option, reason = "serde passes it so")]
pub(super) fn opt_ms<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => ms(time, serializer),
        None => serializer.serialize_none(),
    }
}
