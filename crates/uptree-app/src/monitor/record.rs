//! The recorder: takes note of events, within bounds.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use uptree_supervisor::{ChildType, Event, EventKind, ExitReason};

use super::timeline::{
    Happened, JournalEntry, ProgressRecord, StartOutcome, StartRecord, StepRecord, Timeline,
};

/// How many starts of a boot are kept.
const BOOT_STARTS: usize = 1000;

/// How many later ones.
const LATER_STARTS: usize = 256;

/// How many entries of the journal.
const JOURNAL: usize = 512;

/// How many steps of one start.
const STEPS: usize = 64;

/// How much of a text that a child gives, in characters.
const TEXT: usize = 1000;

/// What is kept of what happened.
#[derive(Debug, Default)]
pub(super) struct Record {
    boot: Vec<StartRecord>,
    later: VecDeque<StartRecord>,
    later_left_out: u64,
    boot_left_out: u64,
    /// The starts that are under way, by path.
    underway: HashMap<String, Kept>,
    journal: VecDeque<JournalEntry>,
    journal_left_out: u64,
    booted: Option<Duration>,
    stop_at: Option<Duration>,
    ended_at: Option<Duration>,
}

/// Where a start is kept.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Boot(usize),
    /// The so manieth of the later ones, those included that are not kept any more.
    Later(u64),
}

impl Record {
    /// Takes note of an event that happened at `at` to the child at `path`.
    pub(super) fn note(&mut self, event: &Event<'_>, path: String, at: Duration) {
        match &event.kind {
            EventKind::Starting => self.on_starting(event, path, at),
            EventKind::Step(name) => self.on_step(&path, name, false, at),
            EventKind::Waiting(what) => self.on_step(&path, what, true, at),
            EventKind::Progress { done, total, what } => {
                if let Some(start) = self.start(&path) {
                    start.progress = Some(ProgressRecord {
                        at,
                        done: *done,
                        total: *total,
                        what: text(what),
                    });
                }
            }
            EventKind::AttemptFailed(error) => {
                if let Some(start) = self.start(&path) {
                    start.attempts_failed += 1;
                    start.last_failure = Some(text(&chain(*error)));
                }
            }
            EventKind::Ready { .. } => {
                self.close(&path, at, StartOutcome::Ready, None);
                if event.is_root() {
                    self.booted = Some(at);
                }
            }
            EventKind::Ignored { .. } => self.close(&path, at, StartOutcome::Done, None),
            EventKind::Stopping(_) => {
                if self.start(&path).is_none() {
                    return;
                }
                // Its end is not told but as that of a stop.
                self.close(&path, at, StartOutcome::CalledOff, None);
            }
            _ => self.on_end(event, &path, at),
        }
    }

    fn on_starting(&mut self, event: &Event<'_>, path: String, at: Duration) {
        let start = StartRecord {
            child: path.clone(),
            supervisor: event.child_type() == ChildType::Supervisor,
            incarnation: event.incarnation(),
            at,
            took: None,
            waited: Duration::ZERO,
            worked: Duration::ZERO,
            steps: Vec::new(),
            steps_left_out: 0,
            progress: None,
            attempts_failed: 0,
            last_failure: None,
            outcome: StartOutcome::Underway,
            reason: None,
        };
        let kept = if self.booted.is_some() {
            if self.later.len() == LATER_STARTS {
                self.later.pop_front();
                self.later_left_out += 1;
            }
            self.later.push_back(start);
            Kept::Later(self.later_left_out + self.later.len() as u64 - 1)
        } else if self.boot.len() < BOOT_STARTS {
            self.boot.push(start);
            Kept::Boot(self.boot.len() - 1)
        } else {
            self.boot_left_out += 1;
            return;
        };
        self.underway.insert(path, kept);
    }

    fn on_step(&mut self, path: &str, name: &str, waiting: bool, at: Duration) {
        let Some(start) = self.start(path) else {
            return;
        };
        if let Some(last) = start.steps.last()
            && (last.name == name && last.waiting == waiting)
        {
            // It is said again in each round of a loop.
            return;
        }
        end_step(start, at);
        if start.steps.len() == STEPS {
            start.steps.pop();
            start.steps_left_out += 1;
        }
        start.steps.push(StepRecord {
            name: text(name),
            waiting,
            at,
            took: None,
        });
    }

