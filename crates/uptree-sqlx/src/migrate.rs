//! Migrating: what is the same for all databases.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout};
use uptree_app::Starting;

use crate::{
    MigrateError,
    activity::Activity,
    classify::{is_crowded, is_denied, is_read_only},
    error::{Chain, failed},
    files::{File, check::check},
    ledger::{Instance, Ledger, Names, Tables},
    lock_retry::LockRetry,
    plan::{Note, Plan, plan},
    pulse::Pulse,
    retry::{Backoff, connect},
    session::{Brake, Failure, Lock, Migratable, Session},
    steps,
    wait::Wait,
};

/// How often a file is tried whose connection is lost while it runs: it may be what takes the
/// server down.
const TRIES: u32 = 5;

/// How long a session may take to end once its start is called off: less than the child's grace.
const STOP: Duration = Duration::from_secs(4);

/// What to apply, and how.
pub(crate) struct Job<'a> {
    /// In the order of their versions.
    pub(crate) files: &'a [File],
    /// The last version to apply; none: all.
    pub(crate) to: Option<i64>,
    pub(crate) names: &'a Names,
    /// Whether to wait until another has applied them, and never write.
    pub(crate) only_wait: bool,
    /// How long others' locks are waited for.
    pub(crate) lock_retry_budget: Duration,
    /// Whether it is told what those are executing who hold them.
    pub(crate) show_blocking_queries: bool,
    /// Whether the ledger is read once more at the end, so that it says itself that all is applied.
    pub(crate) reads_back: bool,
}

impl Job<'_> {
    /// How many of the files are to be applied in the end.
    fn wanted(&self) -> usize {
        let wanted = |file: &&File| self.to.is_none_or(|to| file.version() <= to);
        self.files.iter().filter(wanted).count()
    }
}

/// What a run has come to: all that it was to apply is applied.
#[derive(Debug)]
pub(crate) struct Reached {
    /// How many of the files are applied.
    pub(crate) applied: usize,
    /// Those that this process has applied.
    pub(crate) files: Vec<String>,
}

/// Applies what the ledger of `database` does not have of the job's files.
///
/// # Cancel safety
///
/// Dropped, it leaves no lock and nothing half-done, but the statement under way may take a second
/// to end on the server. When the start is called off it stops it there first.
pub(crate) async fn migrate<M: Migratable>(
    cx: &Starting,
    database: &M,
    job: &Job<'_>,
) -> Result<Reached, MigrateError> {
    let brake = database.brake();
    let mut sessions = pin!(run_sessions(cx, database, &brake, job));
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
    job: &Job<'_>,
) -> Result<Reached, MigrateError> {
    let mut run = Run {
        cx,
        job,
        pulse: Pulse::new(cx, job.wanted()),
        activity: Activity::new(job.show_blocking_queries),
        retry: LockRetry::new(cx, job.lock_retry_budget),
        wait: Wait::new(),
        notes: Vec::new(),
        files: Vec::new(),
        rows: 0,
        registered: false,
        tries: 0,
        crowded: false,
        checked: false,
    };
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        cx.step("connect");
        let connected = connect(cx, database, || database.session(job.names, brake)).await?;
        let mut session = connected.connection;
        run.crowded |= connected.crowded;
        let outcome = run.session::<M>(&mut session).await;
        session.close().await;
        if let Err(error) = &outcome {
            run.crowded |= error.as_sqlx().is_some_and(is_crowded);
            if error.as_sqlx().is_some_and(is_read_only) {
                // The server is a copy: until it is the primary, nothing is tried.
                run.tries = 0;
            }
        }
        let error = match outcome {
            Ok(Next::End { applied }) => {
                let files = run.files;
                return Ok(Reached { applied, files });
            }
            Ok(Next::Sleep) => {
                run.wait.sleep(cx, &run.pulse).await;
                continue;
            }
            Err(error) if error.has_sqlx(M::Session::may_pass) => error,
            Err(error) => return Err(error),
        };
        if cx.is_cancelled() || run.tries >= TRIES {
            return Err(error);
        }
        tracing::warn!("{}; trying again", Chain(&error));
        cx.attempt_failed(error.with_help());
        cx.waiting("the database");
        backoff.wait(cx).await;
    }
}

