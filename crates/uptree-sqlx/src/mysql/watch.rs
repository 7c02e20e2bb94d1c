//! Looking after a statement that takes its time, by a second connection that is opened for it.
//!
//! sqlx waits for an answer without end, also for one that was lost on the way. And the server tells
//! others how far a statement has come.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow},
    raw_sql,
};
use tokio::time::{Instant, sleep_until, timeout};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(3);

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(2);

/// How many looks in a row have to find that no answer will come: one may have been on its way.
const ENOUGH: u32 = 3;

/// What a look has found.
pub(super) enum Seen {
    /// It is at work: what the server says of it.
    AtWork(Option<String>),
    /// No answer will come any more.
    Lost,
}

/// Watches one session, from when it is made until an answer comes.
pub(super) struct Watch {
    options: MySqlConnectOptions,
    /// The session's number on the server.
    id: u64,
    connection: Option<MySqlConnection>,
    next: Instant,
    in_vain: u32,
}

impl Watch {
    pub(super) fn new(options: &MySqlConnectOptions, id: u64) -> Self {
        Self {
            options: options.clone(),
            id,
            connection: None,
            next: Instant::now() + INTERVAL,
            in_vain: 0,
        }
    }

    /// An answer has come.
    pub(super) fn answered(&mut self) {
        self.next = Instant::now() + INTERVAL;
        self.in_vain = 0;
    }

    /// Waits, and looks.
    ///
    /// # Cancel safety
    ///
    /// What was found is lost.
    pub(super) async fn look(&mut self) -> Seen {
        sleep_until(self.next).await;
        self.next = Instant::now() + INTERVAL;
        let found = timeout(LOOK, self.ask()).await;
        let state = match found {
            Ok(Ok(rows)) => rows.first().and_then(at_work),
            // It cannot be asked: neither can the session.
            Ok(Err(_)) | Err(_) => {
                self.connection = None;
                None
            }
        };
        if let Some(detail) = state {
            self.in_vain = 0;
            return Seen::AtWork(Some(detail).filter(|detail| !detail.is_empty()));
        }
        self.in_vain += 1;
        match self.in_vain < ENOUGH {
            true => Seen::AtWork(None),
            false => Seen::Lost,
        }
    }

    async fn ask(&mut self) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await?),
        };
        // MariaDB alone has the stages.
        let sql = format!(
            "SELECT command, state, /*M! IF(max_stage = 0, '', CONCAT(', stage ', stage, ' of ',
                 max_stage, ', ', ROUND(progress), ' %')), */ 0
             FROM information_schema.processlist WHERE id = {}",
            self.id
        );
        raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = timeout(LOOK, connection.close()).await;
        }
    }
}

/// What a session is at; `None` if it is idle.
fn at_work(row: &MySqlRow) -> Option<String> {
    let command: String = row.try_get_unchecked(0).ok()?;
    let state: Option<String> = row.try_get_unchecked(1).ok()?;
    let progress: Option<String> = row.try_get_unchecked(2).ok().filter(|_| row.len() > 3);
    let state = state.unwrap_or_default().to_lowercase();
    (command != "Sleep").then(|| state + &progress.unwrap_or_default())
}
