//! Migrating Postgres: what is sent, and what its answers mean.

mod apply;
mod lock;
mod look;
mod read;
mod steps;

use std::{
    borrow::Cow,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Either,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgConnection, PgRow},
    raw_sql,
};
use tokio::time::timeout;

use self::read::is_forbidden;
use super::{
    badge::Badge,
    message::{Message, Own, Unit},
    observer::Observer,
    sql::Tables,
};
use crate::{
    activity::Activity,
    classify::is_unavailable,
    files::File,
    ledger::{self, Instance, Ledger, Mark, Names},
    session::{Entry, Failure, Lock, Session, Verdict},
    statement::Statement,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the server may take to answer what takes it no time: then the connection is as good as
/// lost.
const ANSWER: Duration = Duration::from_secs(15);

/// A connection that migrates.
///
/// A file in a transaction takes the [locks](lock) for the transaction, in the message that it is
/// sent in, so that they cannot leak, also through a pooler. A file outside a transaction takes them
/// for the session. They are always tried for and never waited for: neither their holder nor those
/// who wait have a transaction open, so that `CREATE INDEX CONCURRENTLY`, which waits for all
/// transactions, waits for none of them.
///
/// All goes by the simple protocol: there are no prepared statements to be in a pooler's way.
pub(crate) struct PgSession {
    connection: PgConnection,
    /// How the connection was made.
    options: PgConnectOptions,
    badge: Arc<Badge>,
    observer: Observer,
    tables: Tables,
    there: ledger::Tables,
    /// The program that is to be entered in the tables, once they are there.
    instance: Option<Instance>,
    /// Whether many files go into one message, since nothing has been applied yet.
    batches: bool,
    /// What is wrong with a file that came after others in their message.
    found: Option<(i64, Failure)>,
    /// The lock's key, once the database's name is known.
    key: i64,
    locked: Locked,
    /// The migrations that have been begun, and are not finished.
    begun: Vec<i64>,
    /// The server's process; 0 until it is known.
    pid: i32,
    /// Whether a pooler lends the server's session for a transaction, once that is known.
    pooled: Option<bool>,
    /// The statement of a stepwise file, by its place, that the server does not take in a
    /// transaction.
    alone: Option<usize>,
    /// Where a stepwise file begins to say itself how long it waits for locks.
    limits_itself_at: Option<usize>,
    /// Whether the server's system can look whether a client is there.
    checks_clients: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    No,
    /// Both were free a moment ago: each message takes them for itself.
    Free,
    /// This session has both.
    Session,
    /// This session has the one of this crate. The ledger says that a migration is under way.
    Own,
}

/// What became of a message.
struct Answer {
    completed: usize,
    outcome: Result<(), sqlx::Error>,
}

impl PgSession {
    pub(super) fn new(
        connection: PgConnection,
        options: PgConnectOptions,
        observer: Observer,
        names: &Names,
        badge: Arc<Badge>,
    ) -> Self {
        Self {
            connection,
            options,
            badge,
            observer,
            tables: Tables::new(names),
            there: ledger::Tables::None,
            instance: None,
            batches: false,
            found: None,
            key: 0,
            locked: Locked::No,
            begun: Vec::new(),
            pid: 0,
            pooled: None,
            alone: None,
            limits_itself_at: None,
            checks_clients: true,
        }
    }

    /// Executes what takes the server no time.
    async fn execute(&mut self, sql: impl Into<String>) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.into());
        let answer = raw_sql(sql).execute(&mut self.connection);
        soon(answer).await.map(drop)
    }

    async fn fetch_one(&mut self, sql: String) -> Result<PgRow, sqlx::Error> {
        soon(raw_sql(AssertSqlSafe(sql)).fetch_one(&mut self.connection)).await
    }

    /// Executes what may take its time.
    async fn work_on(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let mut message = Message::new();
        message.own(Own::Frame, sql);
        self.send(&message, &Activity::default()).await.outcome
    }

    /// Sends a message, and says how far it came.
    async fn send(&mut self, message: &Message<'_>, activity: &Activity) -> Answer {
        let completed = AtomicUsize::new(0);
        let outcome = match self.badge.is_stopping() {
            true => Err(stopping()),
            false => {
                let _work = self.badge.work();
                let answers = answers(&mut self.connection, message, &completed, activity);
                tokio::select! {
                    biased;
                    outcome = answers => outcome,
                    lost = self.observer.watch(message.sql().len(), &completed, activity) => Err(lost),
                }
            }
        };
        Answer {
            completed: completed.into_inner(),
            outcome,
        }
    }
}

