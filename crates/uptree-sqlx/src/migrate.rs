//! Migrating: what is the same for all databases.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout};
use uptree_app::Starting;

use crate::{
    MigrateError,
    error::Chain,
    files::File,
    plan::{Note, Plan, plan},
    pulse::Pulse,
    retry::{Backoff, Reminder, connect},
    session::{Brake, Failure, Lock, Migratable, Session},
};

/// How often a file is tried whose connection is lost while it runs: it may be what takes the
/// server down.
const TRIES: u32 = 5;

/// How long a session may take to end once its start is called off: less than the child's grace.
const STOP: Duration = Duration::from_secs(4);

/// Applies what the ledger of `database` does not have of `files`.
///
/// # Cancel safety
///
/// Dropped, it leaves no lock and nothing half-done, but the statement under way may take a second
/// to end on the server. When the start is called off it stops it there first.
pub(crate) async fn migrate<M: Migratable>(
    cx: &Starting,
    database: &M,
    files: &[File],
    ledger: &str,
) -> Result<(), MigrateError> {
    let brake = database.brake();
    let mut sessions = pin!(run_sessions(cx, database, &brake, files, ledger));
    tokio::select! {
        outcome = &mut sessions => return outcome,
        () = cx.cancelled() => {}
    }
    // It goes on, so that it can end in good order: it starts nothing new, and what it has started
    // is stopped.
    let stopped = async {
        tokio::select! {
            _ = &mut sessions => {}
            () = brake.engage() => {}
        }
    };
    if timeout(STOP, stopped).await.is_err() {
        tracing::warn!("the migration under way cannot be cancelled: its connection is dropped");
    }
    Err(MigrateError::Cancelled)
}

/// Runs sessions until one has reached the end, or fails for good.
async fn run_sessions<M: Migratable>(
    cx: &Starting,
    database: &M,
    brake: &M::Brake,
    files: &[File],
    ledger: &str,
) -> Result<(), MigrateError> {
    let mut run = Run {
        cx,
        files,
        ledger,
        pulse: Pulse::new(cx, files.len()),
        notes: Vec::new(),
        rows: 0,
        tries: 0,
    };
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        cx.step("connect");
        let mut session = connect(cx, database, || database.session(ledger, brake)).await?;
        let outcome = run.session(&mut session).await;
        session.close().await;
        let error = match outcome {
            Err(error) if error.as_sqlx().is_some_and(M::Session::may_pass) => error,
            outcome => return outcome,
        };
        if cx.is_cancelled() || run.tries >= TRIES {
            return Err(error);
        }
        tracing::warn!("{}; trying again", Chain(&error));
        cx.attempt_failed(error.with_help());
        backoff.wait(cx).await;
    }
}

struct Run<'a> {
    cx: &'a Starting,
    files: &'a [File],
    ledger: &'a str,
    pulse: Pulse<'a>,
    /// What has been told.
    notes: Vec<Note>,
    /// How many rows the ledger had.
    rows: usize,
    /// How often a file has been begun since the ledger last grew.
    tries: u32,
}

impl<'a> Run<'a> {
    async fn session(&mut self, session: &mut impl Session) -> Result<(), MigrateError> {
        let mut wait = Wait::new();
        while !self.cx.is_cancelled() {
            let plan = self.plan(session).await?;
            self.tell(&plan);
            let Some(&first) = plan.steps.first() else {
                let applied = plan.applied;
                tracing::info!(applied, "the schema is up to date");
                return Ok(());
            };
            match session.try_lock(first).await {
                Ok(Lock::Taken) => {}
                Ok(Lock::Elsewhere) => {
                    wait.for_another(self.cx, &mut self.pulse, session, &plan, first)
                        .await;
                    continue;
                }
                Ok(Lock::Busy(error)) => {
                    wait.for_a_writer(self.cx, unlockable(error)).await;
                    continue;
                }
                Err(error) => return Err(unlockable(error)),
            }
            // Only now is the ledger what it will be when the file is applied.
            let plan = self.plan(session).await?;
            if plan.steps.first().map(|file| file.version()) == Some(first.version()) {
                self.apply(session, &plan).await?;
            } else {
                session.unlock().await;
            }
        }
        Err(MigrateError::Cancelled)
    }

    async fn plan(&mut self, session: &mut impl Session) -> Result<Plan<'a>, MigrateError> {
        let rows = session.ledger().await;
        let rows = rows.map_err(|error| self.unreadable(error))?;
        if rows.len() > self.rows {
            self.rows = rows.len();
            self.tries = 0;
        }
        plan(&rows, self.files, self.ledger)
    }

    /// Applies files for as long as the lock is held.
    async fn apply(
        &mut self,
        session: &mut impl Session,
        plan: &Plan<'_>,
    ) -> Result<(), MigrateError> {
        for (done, file) in (plan.applied..).zip(&plan.steps) {
            if self.cx.is_cancelled() {
                return Err(MigrateError::Cancelled);
            }
            self.tries += 1;
            let since = Instant::now();
            let work = session.apply(file);
            let applied = self.pulse.during(work, done, &file.to_string()).await;
            applied.map_err(|failure| failed(file, failure))?;
            self.tries = 0;
            let took = since.elapsed();
            tracing::info!(file = %file, ?took, "migration applied");
            if !session.is_locked() {
                break;
            }
        }
        Ok(())
    }

    /// Logs what is odd, once.
    fn tell(&mut self, plan: &Plan<'_>) {
        for note in &plan.notes {
            if !self.notes.contains(note) {
                tracing::warn!("{note}");
                self.notes.push(note.clone());
            }
        }
    }

    fn unreadable(&self, error: sqlx::Error) -> MigrateError {
        MigrateError::Ledger {
            ledger: self.ledger.to_owned(),
            source: error.into(),
        }
    }
}

fn unlockable(error: sqlx::Error) -> MigrateError {
    let source = error.into();
    MigrateError::Lock { source }
}

fn failed(file: &File, failure: Failure) -> MigrateError {
    let file = file.to_string();
    match failure {
        Failure::File(place, error) => MigrateError::Failed {
            file,
            place,
            source: error.into(),
        },
        Failure::Ledger(error) => MigrateError::Entry {
            file,
            source: error.into(),
        },
    }
}

/// The wait of those who did not get the lock.
struct Wait {
    backoff: Backoff,
    reminder: Reminder,
    applied: usize,
}

impl Wait {
    fn new() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            reminder: Reminder::new(),
            applied: 0,
        }
    }

    /// Another process is migrating: as long as it does, things move on.
    async fn for_another(
        &mut self,
        cx: &Starting,
        pulse: &mut Pulse<'_>,
        session: &mut impl Session,
        plan: &Plan<'_>,
        first: &File,
    ) {
        pulse.beat(plan.applied, &format!("{first}, by another process"));
        if self.reminder.is_due() {
            let holder = session.holder().await;
            let holder = holder.as_deref().unwrap_or("another process");
            tracing::info!(file = %first, holder, "waiting: it is applied by another process");
        }
        if plan.applied > self.applied {
            self.applied = plan.applied;
            self.backoff.reset();
        }
        // A pause must not outlast a short start timeout.
        tokio::select! {
            () = self.backoff.wait(cx) => {}
            () = pulse.is_due() => {}
        }
    }

    /// Somebody else writes, who may never end: the start timeout counts.
    async fn for_a_writer(&mut self, cx: &Starting, error: MigrateError) {
        if self.reminder.is_due() {
            tracing::warn!("{}; trying again", Chain(&error));
        }
        cx.attempt_failed(error.with_help());
        self.backoff.wait(cx).await;
    }
}
