//! Running a file statement by statement, so that a crash leaves nothing for a person to do.
//!
//! Before a statement that cannot be committed with a mark, a mark says that it is begun; after it,
//! that it is done. Who comes after a crash finds the mark, and the session looks at the database
//! whether the statement was done.

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};
use uptree_app::Starting;

use crate::{
    MigrateError,
    activity::Activity,
    error::failed,
    files::File,
    ledger::Mark,
    lock_retry::LockRetry,
    place,
    session::{Entry, Failure, Session, Verdict},
    split::Dialect,
    statement::{self, Statement},
};

/// Runs what is left of `file`, given the mark that was found, if there was one.
///
/// Returns whether it was run: if not, another process has been faster.
pub(crate) async fn run<S: Session>(
    cx: &Starting,
    session: &mut S,
    dialect: Dialect,
    file: &File,
    found: Option<&Mark>,
    activity: &Activity,
    retry: &mut LockRetry<'_>,
) -> Result<bool, MigrateError> {
    let statements = statement::parse(file.sql(), dialect);
    let mut walk = Walk {
        session,
        file,
        statements: &statements,
        digests: digests(&statements),
        mark: found.cloned().unwrap_or_default(),
        entry: if found.is_some() {
            Entry::There
        } else {
            Entry::New
        },
        activity,
    };
    walk.check()?;
    let resumed = walk.session.resume(file, &statements, walk.mark.done).await;
    resumed.map_err(|failure| failed(file, failure))?;
    if statements.is_empty() {
        walk.write(walk.after(0)).await?;
    }
    for number in walk.mark.done..statements.len() {
        if cx.is_cancelled() {
            return Err(MigrateError::Cancelled);
        }
        activity.statement(number + 1, statements.len());
        loop {
            let failure = match walk.step(number).await {
                Ok(true) => break,
                Ok(false) | Err(StepError::Failure(Failure::Elsewhere)) => {
                    walk.reset().await?;
                    return Ok(false);
                }
                Err(StepError::Failure(failure)) => failure,
                Err(StepError::Other(error)) => return Err(error),
            };
            if !cx.is_cancelled() && walk.withdraw(number, &failure).await {
                break;
            }
            match failure {
                Failure::Locked {
                    place,
                    error,
                    blockers,
                } => retry.again(file, activity, place, error, blockers).await?,
                Failure::Alone(..) => {}
                failure => return Err(failed(file, failure)),
            }
        }
        retry.reset();
        activity.unblocked();
    }
    walk.reset().await?;
    Ok(true)
}

/// What the first statements of a file are, for each number of them: two files that have one of
/// these in common begin alike. Of none of them it is empty.
pub(crate) fn digests(statements: &[Statement<'_>]) -> Vec<String> {
    let mut digests = vec![String::new()];
    for statement in statements {
        let before = digests.last().map(String::as_str).unwrap_or_default();
        let sql = AssertSqlSafe(format!("{before}\n{}", statement.sql)).into_sql_str();
        // sqlx's own checksum, which the ledger has of whole files.
        let one = Migration::new(0, "".into(), MigrationType::Simple, sql, false);
        digests.push(crate::ledger::hex(&one.checksum));
    }
    digests
}

struct Walk<'a, S> {
    session: &'a mut S,
    file: &'a File,
    statements: &'a [Statement<'a>],
    digests: Vec<String>,
    mark: Mark,
    entry: Entry,
    activity: &'a Activity,
}

enum StepError {
    Failure(Failure),
    Other(MigrateError),
}

impl From<MigrateError> for StepError {
    fn from(error: MigrateError) -> Self {
        Self::Other(error)
    }
}

impl<S: Session> Walk<'_, S> {
    /// A file may be mended where it failed, but not where it is done.
    fn check(&self) -> Result<(), MigrateError> {
        let done = self.mark.done;
        if self.digests.get(done) == Some(&self.mark.digest) {
            return Ok(());
        }
        Err(MigrateError::ChangedSteps {
            file: self.file.to_string(),
            done,
        })
    }

    /// Returns whether it was run: if not, another program goes first.
    async fn step(&mut self, number: usize) -> Result<bool, StepError> {
        let statement = &self.statements[number];
        let turn = self.session.may_begin(self.entry).await;
        if !turn.map_err(|error| self.unreadable(error))? {
            return Ok(false);
        }
        let after = self.after(number + 1);
        if self.mark.begun {
            let before = self.mark.before.clone().unwrap_or_default();
            let verdict = self.session.inspect(statement, &before).await;
            match verdict.map_err(|error| self.unreadable(error))? {
                Verdict::Done => {
                    tracing::info!(
                        file = %self.file, statement = number + 1,
                        "a process that is gone had done it"
                    );
                    self.write(after).await?;
                    return Ok(true);
                }
                Verdict::NotDone => {}
                Verdict::Unknown => return Err(self.in_doubt(number).into()),
            }
        } else if !self.session.is_atomic(statement) {
            let before = self.session.picture(statement).await;
            let begun = Mark {
                begun: true,
                before: Some(before.map_err(|error| self.unreadable(error))?),
                ..self.mark.clone()
            };
            self.write(begun).await?;
        }
        self.session
            .step(self.file, statement, &after, self.entry, self.activity)
            .await
            .map_err(StepError::Failure)?;
        self.entry = Entry::There;
        self.mark = after;
        Ok(true)
    }

    /// The mark of a file that has come as far as this.
    fn after(&self, done: usize) -> Mark {
        Mark {
            done,
            digest: self.digests[done].clone(),
            begun: false,
            before: None,
            finished: done == self.statements.len(),
        }
    }

    async fn write(&mut self, mark: Mark) -> Result<(), MigrateError> {
        let written = self.session.mark(self.file, &mark, self.entry).await;
        written.map_err(|error| self.unwritable(error))?;
        self.entry = match mark.is_blank() {
            true => Entry::New,
            false => Entry::There,
        };
        self.mark = mark;
        Ok(())
    }

    /// A statement that the database has refused was not done: nobody has to ask later. Returns
    /// whether it was done after all.
    ///
    /// What cannot be written now is found again after the next start.
    async fn withdraw(&mut self, number: usize, failure: &Failure) -> bool {
        let refused = match failure {
            Failure::File(_, error) => error.as_database_error().is_some(),
            Failure::Locked { .. } => true,
            _ => false,
        };
        if !refused || !self.mark.begun {
            return false;
        }
        let statement = &self.statements[number];
        let before = self.mark.before.clone().unwrap_or_default();
        // It may have left something, such as an index that is not valid.
        let (done, mark) = match self.session.inspect(statement, &before).await {
            Ok(Verdict::Done) => (true, self.after(number + 1)),
            Ok(Verdict::NotDone | Verdict::Unknown) => (false, self.after(number)),
            Err(_) => return false,
        };
        self.write(mark).await.is_ok() && done
    }

    async fn reset(&mut self) -> Result<(), MigrateError> {
        let reset = self.session.reset().await;
        reset.map_err(|error| self.unwritable(error))
    }

    fn in_doubt(&self, number: usize) -> MigrateError {
        let statement = &self.statements[number];
        MigrateError::InDoubt {
            file: self.file.to_string(),
            version: self.file.version(),
            statement: number + 1,
            place: Some(place::of_offset(self.file.sql(), statement.at)),
        }
    }

    fn unreadable(&self, error: sqlx::Error) -> MigrateError {
        failed(self.file, Failure::File(None, error))
    }

    fn unwritable(&self, error: sqlx::Error) -> MigrateError {
        failed(self.file, Failure::Ledger(error))
    }
}

#[cfg(test)]
mod tests;
