//! Waiting for those who are migrating.

use std::time::Duration;

use uptree_app::Starting;

use crate::{
    MigrateError,
    error::Chain,
    files::File,
    plan::Plan,
    pulse::Pulse,
    retry::{Backoff, Reminder},
};

/// The wait of those who do not migrate themselves. What is waited for is said first, then it
/// [sleeps](Self::sleep).
pub(crate) struct Wait {
    backoff: Backoff,
    reminder: Reminder,
    applied: usize,
    /// What is waited for, as the timeline has it.
    what: &'static str,
}

impl Wait {
    pub(crate) fn new() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            reminder: Reminder::new(),
            applied: 0,
            what: "another process",
        }
    }

    /// Whether it is time to say again what is waited for, and worth to look who is migrating.
    pub(crate) fn is_due(&self) -> bool {
        self.reminder.would_be_due()
    }

    /// Another process is migrating: as long as it does, things move on.
    pub(crate) fn for_another(
        &mut self,
        pulse: &mut Pulse<'_>,
        plan: &Plan<'_>,
        holder: Option<&str>,
    ) {
        self.what = "another process, which migrates";
        let Some(first) = plan.steps.first() else {
            return;
        };
        pulse.beat(plan.applied, &format!("{first}, by another process"));
        if self.reminder.is_due() {
            let holder = holder.unwrap_or("another process");
            tracing::info!(file = %first, holder, "waiting: it is applied by another process");
        }
        self.moves_on(plan);
    }

    /// This one may not migrate. While somebody does, or has, things move on; else the start
    /// timeout counts.
    pub(crate) fn for_the_missing(
        &mut self,
        cx: &Starting,
        pulse: &mut Pulse<'_>,
        plan: &Plan<'_>,
        holder: Option<&str>,
    ) {
        self.what = "another process to migrate";
        let Some(first) = plan.steps.first() else {
            return;
        };
        let missing = MigrateError::Missing {
            first: first.to_string(),
            more: plan.steps.len() - 1,
        };
        if self.reminder.is_due() {
            let holder = holder.unwrap_or("nobody");
            tracing::info!(holder, "{missing}; waiting for another to apply it");
        }
        if self.moves_on(plan) || holder.is_some() {
            pulse.beat(plan.applied, &format!("{first}, by another process"));
        } else {
            cx.attempt_failed(missing.with_help());
        }
    }

    /// This one may not read the ledger, and only waits: the start timeout counts.
    pub(crate) fn for_a_grant(&mut self, cx: &Starting, error: MigrateError) {
        self.what = "the right to read the ledger";
        if self.reminder.is_due() {
            tracing::warn!("{}; trying again", Chain(&error));
        }
        cx.attempt_failed(error.with_help());
    }

    /// Somebody else writes, who may never end: the start timeout counts.
    pub(crate) fn for_a_writer(&mut self, cx: &Starting, error: MigrateError) {
        self.what = "another writer";
        if self.reminder.is_due() {
            tracing::warn!("{}; trying again", Chain(&error));
        }
        cx.attempt_failed(error.with_help());
    }

    /// Another program, such as sqlx, waits for the lock: it goes first.
    pub(crate) fn for_a_turn(&mut self, first: &File) {
        self.what = "another program, which goes first";
        if self.reminder.is_due() {
            tracing::info!(file = %first, "another program waits for the lock: it goes first");
        }
        self.backoff.reset();
    }

    /// Sleeps for a moment, longer each time that nothing has moved on.
    pub(crate) async fn sleep(&mut self, cx: &Starting, pulse: &Pulse<'_>) {
        cx.waiting(self.what);
        // A pause must not outlast a short start timeout.
        tokio::select! {
            () = self.backoff.wait(cx) => {}
            () = pulse.is_due() => {}
        }
    }

    /// Whether more is applied than before. It is no reason to ask more often: of two hundred who
    /// did, each would hold up the one that works.
    fn moves_on(&mut self, plan: &Plan<'_>) -> bool {
        let before = std::mem::replace(&mut self.applied, plan.applied);
        plan.applied > before
    }
}