/// Sends a message, and counts the statements that are completed.
async fn answers(
    connection: &mut PgConnection,
    message: &Message<'_>,
    completed: &AtomicUsize,
    activity: &Activity,
) -> Result<(), sqlx::Error> {
    let mut files = 0;
    let sql = AssertSqlSafe(message.sql().to_owned());
    let mut results = raw_sql(sql).fetch_many(connection);
    while let Some(result) = results.try_next().await? {
        if let Either::Left(_) = result {
            let number = completed.fetch_add(1, Ordering::Relaxed);
            if let Some(Unit::Own(Own::Commit)) = message.unit(number) {
                files += 1;
                activity.files(files);
            }
            if let Some(Unit::File { number, total, .. }) = message.next_of_a_file(number + 1) {
                activity.statement(number, total);
            }
        }
    }
    Ok(())
}

/// An answer that does not take long.
async fn soon<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| {
        let why = "the server does not answer any more";
        Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
    };
    timeout(ANSWER, answer).await.unwrap_or_else(late)
}

fn stopping() -> sqlx::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the start is called off").into()
}

impl Session for PgSession {
    async fn check(&mut self, instance: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        self.instance = instance.cloned();
        let rows = match self.read(None, instance, true).await {
            Err(error) if instance.is_some() && is_forbidden(&error) => {
                let error = crate::DriverError::from(error);
                tracing::warn!("this program cannot be entered in the ledger's tables: {error}");
                self.read(None, None, true).await?
            }
            rows => rows?,
        };
        self.ledger(&rows)
    }

    async fn try_lock(&mut self, next: &File) -> Result<Lock, sqlx::Error> {
        self.try_both_locks(next).await
    }

    fn is_locked_for(&self, next: &File) -> bool {
        match self.locked {
            Locked::No => false,
            Locked::Free | Locked::Own => !self.locks_for_session(next),
            Locked::Session => true,
        }
    }

    async fn unlock(&mut self) {
        self.observer.rest();
        self.unlock_all().await;
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        let mut message = self.begin(true);
        self.create_in(&mut message);
        message.own(Own::Frame, "COMMIT");
        let activity = Activity::default();
        let answer = self.send(&message, &activity).await;
        match answer.outcome {
            Err(error) => match self
                .failed(&message, answer.completed, error, &activity)
                .await
            {
                // Whoever has the lock may well create them; if not, the next boot does.
                Failure::Elsewhere => Ok(()),
                Failure::File(_, error) | Failure::Alone(_, error) | Failure::Ledger(error) => {
                    Err(error)
                }
                Failure::Locked { error, .. } => Err(error),
                Failure::Code(_) => Ok(()),
            },
            Ok(()) => {
                self.there = ledger::Tables::All;
                Ok(())
            }
        }
    }

    fn is_stepwise(&self, file: &File) -> bool {
        !file.in_transaction()
    }

    async fn apply(&mut self, files: &[&File], activity: &Activity) -> Result<usize, Failure> {
        self.apply_some(files, activity).await
    }

    async fn may_begin(&mut self, entry: Entry) -> Result<bool, sqlx::Error> {
        self.is_our_turn(entry).await
    }

    async fn resume(
        &mut self,
        file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        self.begin_steps(file, statements, done).await
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        self.is_whole(statement)
    }

    async fn picture(&mut self, statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        self.picture_of(statement).await
    }

    async fn inspect(
        &mut self,
        statement: &Statement<'_>,
        before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        self.verdict_on(statement, before).await
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
        activity: &Activity,
    ) -> Result<(), Failure> {
        self.run_step(file, statement, mark, entry, activity).await
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.end_steps().await
    }

    async fn holder(&mut self) -> Option<String> {
        self.lock_holder().await
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_unavailable(error)
    }

    async fn close(self) {
        // Should the server not take it, the connection is dropped, which comes to the same.
        let goodbye = async {
            self.observer.close().await;
            self.connection.close().await
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// The database's code for an error.
fn code_of(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.map(Cow::into_owned)
}
