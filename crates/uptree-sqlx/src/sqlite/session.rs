//! Migrating SQLite: the locks, and how a file is run.

use std::{path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::{
    foreign_keys::{Rebuild, Violations, are_on, rebuilds, turns_off},
    link::{Link, PATIENCE},
    lock_file::LockFile,
    script::Script,
    tables::LedgerTables,
};
use crate::{
    activity::Activity,
    classify::is_busy,
    files::File,
    ledger::{Instance, Ledger, Mark, Names},
    place,
    session::{Entry, Failure, Lock, Session, Verdict},
    statement::{Kind, Statement, Verb},
};

/// How long a read waits while the file is locked, which one with a write-ahead log is only for a
/// moment.
const READ_PATIENCE: Duration = Duration::from_secs(3);

/// How long files are added to a transaction: what is lost by a crash, and how long others wait
/// that write.
const SPAN: Duration = Duration::from_secs(1);

/// A connection that migrates.
///
/// Two locks are taken, by trying: first that of a [`LockFile`], which is between migrators; then,
/// by `BEGIN IMMEDIATE`, SQLite's own, which is between all who write. The ledger is read again
/// inside, so that the second alone would do, were it not for files that cannot run in a
/// transaction.
pub(crate) struct SqliteSession {
    link: Link,
    tables: LedgerTables,
    can_write: bool,
    lock_path: Option<PathBuf>,
    elected: Option<LockFile>,
    /// The file for which foreign keys were switched off.
    unkeyed: Option<i64>,
    /// The tables that the stepwise file under way rebuilds, each by where it drops the old one.
    rebuilds: Vec<(usize, Rebuild)>,
    /// Whether files that were run together could not be committed.
    one_by_one: bool,
}

impl SqliteSession {
    pub(super) fn new(
        link: Link,
        names: &Names,
        can_write: bool,
        lock_path: Option<PathBuf>,
    ) -> Self {
        Self {
            link,
            tables: LedgerTables::new(names),
            can_write,
            lock_path,
            elected: None,
            unkeyed: None,
            rebuilds: Vec::new(),
            one_by_one: false,
        }
    }

    async fn renew(&mut self) -> Result<(), sqlx::Error> {
        if self.link.is_stale() {
            self.link.renew().await?;
            self.unkeyed = None;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Ledger, sqlx::Error> {
        let mut wait = self.link.wait(READ_PATIENCE);
        loop {
            let read = self.tables.read(&mut self.link.connection).await;
            match read {
                Err(error) if wait.again(&error).await => {}
                read => return read,
            }
        }
    }

    /// Whether no other migrator is at work.
    fn elect(&mut self) -> bool {
        let Some(path) = self.lock_path.as_ref().filter(|_| self.elected.is_none()) else {
            return true;
        };
        match LockFile::try_take(path) {
            Ok(lock) => {
                self.elected = lock;
                self.elected.is_some()
            }
            // Not every file system has such locks; and a folder that takes no files lets SQLite
            // say so itself.
            Err(error) => {
                tracing::debug!(%error, "no lock file {}", path.display());
                self.lock_path = None;
                true
            }
        }
    }

    /// Switches foreign keys off for a file that means to be run without: before its transaction,
    /// in which it could not.
    async fn prepare(&mut self, file: &File) -> Result<(), sqlx::Error> {
        if turns_off(file) && are_on(&mut self.link.connection).await? {
            self.link.execute("PRAGMA foreign_keys = OFF").await?;
            self.link.soil();
            self.unkeyed = Some(file.version());
        }
        Ok(())
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
        let is_new = self.tables.is_at(connection, file, 0, Entry::New).await;
        if !is_new.map_err(Failure::Ledger)? {
            return Err(Failure::Elsewhere);
        }
        self.run(file, script, activity).await?;
        self.link.commit().await.map_err(Failure::Ledger)
    }
}

impl Session for SqliteSession {
    async fn check(&mut self, _instance: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        self.renew().await?;
        // To enter the instance would be to write, which only one can at a time.
        self.read().await
    }

    async fn try_lock(&mut self, next: &File) -> Result<Lock, sqlx::Error> {
        self.renew().await?;
        if !self.elect() {
            return Ok(Lock::Elsewhere);
        }
        if next.in_transaction() {
            self.prepare(next).await?;
        }
        match self.link.begin(Duration::ZERO).await {
            Ok(()) => {}
            Err(error) if is_busy(&error) => return Ok(Lock::Busy(error)),
            Err(error) => return Err(error),
        }
        let ledger = self.read().await?;
        if !next.in_transaction() {
            self.link.roll_back().await;
        }
        Ok(Lock::Taken(ledger))
    }

    fn is_locked_for(&self, next: &File) -> bool {
        if !next.in_transaction() {
            return !self.link.is_stale() && (self.elected.is_some() || self.lock_path.is_none());
        }
        let is_as_it_should = match turns_off(next) || self.unkeyed.is_some() {
            // The driver's options may have had them off before.
            true => self.unkeyed == Some(next.version()) || !self.link.is_stale(),
            false => true,
        };
        self.link.in_transaction() && is_as_it_should
    }

    async fn unlock(&mut self) {
        self.link.roll_back().await;
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        if !self.can_write {
            return Ok(());
        }
        match self.link.begin(Duration::ZERO).await {
            Ok(()) => {}
            // Another time.
            Err(error) if is_busy(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let created = self.tables.create(&mut self.link.connection).await;
        if created.is_err() {
            self.link.roll_back().await;
            return created;
        }
        self.link.commit().await
    }

    fn is_stepwise(&self, file: &File) -> bool {
        !file.in_transaction()
    }

    async fn apply(&mut self, files: &[&File], activity: &Activity) -> Result<usize, Failure> {
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

    async fn resume(
        &mut self,
        _file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        let at = |(number, rebuild): (usize, Rebuild)| (statements[number].at, rebuild);
        self.rebuilds = rebuilds(statements).into_iter().map(at).collect();
        for statement in &statements[..done] {
            let sets = match &statement.kind {
                Kind::Settings { .. } => true,
                Kind::Ddl(ddl) => matches!(ddl.verb, Verb::Attach | Verb::Detach),
                _ => false,
            };
            if sets {
                let set = self.link.execute_patiently(statement.sql, PATIENCE).await;
                set.map_err(|error| Failure::File(None, error))?;
            }
        }
        Ok(())
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        // A PRAGMA may do nothing in a transaction, and can be done twice.
        !statement.needs_no_transaction() && !matches!(statement.kind, Kind::Settings { .. })
    }

    async fn picture(&mut self, _statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        Ok(String::new())
    }

    async fn inspect(
        &mut self,
        _statement: &Statement<'_>,
        _before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        // What cannot be in a transaction here can be done twice: VACUUM, PRAGMA, ATTACH.
        Ok(Verdict::NotDone)
    }

    async fn mark(&mut self, file: &File, mark: &Mark, entry: Entry) -> Result<(), sqlx::Error> {
        self.link.begin(PATIENCE).await?;
        let connection = &mut self.link.connection;
        if let Err(error) = self.tables.mark(connection, file, mark, entry).await {
            self.link.roll_back().await;
            return Err(error);
        }
        self.link.commit().await
    }

    async fn step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        _activity: &Activity,
    ) -> Result<(), Failure> {
        let place = place::of_offset(file.sql(), statement.at);
        let failed = |error| Failure::File(Some(place), error);
        let rebuild = self.rebuilds.iter().find(|(at, _)| *at == statement.at);
        if let Some((_, rebuild)) = rebuild {
            rebuild.look(&mut self.link.connection, Some(place)).await?;
        }
        if !self.is_atomic(statement) {
            let ran = self.link.execute_patiently(statement.sql, PATIENCE).await;
            ran.map_err(failed)?;
            return self.mark(file, mark, entry).await.map_err(Failure::Ledger);
        }
        self.link.begin(PATIENCE).await.map_err(Failure::Ledger)?;
        let stepped = self.step_inside(file, statement, mark, entry).await;
        if let Err(failure) = stepped {
            self.link.roll_back().await;
            return Err(match failure {
                Failure::File(_, error) => failed(error),
                failure => failure,
            });
        }
        self.link.commit().await.map_err(failed)
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.link.soil();
        Ok(())
    }

    async fn holder(&mut self) -> Option<String> {
        None
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_busy(error)
    }

    async fn close(self) {
        self.link.close().await;
    }
}

/// A file that may be run after another without a look at the ledger, if it is time.
fn joining(file: &File, since: Instant) -> Option<Script<'_>> {
    let joins = file.in_transaction() && file.code().is_none() && since.elapsed() < SPAN;
    joins.then(|| Script::new(file)).filter(Script::is_plain)
}

impl SqliteSession {
    /// A statement with its mark, in the transaction that is open.
    async fn step_inside(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), Failure> {
        let connection = &mut self.link.connection;
        let before = mark.done.saturating_sub(1);
        let is_at = self.tables.is_at(connection, file, before, entry).await;
        if !is_at.map_err(Failure::Ledger)? {
            return Err(Failure::Elsewhere);
        }
        let ran = self.link.execute(statement.sql).await;
        ran.map_err(|error| Failure::File(None, error))?;
        let connection = &mut self.link.connection;
        let marked = self.tables.mark(connection, file, mark, entry).await;
        marked.map_err(Failure::Ledger)
    }
}
