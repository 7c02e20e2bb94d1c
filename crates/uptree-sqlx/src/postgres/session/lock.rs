//! The locks that only one migrator has.
//!
//! There are two. One is sqlx's own, so that `sqlx migrate` and this crate keep out of each other's
//! way. It is held for as long as the ledger does not say that a migration is under way. From then
//! on sqlx stops by itself, and must not be made to wait: it waits with a snapshot open, and a
//! concurrent index build, which waits for all snapshots, would wait for it in turn. The other lock
//! is for programs of this crate, which never wait for it, and is held all the time.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Row as _, postgres::PgConnection, raw_sql};
use tokio::time::sleep;

use super::{super::sql, Locked, PgSession, soon};
use crate::{
    files::File,
    session::{Entry, Lock},
};

/// How long a second connection may take to be answered, before the first is asked whether it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the two are compared: through a pooler that is in use they may differ by chance.
const ROUNDS: u32 = 3;

/// The server's process, and when it was started.
const WHO: &str = "SELECT pid::text || ' ' || backend_start::text
                   FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";

/// Who else has one of the locks, or waits for it.
#[derive(Debug, PartialEq, Eq)]
enum Others {
    None,
    Wait,
    Hold,
}

impl PgSession {
    /// A file in a transaction takes the locks in its message. All others must keep them for
    /// longer, also one that has been begun outside a transaction and mended since.
    pub(super) fn locks_for_session(&self, next: &File) -> bool {
        !next.in_transaction() || self.begun.contains(&next.version())
    }

    pub(super) async fn try_both_locks(&mut self, next: &File) -> Result<Lock, sqlx::Error> {
        if self.locks_for_session(next) {
            match self.others().await? {
                Others::None => {}
                Others::Wait => return Ok(Lock::Yield),
                Others::Hold => return Ok(Lock::Elsewhere),
            }
            if self.is_pooled().await? {
                return Ok(Lock::Pooled);
            }
            // By itself: what is repeated because of an error would lock it twice.
            if !self.take(&sql::lock_session(self.key)).await? {
                return Ok(Lock::Elsewhere);
            }
            self.locked = Locked::Session;
            let rows = self.read(None, None, false).await?;
            return Ok(Lock::Taken(self.ledger(&rows)?));
        }
        let free = format!("SELECT {}", sql::lock_transaction(self.key));
        let mut rows = self.read(Some(&free), None, false).await?;
        if !rows.remove(0).try_get(0)? {
            return Ok(Lock::Elsewhere);
        }
        self.locked = Locked::Free;
        let ledger = self.ledger(&rows)?;
        self.batches = ledger.rows.is_empty();
        Ok(Lock::Taken(ledger))
    }

    pub(super) async fn unlock_all(&mut self) {
        if matches!(self.locked, Locked::Session | Locked::Own) {
            // If it fails the connection is lost, and the locks with it.
            let _ = self
                .execute("SELECT pg_catalog.pg_advisory_unlock_all()")
                .await;
        }
        self.locked = Locked::No;
    }

    /// Keeps the others off between two attempts at a file, so that they do not make their own: each
    /// would hold up those who want to read as often as this one does. Through a pooler there is no
    /// way to.
    ///
    /// Returns whether it is still this one's turn.
    pub(super) async fn stay_first(&mut self) -> Result<bool, sqlx::Error> {
        if self.locked != Locked::Free || self.is_pooled().await? {
            return Ok(true);
        }
        let taken = self.take(&sql::lock_session(self.key)).await?;
        self.locked = if taken { Locked::Session } else { Locked::No };
        Ok(taken)
    }

    /// Whether the next statement of a file may be run; not before its first one, if another
    /// program has sqlx's lock or waits for it: it would find the migration under way, and fail.
    pub(super) async fn is_our_turn(&mut self, entry: Entry) -> Result<bool, sqlx::Error> {
        if entry == Entry::There {
            return Ok(true);
        }
        if self.locked == Locked::Own {
            if !self.take(&sql::lock_sqlx(self.key)).await? {
                return Ok(false);
            }
            self.locked = Locked::Session;
        }
        Ok(self.others().await? == Others::None)
    }

    async fn take(&mut self, lock: &str) -> Result<bool, sqlx::Error> {
        self.fetch_one(format!("SELECT {lock}")).await?.try_get(0)
    }

    async fn others(&mut self) -> Result<Others, sqlx::Error> {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE granted), count(*) FROM pg_catalog.pg_locks
             WHERE pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND {}",
            sql::is_ours(self.key)
        );
        let row = self.fetch_one(sql).await?;
        let (hold, all): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(match (hold, all) {
            (_, 0) => Others::None,
            (0, _) => Others::Wait,
            _ => Others::Hold,
        })
    }

    /// Whether a pooler lends us the server's session for a transaction at a time: a lock for the
    /// session would then be anybody's.
    ///
    /// It is so if our server's process is not always the same, or is also that of a second
    /// connection. A pooler that lends it for as long as we are connected does neither.
    pub(super) async fn is_pooled(&mut self) -> Result<bool, sqlx::Error> {
        if let Some(pooled) = self.pooled {
            return Ok(pooled);
        }
        let pooled = self.compare().await?;
        self.pooled = Some(pooled);
        Ok(pooled)
    }

    async fn compare(&mut self) -> Result<bool, sqlx::Error> {
        let mut second = soon(self.options.connect()).await?;
        let own = who(&mut self.connection, WHO).await?;
        let mut differs = false;
        for _ in 0..ROUNDS {
            // It stays in its transaction: a pooler can give its process to nobody else.
            let begun = format!("BEGIN; {WHO}");
            let other = tokio::select! {
                other = who(&mut second, &begun) => other?,
                // Whoever asks later through a pooler that is short of processes is answered
                // later: this one did not have to ask for one.
                own = async {
                    sleep(PATIENCE).await;
                    who(&mut self.connection, WHO).await
                } => {
                    own?;
                    return Ok(false);
                }
            };
            differs = other == own || who(&mut self.connection, WHO).await? != own;
            soon(raw_sql("COMMIT").execute(&mut second)).await?;
            if differs {
                break;
            }
        }
        // It has said what it was asked for.
        let _ = soon(second.close()).await;
        Ok(differs)
    }

    /// Who has one of the locks, in words.
    pub(super) async fn lock_holder(&mut self) -> Option<String> {
        let sql = format!(
            "SELECT format('process %s (%s%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                           coalesce(' from ' || host(client_addr), ''))
             FROM pg_catalog.pg_locks JOIN pg_catalog.pg_stat_activity USING (pid)
             WHERE granted AND {}
             LIMIT 1",
            sql::is_ours(self.key)
        );
        self.fetch_one(sql).await.ok()?.try_get(0).ok()
    }
}

/// What a connection says to a question of one row and one column; `None` if it has no row.
async fn who(connection: &mut PgConnection, sql: &str) -> Result<Option<String>, sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let row = soon(raw_sql(sql).fetch_optional(connection)).await?;
    row.map(|row| row.try_get(0)).transpose()
}
