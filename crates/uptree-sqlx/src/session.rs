//! What a database must be able to do to be migrated: one implementation a database.

use std::{fmt, future::Future};

use crate::{
    ConnectError,
    activity::Activity,
    files::File,
    ledger::{Instance, Ledger, Mark, Names},
    place::Place,
    split::Dialect,
    statement::Statement,
};

/// A database that can be migrated, not connected yet.
pub(crate) trait Migratable: fmt::Display + Sync {
    type Session: Session;
    type Brake: Brake;

    const DIALECT: Dialect;

    fn brake(&self) -> Self::Brake;

    /// Opens the one connection that migrates.
    fn session(
        &self,
        names: &Names,
        brake: &Self::Brake,
    ) -> impl Future<Output = Result<Self::Session, ConnectError>> + Send;
}

/// A connection that migrates.
///
/// Dropped at any point, it leaves nothing half-done that was in a transaction, and no lock.
pub(crate) trait Session: Send {
    /// Reads the ledger, without any lock, in one round trip, and enters `instance` in its table.
    /// If that may not be written to, it is only read.
    fn check(
        &mut self,
        instance: Option<&Instance>,
    ) -> impl Future<Output = Result<Ledger, sqlx::Error>> + Send;

    /// Tries to become the one that applies `next`, and never waits for it.
    fn try_lock(&mut self, next: &File) -> impl Future<Output = Result<Lock, sqlx::Error>> + Send;

    /// Whether `next` can be applied under the lock that was taken for the one before.
    fn is_locked_for(&self, next: &File) -> bool;

    /// Gives up the lock.
    fn unlock(&mut self) -> impl Future<Output = ()> + Send;

    /// Creates those of the tables that are missing. Under the lock: two sessions that create one
    /// table at once do not both succeed.
    fn settle(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Whether a file is run statement by statement, by [`steps`](crate::steps), and not by
    /// [`apply`](Self::apply).
    fn is_stepwise(&self, file: &File) -> bool;

    /// Runs one file or more of the first ones, none of them stepwise, and enters them in the
    /// ledger; each of them whole or not at all. Returns how many. Creates the tables, if they are
    /// missing.
    ///
    /// After a failure other than `Locked` and `Elsewhere` the session is only good to be closed.
    fn apply(
        &mut self,
        files: &[&File],
        activity: &Activity,
    ) -> impl Future<Output = Result<usize, Failure>> + Send;

    /// Whether the next statement of a stepwise file may be run: if not, another program has the
    /// lock, or has to have it first. `entry` is that of the statement's mark.
    fn may_begin(
        &mut self,
        _entry: Entry,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send {
        async { Ok(true) }
    }

    /// Prepares the session for a stepwise file, of which so many statements are done: what they
    /// have SET must hold for those that follow.
    fn resume(
        &mut self,
        _file: &File,
        _statements: &[Statement<'_>],
        _done: usize,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// Whether a statement and its mark can be committed together: then nobody will ever have to
    /// ask what became of it.
    fn is_atomic(&self, statement: &Statement<'_>) -> bool;

    /// What the database looks like where the statement is about to change it, for
    /// [`inspect`](Self::inspect) after a crash. Empty if nothing has to be known.
    fn picture(
        &mut self,
        statement: &Statement<'_>,
    ) -> impl Future<Output = Result<String, sqlx::Error>> + Send;

    /// What became of a statement that was begun by a process that is gone, given the picture from
    /// before it. What it has left half-done is cleared away.
    fn inspect(
        &mut self,
        statement: &Statement<'_>,
        before: &str,
    ) -> impl Future<Output = Result<Verdict, sqlx::Error>> + Send;

    /// Writes how far a stepwise file has come. A mark that [is blank](Mark::is_blank) takes it out
    /// of the tables: nothing of it has been done.
    fn mark(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs one statement of a stepwise file, then writes the mark: together, if the statement
    /// [is atomic](Self::is_atomic); else the mark may be missing after a crash.
    fn step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        activity: &Activity,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Ends a stepwise file: what it has SET must not reach the next.
    fn reset(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Who has the lock, in words, if that can be known.
    fn holder(&mut self) -> impl Future<Output = Option<String>> + Send;

    /// Whether the same may succeed on a new connection.
    fn may_pass(error: &sqlx::Error) -> bool;

    /// Ends the connection in good order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Stops the statement that a session is executing, from outside.
pub(crate) trait Brake: Sync {
    /// Has the database stop what it does, again and again until this is dropped. Returns only if
    /// nothing has to be stopped: the session can be dropped then.
    fn engage(&self) -> impl Future<Output = ()> + Send;
}

/// What became of an attempt to lock.
pub(crate) enum Lock {
    /// It is ours, and this is what the ledger says under it.
    Taken(Ledger),
    /// Another process is migrating.
    Elsewhere,
    /// Somebody keeps the database from being written to, and it is not known who.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Busy(sqlx::Error),
    /// Another program wants the lock, and has to have it first.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Yield,
    /// The connection goes through a pooler that lends it for a transaction: what has to be locked
    /// for longer cannot be.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Pooled,
}

/// Whether a mark is a file's first: then it is entered in the ledger too, as not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    New,
    There,
}

/// What became of a statement that was begun.
#[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    NotDone,
    Unknown,
}

/// Why a file was not applied.
pub(crate) enum Failure {
    /// The file is at fault, or the database while it ran it.
    File(Option<Place>, sqlx::Error),
    /// The statement of a stepwise file cannot be in a transaction with its mark; from now on it
    /// [is not atomic](Session::is_atomic). Nothing was changed: to be tried again.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Alone(Option<Place>, sqlx::Error),
    /// A migration that is written in Rust has failed, or the session will not run a file.
    Code(uptree_app::BoxError),
    /// The ledger could not be written.
    Ledger(sqlx::Error),
    /// Others hold a lock that a statement needs. Nothing was changed: to be tried again.
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code))]
    Locked {
        place: Option<Place>,
        error: sqlx::Error,
        /// Who they are, in words.
        blockers: Vec<String>,
    },
    /// Another process is migrating, or has applied the file meanwhile.
    Elsewhere,
}