/// What comes after a session.
enum Next {
    /// All is done: so many are applied.
    End { applied: usize },
    /// A pause without a connection: there are too few of them.
    Sleep,
}

struct Run<'a> {
    cx: &'a Starting,
    job: &'a Job<'a>,
    pulse: Pulse<'a>,
    activity: Activity,
    retry: LockRetry<'a>,
    wait: Wait,
    /// What has been told.
    notes: Vec<Note>,
    /// What this process has applied.
    files: Vec<String>,
    /// How many rows the ledger had.
    rows: usize,
    /// How often a file has been begun since the ledger last grew.
    tries: u32,
    /// Whether the server has had no room for a connection.
    crowded: bool,
    /// Whether the files that are to be applied have been looked at.
    checked: bool,
    /// Whether it was tried to enter this program in the table of instances.
    registered: bool,
}

impl<'a> Run<'a> {
    async fn session<M: Migratable>(
        &mut self,
        session: &mut M::Session,
    ) -> Result<Next, MigrateError> {
        let known = self.job.files.last().map_or(0, File::version);
        let instance = Instance::new(known);
        self.cx.step("read the ledger");
        while !self.cx.is_cancelled() {
            let instance = Some(&instance).filter(|_| !self.job.only_wait && !self.registered);
            let ledger = match session.check(instance).await {
                Err(error) if self.job.only_wait && is_denied(&error) => {
                    // Whoever creates the tables may be about to grant it.
                    self.wait.for_a_grant(self.cx, self.unreadable(error));
                    self.wait.sleep(self.cx, &self.pulse).await;
                    continue;
                }
                ledger => ledger.map_err(|error| self.unreadable(error))?,
            };
            self.registered |= ledger.tables == Tables::All;
            let plan = self.plan(&ledger)?;
            let Some(&first) = plan.steps.first() else {
                self.settle(session, &ledger).await;
                let applied = plan.applied;
                tracing::info!(applied, "the schema is up to date");
                return Ok(Next::End { applied });
            };
            if self.job.only_wait {
                let holder = session.holder().await;
                self.wait
                    .for_the_missing(self.cx, &mut self.pulse, &plan, holder.as_deref());
            } else {
                self.check::<M>(&plan)?;
                match session.try_lock(first).await {
                    Ok(Lock::Taken(ledger)) => {
                        let plan = self.plan(&ledger)?;
                        if self.apply::<M>(session, &plan).await? && !self.job.reads_back {
                            let applied = plan.applied + plan.steps.len();
                            tracing::info!(applied, "the schema is up to date");
                            return Ok(Next::End { applied });
                        }
                        continue;
                    }
                    Ok(Lock::Elsewhere) => {
                        let holder = match self.wait.is_due() {
                            true => session.holder().await,
                            false => None,
                        };
                        self.wait
                            .for_another(&mut self.pulse, &plan, holder.as_deref());
                    }
                    Ok(Lock::Busy(error)) => self.wait.for_a_writer(self.cx, unlockable(error)),
                    Ok(Lock::Yield) => self.wait.for_a_turn(first),
                    Ok(Lock::Pooled) => {
                        let file = first.to_string();
                        return Err(MigrateError::Pooled { file });
                    }
                    Err(error) => return Err(unlockable(error)),
                }
            }
            if self.crowded {
                return Ok(Next::Sleep);
            }
            self.wait.sleep(self.cx, &self.pulse).await;
        }
        Err(MigrateError::Cancelled)
    }

