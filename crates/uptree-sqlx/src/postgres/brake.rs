//! Stopping a statement on the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgConnection},
    raw_sql,
};
use tokio::time::{Instant, sleep};

use crate::session::Brake;

/// How long a statement may take to be cancelled before its whole session is ended.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is asked for: a statement that was just on its way to the server does not hear of
/// a cancellation that comes before it.
const INTERVAL: Duration = Duration::from_millis(50);

/// Cancels what a migrating session does, by a second connection that is opened when it is needed.
pub(crate) struct PgBrake {
    options: PgConnectOptions,
    /// The session's process on the server; 0 while there is nothing that needs to be stopped.
    pid: Arc<AtomicI32>,
}

impl PgBrake {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let options = options.disable_statement_logging();
        let pid = Arc::default();
        Self { options, pid }
    }

    pub(super) fn session(&self) -> Engaged {
        Engaged(self.pid.clone())
    }

    fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }
}

impl Brake for PgBrake {
    async fn engage(&self) {
        let since = Instant::now();
        let mut connection: Option<PgConnection> = None;
        while let Some(pid) = self.pid() {
            if connection.is_none() {
                // Too many connections: the next attempt may find one free.
                connection = self.options.connect().await.ok();
            }
            if let Some(open) = &mut connection {
                let function = if since.elapsed() < PATIENCE {
                    "pg_cancel_backend"
                } else {
                    "pg_terminate_backend"
                };
                let sql = AssertSqlSafe(format!("SELECT pg_catalog.{function}({pid})"));
                if raw_sql(sql).execute(open).await.is_err() {
                    connection = None;
                }
            }
            sleep(INTERVAL).await;
        }
        if let Some(connection) = connection {
            let _ = connection.close().await;
        }
    }
}

/// A session's end of the brake: says which process would have to be stopped.
pub(super) struct Engaged(Arc<AtomicI32>);

impl Engaged {
    pub(super) fn set(&self, pid: i32) {
        self.0.store(pid, Ordering::Release);
    }
}

impl Drop for Engaged {
    fn drop(&mut self) {
        // The process is gone, or will be: its number may soon be another's.
        self.set(0);
    }
}
