//! Stopping a statement on the server.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgConnection},
    raw_sql,
};
use tokio::time::{Instant, sleep};

use super::badge::Badge;
use crate::session::Brake;

/// How long a statement may take to be cancelled before its whole session is ended.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is asked for: a statement that was just on its way to the server does not hear of
/// a cancellation that comes before it.
const INTERVAL: Duration = Duration::from_millis(50);

/// Cancels what a migrating session does, by a second connection that is opened when it is needed.
///
/// Nothing else is cancelled, also through a pooler that gives the session's process to another as
/// soon as a transaction has ended: the server itself looks who wears the session's [`Badge`], in
/// the same query that cancels. What is left is the moment between the two, in which the transaction
/// would have to end and another's to begin.
pub(crate) struct PgBrake {
    options: PgConnectOptions,
    /// Of the session that there is, or was last.
    badge: Mutex<Arc<Badge>>,
}

impl PgBrake {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let options = options.disable_statement_logging();
        let badge = Mutex::new(Badge::new());
        Self { options, badge }
    }

    /// For a new session.
    pub(super) fn session(&self) -> Arc<Badge> {
        let badge = Badge::new();
        let mut last = self.badge();
        if last.is_stopping() {
            badge.stop();
        }
        *last = Arc::clone(&badge);
        badge
    }

    fn badge(&self) -> MutexGuard<'_, Arc<Badge>> {
        self.badge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Brake for PgBrake {
    async fn engage(&self) {
        let badge = Arc::clone(&*self.badge());
        badge.stop();
        let since = Instant::now();
        let mut connection: Option<PgConnection> = None;
        while badge.is_busy() {
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
                let sql = AssertSqlSafe(badge.signal(function));
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