    fn plan(&mut self, ledger: &Ledger) -> Result<Plan<'a>, MigrateError> {
        let rows = ledger.rows.len();
        if rows > self.rows {
            self.rows = rows;
            self.tries = 0;
        }
        let job = self.job;
        let plan = plan(ledger, job.files, job.to, &job.names.ledger)?;
        for note in &plan.notes {
            if !self.notes.contains(note) {
                tracing::warn!("{note}");
                self.notes.push(note.clone());
            }
        }
        Ok(plan)
    }

    /// Refuses files that cannot be run, before anything runs. Those that are applied already are
    /// past that: they can not be changed any more.
    fn check<M: Migratable>(&mut self, plan: &Plan<'_>) -> Result<(), MigrateError> {
        if self.checked {
            return Ok(());
        }
        self.checked = true;
        for file in &plan.steps {
            let findings = check(file, M::DIALECT);
            if let Some(refusal) = findings.refusals.into_iter().next() {
                return Err(refusal.into());
            }
            for warning in findings.warnings {
                tracing::warn!("{warning}");
            }
        }
        Ok(())
    }

    /// Applies files for as long as the lock is held. Returns whether all of them are applied.
    async fn apply<M: Migratable>(
        &mut self,
        session: &mut M::Session,
        plan: &Plan<'_>,
    ) -> Result<bool, MigrateError> {
        self.cx.step("apply");
        let mut rest = &plan.steps[..];
        while let Some(&file) = rest.first() {
            if !session.is_locked_for(file) {
                break;
            }
            if self.cx.is_cancelled() {
                return Err(MigrateError::Cancelled);
            }
            self.tries += 1;
            let since = Instant::now();
            let done = plan.applied + plan.steps.len() - rest.len();
            self.activity.begin();
            let stepwise = session.is_stepwise(file) || plan.mark(file).is_some();
            let count = if stepwise && file.code().is_none() {
                self.run_steps::<M>(session, plan, file, done).await?
            } else {
                self.run_whole::<M>(session, rest, done).await?
            };
            if count == 0 {
                break;
            }
            self.tries = 0;
            tell(&rest[..count], since.elapsed());
            self.files
                .extend(rest[..count].iter().map(ToString::to_string));
            rest = &rest[count..];
        }
        if !rest.is_empty() {
            session.unlock().await;
        }
        Ok(rest.is_empty())
    }

    /// Runs a file statement by statement; 0 if another process has been faster.
    async fn run_steps<M: Migratable>(
        &mut self,
        session: &mut M::Session,
        plan: &Plan<'_>,
        file: &File,
        done: usize,
    ) -> Result<usize, MigrateError> {
        let work = steps::run(
            self.cx,
            session,
            M::DIALECT,
            file,
            plan.mark(file),
            &self.activity,
            &mut self.retry,
        );
        let ran = self
            .pulse
            .during(work, done, &[file], &self.activity)
            .await?;
        Ok(usize::from(ran))
    }

    /// Runs as many files as go into one message; 0 if another process has been faster.
    async fn run_whole<M: Migratable>(
        &mut self,
        session: &mut M::Session,
        files: &[&File],
        done: usize,
    ) -> Result<usize, MigrateError> {
        let (file, activity) = (files[0], &self.activity);
        let retry = &mut self.retry;
        let work = async {
            loop {
                match session.apply(files, activity).await {
                    Ok(count) => return Ok(count),
                    Err(Failure::Elsewhere) => return Ok(0),
                    Err(Failure::Locked {
                        place,
                        error,
                        blockers,
                    }) => retry.again(file, activity, place, error, blockers).await?,
                    Err(failure) => return Err(failed(file, failure)),
                }
            }
        };
        let ran = self.pulse.during(work, done, files, activity).await;
        self.retry.reset();
        ran
    }

    /// Creates the tables beside a ledger that sqlx has made. Nothing depends on them yet: whoever
    /// may not create them goes on without.
    async fn settle(&self, session: &mut impl Session, ledger: &Ledger) {
        if ledger.tables != Tables::Sqlx || self.job.only_wait {
            return;
        }
        if let Err(error) = session.settle().await {
            let steps = &self.job.names.steps;
            let error = crate::DriverError::from(error);
            tracing::warn!("the table {steps} cannot be created beside the ledger: {error}");
        }
    }

    fn unreadable(&self, error: sqlx::Error) -> MigrateError {
        MigrateError::Ledger {
            ledger: self.job.names.ledger.clone(),
            source: error.into(),
        }
    }
}

fn unlockable(error: sqlx::Error) -> MigrateError {
    let source = error.into();
    MigrateError::Lock { source }
}

/// Logs what was applied: by one line, if it was many at once.
fn tell(files: &[&File], took: Duration) {
    match files {
        [file] => tracing::info!(file = %file, ?took, "migration applied"),
        [first, .., last] => {
            let migrations = files.len();
            tracing::info!(%first, %last, migrations, ?took, "migrations applied");
        }
        [] => {}
    }
}
