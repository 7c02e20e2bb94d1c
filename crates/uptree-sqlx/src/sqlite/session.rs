//! Migrating SQLite: the locks, and how a file is run.

use std::{path::PathBuf, time::Duration};

use super::{
    foreign_keys::{Rebuild, are_on, turns_off},
    link::Link,
    lock_file::LockFile,
    step::OVERTAKEN,
    tables::LedgerTables,
};
use crate::{
    activity::Activity,
    classify::is_busy,
    files::File,
    ledger::{Instance, Ledger, Mark, Names},
    session::{Entry, Failure, Lock, Session, Verdict},
    statement::{Kind, Statement},
};

/// How long a read waits while the file is locked, which one with a write-ahead log is only for a
/// moment.
const READ_PATIENCE: Duration = Duration::from_secs(3);

/// A connection that migrates.
///
/// Two locks are taken, by trying: first that of a [`LockFile`], which is between migrators; then,
/// by `BEGIN IMMEDIATE`, SQLite's own, which is between all who write. The ledger is read again
/// inside, so that the second alone would do, were it not for files that cannot run in a
/// transaction.
pub(crate) struct SqliteSession {
    pub(super) link: Link,
    pub(super) tables: LedgerTables,
    can_write: bool,
    lock_path: Option<PathBuf>,
    elected: Option<LockFile>,
    /// The file for which foreign keys were switched off.
    pub(super) unkeyed: Option<i64>,
    /// The tables that the stepwise file under way rebuilds, each by where it drops the old one.
    pub(super) rebuilds: Vec<(usize, Rebuild)>,
    /// Whether files that were run together could not be committed.
    pub(super) one_by_one: bool,
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
        let is_stale = self.link.is_stale();
        // It is not always the file that the lock was taken for: another may have applied that one.
        if !next.in_transaction() {
            let is_elected = self.elected.is_some() || self.lock_path.is_none();
            return is_elected && !is_stale && !self.link.in_transaction();
        }
        let is_as_it_should = match turns_off(next) || self.unkeyed.is_some() {
            // The driver's options may have had them off before.
            true => self.unkeyed == Some(next.version()) || !is_stale,
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
        self.apply_files(files, activity).await
    }

    async fn resume(
        &mut self,
        _file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        self.set_again(statements, done).await
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
        self.write_mark(file, mark, entry).await
    }

    async fn step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        _activity: &Activity,
    ) -> Result<(), Failure> {
        self.run_step(file, statement, mark, entry).await
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.link.soil();
        Ok(())
    }

    async fn holder(&mut self) -> Option<String> {
        LockFile::holder(self.lock_path.as_deref()?)
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_busy(error) || matches!(error, sqlx::Error::Protocol(text) if text == OVERTAKEN)
    }

    async fn close(self) {
        self.link.close().await;
    }
}
