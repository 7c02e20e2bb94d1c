//! The connection that migrates: its transaction, and its waits for locks.

use std::{mem, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tokio::time::{Instant, sleep, timeout};

use super::brake::{Engaged, SqliteBrake};
use crate::classify::is_busy;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a lock is waited for in the midst of a file, which would have to be begun again, or
/// cannot be.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that can be opened anew.
pub(super) struct Link {
    options: SqliteConnectOptions,
    brake: SqliteBrake,
    pub(super) connection: SqliteConnection,
    _engaged: Engaged,
    in_transaction: bool,
    stale: bool,
}

impl Link {
    pub(super) async fn open(
        options: SqliteConnectOptions,
        brake: SqliteBrake,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = options.connect().await?;
        let engaged = brake.fit(&mut connection).await?;
        Ok(Self {
            options,
            brake,
            connection,
            _engaged: engaged,
            in_transaction: false,
            stale: false,
        })
    }

    /// A file has left something on the connection that must not reach the next.
    pub(super) fn soil(&mut self) {
        self.stale = true;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Opens another in its place: that is the end of settings, attached databases and temporary
    /// tables, of which a list would have gaps.
    pub(super) async fn renew(&mut self) -> Result<(), sqlx::Error> {
        // A database in memory would be gone with its last connection: so the old one is closed
        // after the new one is there.
        let fresh = Self::open(self.options.clone(), self.brake.clone()).await?;
        mem::replace(self, fresh).close().await;
        Ok(())
    }

    pub(super) async fn close(self) {
        // Closed by its thread, which rolls back what is open.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }

    pub(super) async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    /// The same, waiting while others have the file locked. SQLite's own wait is short, because it
    /// cannot be called off.
    pub(super) async fn execute_patiently(
        &mut self,
        sql: &str,
        patience: Duration,
    ) -> Result<(), sqlx::Error> {
        let mut wait = self.wait(patience);
        loop {
            let outcome = self.execute(sql).await;
            match outcome {
                Err(error) if wait.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Begins a transaction that can write: at its first write another would fail.
    pub(super) async fn begin(&mut self, patience: Duration) -> Result<(), sqlx::Error> {
        self.execute_patiently("BEGIN IMMEDIATE", patience).await?;
        self.in_transaction = true;
        Ok(())
    }

    /// Without a write-ahead log it waits for those who read, and can be tried again.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        let committed = self.execute_patiently("COMMIT", PATIENCE).await;
        match committed {
            Ok(()) => self.in_transaction = false,
            Err(_) => self.roll_back().await,
        }
        committed
    }

    pub(super) async fn roll_back(&mut self) {
        if mem::take(&mut self.in_transaction) {
            // It may have been rolled back by the error itself.
            let _ = self.execute("ROLLBACK").await;
        }
    }

    /// A wait for others to unlock the file.
    pub(super) fn wait(&self, patience: Duration) -> LockWait {
        LockWait {
            brake: self.brake.clone(),
            until: Instant::now() + patience,
        }
    }
}

/// A wait for others to unlock the file, which can be called off.
pub(super) struct LockWait {
    brake: SqliteBrake,
    until: Instant,
}

impl LockWait {
    /// Waits a moment before another attempt; at once `false`, if it is of no use.
    pub(super) async fn again(&mut self, error: &sqlx::Error) -> bool {
        let waits = is_busy(error) && Instant::now() < self.until && !self.brake.is_engaged();
        if waits {
            sleep(Duration::from_millis(fastrand::u64(10..100))).await;
        }
        waits
    }
}
