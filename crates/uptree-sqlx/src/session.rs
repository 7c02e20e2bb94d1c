//! What a database must be able to do to be migrated: one implementation a database.

use std::{fmt, future::Future};

use crate::{ConnectError, files::File, ledger::Row, place::Place};

/// A database that can be migrated, not connected yet.
pub(crate) trait Migratable: fmt::Display + Sync {
    type Session: Session;
    type Brake: Brake;

    fn brake(&self) -> Self::Brake;

    /// Opens the one connection that migrates. `ledger` is the name of the table.
    fn session(
        &self,
        ledger: &str,
        brake: &Self::Brake,
    ) -> impl Future<Output = Result<Self::Session, ConnectError>> + Send;
}

/// A connection that migrates.
///
/// Dropped at any point, it leaves nothing half-done that was in a transaction, and no lock.
pub(crate) trait Session: Send {
    /// Reads the ledger, without any lock; there are no rows if there is no ledger.
    fn ledger(&mut self) -> impl Future<Output = Result<Vec<Row>, sqlx::Error>> + Send;

    /// Tries to become the one that applies `file`, and never waits for it.
    ///
    /// Once it has, the ledger is to be read again: what was true before may be true no more.
    fn try_lock(&mut self, file: &File) -> impl Future<Output = Result<Lock, sqlx::Error>> + Send;

    /// Whether the next file can be applied under the lock that was taken for the one before.
    fn is_locked(&self) -> bool;

    /// Gives up a lock that was taken for one file. A lock for all stays.
    fn unlock(&mut self) -> impl Future<Output = ()> + Send;

    /// Runs a file and enters it in the ledger: both, or neither, if it is in a transaction.
    ///
    /// After a failure the session is only good to be closed.
    fn apply(&mut self, file: &File) -> impl Future<Output = Result<(), Failure>> + Send;

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
    /// It is ours.
    Taken,
    /// Another process is migrating.
    Elsewhere,
    /// Somebody keeps the database from being written to, and it is not known who.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Busy(sqlx::Error),
}

/// Why a file was not applied.
pub(crate) enum Failure {
    /// The file is at fault, or the database while it ran it.
    File(Option<Place>, sqlx::Error),
    /// The ledger could not be written.
    Ledger(sqlx::Error),
}