    /// What ends a start that fails, or comes after one.
    fn on_end(&mut self, event: &Event<'_>, path: &str, at: Duration) {
        let entry = |what| JournalEntry {
            at,
            child: path.to_owned(),
            incarnation: event.incarnation(),
            what,
            reason: None,
            restarts_left: None,
            delay: None,
            took: None,
        };
        let because = |what, reason: Option<&ExitReason>| JournalEntry {
            reason: reason.map(|reason| text(&reason.to_string())),
            ..entry(what)
        };
        let entry = match &event.kind {
            EventKind::StartFailed(reason) => because(Happened::StartFailed, Some(reason)),
            EventKind::LeftDown(reason) => because(Happened::LeftDown, Some(reason)),
            EventKind::MaxIntensity { reason } => because(Happened::MaxIntensity, *reason),
            EventKind::ShutdownError(reason) => because(Happened::ShutdownError, Some(reason)),
            EventKind::Restarting {
                reason,
                left,
                delay,
            } => JournalEntry {
                restarts_left: Some(*left),
                delay: *delay,
                ..because(Happened::Restarting, *reason)
            },
            EventKind::Stopped { reason, took } => JournalEntry {
                took: Some(*took),
                ..because(Happened::Stopped, Some(reason))
            },
            EventKind::BackingOff { delay } => JournalEntry {
                delay: Some(*delay),
                ..entry(Happened::BackingOff)
            },
            EventKind::AutoShutdown => entry(Happened::AutoShutdown),
            EventKind::Ending => entry(Happened::Ending),
            EventKind::Killing { .. } => entry(Happened::Killed),
            EventKind::Stuck { .. } => entry(Happened::Stuck),
            // What is decided about it, which follows, has the reason.
            _ => return,
        };
        if matches!(entry.what, Happened::StartFailed | Happened::Stuck) {
            let reason = entry.reason.clone();
            self.close(path, at, StartOutcome::Failed, reason);
        }
        let is_over = !matches!(
            entry.what,
            Happened::Ending | Happened::Killed | Happened::AutoShutdown | Happened::BackingOff
        );
        if is_over && event.child_type() == ChildType::Supervisor {
            self.close_below(&format!("{path}/"), at);
        }
        if self.journal.len() == JOURNAL {
            self.journal.pop_front();
            self.journal_left_out += 1;
        }
        self.journal.push_back(entry);
    }

    /// The tree begins to stop.
    pub(super) fn on_stop(&mut self, at: Duration) {
        self.stop_at.get_or_insert(at);
    }

    /// Nothing of the tree is left.
    pub(super) fn on_ended(&mut self, at: Duration) {
        self.on_stop(at);
        self.close_below("", at);
        self.ended_at.get_or_insert(at);
    }

    fn start(&mut self, path: &str) -> Option<&mut StartRecord> {
        let kept = *self.underway.get(path)?;
        self.kept(kept)
    }

    fn kept(&mut self, kept: Kept) -> Option<&mut StartRecord> {
        match kept {
            Kept::Boot(index) => self.boot.get_mut(index),
            Kept::Later(number) => {
                let index = number.checked_sub(self.later_left_out)?;
                self.later.get_mut(usize::try_from(index).ok()?)
            }
        }
    }

    /// The start of the child at `path`, if it is under way, has ended.
    fn close(&mut self, path: &str, at: Duration, outcome: StartOutcome, reason: Option<String>) {
        let Some(kept) = self.underway.remove(path) else {
            return;
        };
        if let Some(start) = self.kept(kept) {
            end_step(start, at);
            start.outcome = outcome;
            start.reason = reason;
            start.took = Some(at.saturating_sub(start.at));
            update(start, at);
        }
    }

    /// A supervisor is gone, and with it whatever was starting: if it was killed, nobody tells.
    fn close_below(&mut self, above: &str, at: Duration) {
        let below = self.underway.keys().filter(|path| path.starts_with(above));
        let below: Vec<_> = below.cloned().collect();
        for path in below {
            self.close(&path, at, StartOutcome::CalledOff, None);
        }
    }

    /// What there is to tell at `now`.
    pub(super) fn timeline(&self, now: Duration) -> Timeline {
        let mut starts: Vec<_> = self.boot.iter().chain(&self.later).cloned().collect();
        for start in &mut starts {
            update(start, now);
        }
        Timeline {
            age: self.ended_at.unwrap_or(now),
            boot: self.booted,
            stop_at: self.stop_at,
            ended_at: self.ended_at,
            starts,
            starts_left_out: self.boot_left_out + self.later_left_out,
            journal: self.journal.iter().cloned().collect(),
            journal_left_out: self.journal_left_out,
        }
    }
}

/// The step that is under way, if any, has ended.
fn end_step(start: &mut StartRecord, at: Duration) {
    if let Some(step) = start.steps.last_mut()
        && step.took.is_none()
    {
        let took = at.saturating_sub(step.at);
        step.took = Some(took);
        start.waited += if step.waiting { took } else { Duration::ZERO };
    }
}

/// Tells what of a start was waiting and what was work, as far as it has come by `now`.
fn update(start: &mut StartRecord, now: Duration) {
    let took = start.took.unwrap_or_else(|| now.saturating_sub(start.at));
    if let Some(step) = start.steps.last()
        && step.waiting
        && step.took.is_none()
    {
        start.waited += now.saturating_sub(step.at);
    }
    start.worked = took.saturating_sub(start.waited);
}

/// As much of a text as is kept.
fn text(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
