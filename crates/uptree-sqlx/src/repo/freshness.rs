//! Pooled connections that know the schema as it is.
//!
//! Postgres refuses a prepared `SELECT *` once its table has another column: `cached plan must not
//! change result type`, at every call on that connection. So a connection that was prepared before
//! a migration forgets its statements before it is lent again. Whether there was one is asked by
//! the message that would have to be sent anyway, to see whether the connection is alive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sqlx::{
    error::DatabaseError,
    pool::{PoolConnectionMetadata, PoolOptions},
};

use crate::{
    Backend,
    ledger::Names,
    postgres::{ledger_mark, ledger_readable},
};

/// How many connections are remembered: who is forgotten forgets its statements once more.
const MEMORY: usize = 1000;

/// What a pool knows of the ledger.
pub(crate) struct Freshness {
    state: Mutex<State>,
}

struct State {
    names: Names,
    /// Whether there is a ledger, and it may be read. Not known at first: to ask in vain is an
    /// error in the server's log.
    readable: bool,
    /// What the ledger was like when it was last looked at.
    mark: String,
    /// Since when.
    since: Instant,
    /// When each of the server's processes last was told of the ledger.
    seen: HashMap<String, Instant>,
}

/// What a connection is good for.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Fresh,
    /// Its statements may be older than the schema.
    Stale,
}

impl Freshness {
    pub(crate) fn new(names: Names) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                names,
                readable: false,
                mark: String::new(),
                since: Instant::now(),
                seen: HashMap::new(),
            }),
        })
    }

    /// Where the ledger is, as a migrator has it.
    pub(crate) fn set_names(&self, names: &Names) {
        let mut state = self.lock();
        if state.names != *names {
            state.names = names.clone();
            state.readable = false;
        }
    }

    /// Has a pool look at each connection before it lends it.
    pub(crate) fn install<Db: Backend>(self: &Arc<Self>, pool: PoolOptions<Db>) -> PoolOptions<Db> {
        let freshness = self.clone();
        // This is the ping, too.
        pool.test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let freshness = freshness.clone();
                Box::pin(async move { freshness.look::<Db>(connection, &meta).await })
            })
    }

    /// Whether a connection can be lent.
    async fn look<Db: Backend>(
        &self,
        connection: &mut Db::Connection,
        meta: &PoolConnectionMetadata,
    ) -> Result<bool, sqlx::Error> {
        let asked = Instant::now();
        let (question, readable) = self.question();
        let answer = match Db::text(connection, question).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(error) => {
                let alive = self.refused(&error);
                if !alive {
                    tracing::info!(%error, "a connection in the pool was lost");
                }
                return Ok(alive);
            }
        };
        if !readable {
            self.lock().readable = !answer.is_empty();
            return Ok(true);
        }
        let opened = asked.checked_sub(meta.age).unwrap_or(asked);
        let finding = self.lock().find(&answer, opened, asked);
        match finding {
            Finding::Fresh => Ok(true),
            // If it cannot forget, the pool opens another.
            Finding::Stale => Db::forget(connection).await,
        }
    }

    fn question(&self) -> (String, bool) {
        let state = self.lock();
        let question = match state.readable {
            true => ledger_mark(&state.names),
            false => ledger_readable(&state.names),
        };
        (question, state.readable)
    }

    /// Whether the connection is alive after an error.
    fn refused(&self, error: &sqlx::Error) -> bool {
        let Some(code) = error.as_database_error().and_then(DatabaseError::code) else {
            return false;
        };
        // No such table or schema, or no right to read it.
        if matches!(&*code, "42P01" | "3F000" | "42501") {
            self.lock().readable = false;
        }
        // The server is about to end it. All else leaves it as it was, a transaction that somebody
        // has left open included.
        !code.starts_with("57P") && !code.starts_with("08")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is to be thought of a connection, given its process and the ledger's mark, with a space
    /// between them; when it was opened; and when it was asked.
    fn find(&mut self, answer: &str, opened: Instant, asked: Instant) -> Finding {
        let (process, mark) = answer.split_once(' ').unwrap_or((answer, ""));
        if self.mark != mark {
            mark.clone_into(&mut self.mark);
            self.since = Instant::now();
        }
        // A process may have served another connection before.
        let seen = self.seen.get(process).copied();
        let last = seen.map_or(opened, |seen| seen.max(opened));
        let (finding, seen) = if last < self.since {
            (Finding::Stale, Instant::now())
        } else {
            (Finding::Fresh, asked)
        };
        if self.seen.len() >= MEMORY {
            self.seen.clear();
        }
        self.seen.insert(process.to_owned(), seen);
        finding
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_is_stale_once_after_each_change_that_it_may_have_missed() {
        let freshness = Freshness::new(Names::new("ledger", None));
        let mut state = freshness.lock();
        let old = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        let mut find = |answer: &str, opened: Instant| state.find(answer, opened, Instant::now());
        // What was before the pool first looked is not known.
        assert_eq!(find("7 a", old), Finding::Stale);
        assert_eq!(find("7 a", old), Finding::Fresh);
        assert_eq!(find("8 a", old), Finding::Stale);
        assert_eq!(find("9 a", Instant::now()), Finding::Fresh);
        // Another has seen it first.
        assert_eq!(find("9 b", old), Finding::Stale);
        for process in ["7 b", "8 b"] {
            assert_eq!(find(process, old), Finding::Stale, "{process}");
            assert_eq!(find(process, old), Finding::Fresh, "{process}");
        }
        assert_eq!(find("9 b", old), Finding::Fresh);
        // The process has a new client.
        assert_eq!(find("7 c", Instant::now()), Finding::Stale);
        assert_eq!(find("8 c", Instant::now()), Finding::Fresh);
    }
}
