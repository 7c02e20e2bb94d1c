//! Running files in transactions: many in one, where nobody can tell.

use std::time::Duration;

use tokio::time::Instant;

use super::{foreign_keys::Violations, script::Script, session::SqliteSession};
use crate::{
    activity::Activity,
    files::File,
    session::{Entry, Failure},
};

/// How long files are added to a transaction: what is lost by a crash, and how long others wait
/// that write.
const SPAN: Duration = Duration::from_secs(1);

impl SqliteSession {
    /// Runs the first file, and those that may be run with it.
    pub(super) async fn apply_files(
        &mut self,
        files: &[&File],
        activity: &Activity,
    ) -> Result<usize, Failure> {
        let (since, first) = (Instant::now(), files[0]);
        let script = Script::new(first);
        if let Err(failure) = self.run(first, &script, activity).await {
            self.link.roll_back().await;
            return Err(failure);
        }
        let is_code = first.code().is_some();
        if is_code || script.soils() {
            self.link.soil();
        }
        let more = match !is_code && script.is_plain() {
            true => &files[1..],
            false => &[],
        };
        let together = !more.is_empty() && !self.one_by_one && self.defers_nothing().await;
        let joined = match together {
            true => self.run_together(more, since, activity).await,
            false => Ok(0),
        };
        let committed = match joined {
            Ok(_) => self.link.commit().await,
            Err(_) => {
                // What has failed has rolled back the whole.
                self.link.roll_back().await;
                Ok(())
            }
        };
        match (joined, committed) {
            (Ok(0), Err(error)) => {
                // A constraint that is deferred to here is the file's.
                Err(Failure::File(None, error))
            }
            (Ok(joined), Ok(())) if together => Ok(1 + joined),
            (Ok(_), Ok(())) => Ok(1 + self.run_apart(more, since, activity).await),
            _ => {
                // From the ledger again, and apart: then it is known whose failure it is.
                self.one_by_one = true;
                Err(Failure::Elsewhere)
            }
        }
    }

    /// Runs a file in the transaction that is open, and enters it in the ledger.
    async fn run(
        &mut self,
        file: &File,
        script: &Script<'_>,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let since = Instant::now();
        let connection = &mut self.link.connection;
        if let Some(code) = file.code() {
            let code = code
                .of::<sqlx::Sqlite>()
                .ok_or_else(|| Failure::Code("it is written for another database".into()))?;
            code(connection).await.map_err(Failure::Code)?;
        } else if self.unkeyed == Some(file.version()) {
            // A foreign key with no index to refer to cannot be checked, and is not this file's.
            let before = Violations::count(connection).await.ok();
            script.run(connection, activity).await?;
            if let Some(before) = before {
                let after = Violations::count(connection).await;
                let after = after.map_err(|error| Failure::File(None, error))?;
                after.compare(&before)?;
            }
        } else {
            script.run(connection, activity).await?;
        }
        let entered = self.tables.enter(connection, file, true, since).await;
        entered.map_err(Failure::Ledger)
    }

    /// Whether nothing in the schema is checked only when a transaction commits: then nobody can
    /// tell in how many of them files were run.
    async fn defers_nothing(&mut self) -> bool {
        let defers = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE sql LIKE '%defer%')";
        let defers = sqlx::query_scalar(defers).fetch_one(&mut self.link.connection);
        defers.await.is_ok_and(|defers: bool| !defers)
    }

    /// Runs more files in the transaction of the first, and returns how many. One that fails leaves
    /// no trace, and is the first of the next transaction: what it fails with is told there.
    async fn run_together(
        &mut self,
        files: &[&File],
        since: Instant,
        activity: &Activity,
    ) -> Result<usize, sqlx::Error> {
        for (done, file) in files.iter().enumerate() {
            let Some(script) = joining(file, since) else {
                return Ok(done);
            };
            activity.begin();
            activity.files(done + 1);
            self.link.execute("SAVEPOINT uptree_file").await?;
            if self.run(file, &script, activity).await.is_err() {
                self.link.execute("ROLLBACK TO uptree_file").await?;
                return Ok(done);
            }
            self.link.execute("RELEASE uptree_file").await?;
        }
        Ok(files.len())
    }

    /// Runs more files, each in a transaction of its own, and returns how many. It only saves that
    /// the whole ledger is read for each.
    async fn run_apart(&mut self, files: &[&File], since: Instant, activity: &Activity) -> usize {
        for (done, file) in files.iter().enumerate() {
            let Some(script) = joining(file, since) else {
                return done;
            };
            activity.begin();
            activity.files(done + 1);
            if self.run_alone(file, &script, activity).await.is_err() {
                self.link.roll_back().await;
                return done;
            }
        }
        files.len()
    }

    async fn run_alone(
        &mut self,
        file: &File,
        script: &Script<'_>,
        activity: &Activity,
    ) -> Result<(), Failure> {
        self.link
            .begin(Duration::ZERO)
            .await
            .map_err(Failure::Ledger)?;
        let connection = &mut self.link.connection;
        let is_new = self.tables.is_at(connection, file, 0..=0, Entry::New).await;
        if !is_new.map_err(Failure::Ledger)? {
            return Err(Failure::Elsewhere);
        }
        self.run(file, script, activity).await?;
        self.link.commit().await.map_err(Failure::Ledger)
    }
}

/// A file that may be run after another without a look at the ledger, if it is time.
fn joining(file: &File, since: Instant) -> Option<Script<'_>> {
    let joins = file.in_transaction() && file.code().is_none() && since.elapsed() < SPAN;
    joins.then(|| Script::new(file)).filter(Script::is_plain)
}
