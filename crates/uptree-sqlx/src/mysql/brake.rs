//! Stopping a statement on the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection,
    mysql::{MySqlConnectOptions, MySqlConnection},
    raw_sql,
};
use tokio::time::{Instant, sleep};

use crate::session::Brake;

/// How long a statement may take to be killed before its whole session is.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is asked for: a statement that was just on its way to the server does not hear of
/// a kill that comes before it.
const INTERVAL: Duration = Duration::from_millis(50);

/// Kills what a migrating session does, by a second connection that is opened when it is needed.
pub(crate) struct MySqlBrake {
    options: MySqlConnectOptions,
    /// The session's number on the server; 0 while there is nothing that needs to be stopped.
    id: Arc<AtomicU64>,
}

impl MySqlBrake {
    pub(super) fn new(options: MySqlConnectOptions) -> Self {
        let options = options.disable_statement_logging();
        let id = Arc::default();
        Self { options, id }
    }

    pub(super) fn session(&self) -> Engaged {
        Engaged(self.id.clone())
    }

    fn id(&self) -> Option<u64> {
        Some(self.id.load(Ordering::Acquire)).filter(|id| *id != 0)
    }
}

impl Brake for MySqlBrake {
    async fn engage(&self) {
        let since = Instant::now();
        let mut connection: Option<MySqlConnection> = None;
        while let Some(id) = self.id() {
            if connection.is_none() {
                // Too many connections: the next attempt may find one free.
                connection = self.options.connect().await.ok();
            }
            if let Some(open) = &mut connection {
                let what = if since.elapsed() < PATIENCE {
                    "QUERY"
                } else {
                    "CONNECTION"
                };
                let sql = AssertSqlSafe(format!("KILL {what} {id}"));
                // Not to find it is an answer too: the session is on its way out.
                if let Err(error) = raw_sql(sql).execute(open).await
                    && error.as_database_error().is_none()
                {
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

/// A session's end of the brake: says which session would have to be stopped.
pub(super) struct Engaged(Arc<AtomicU64>);

impl Engaged {
    pub(super) fn set(&self, id: u64) {
        self.0.store(id, Ordering::Release);
    }
}

impl Drop for Engaged {
    fn drop(&mut self) {
        // The session is gone, or will be: nobody waits for it any more.
        self.set(0);
    }
}
