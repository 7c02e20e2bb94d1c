//! Sending, and waiting for answers.

use std::{io::ErrorKind, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Either, mysql::MySqlRow, raw_sql};
use tokio::time::timeout;

use super::MySqlSession;
use crate::{
    activity::Activity,
    mysql::{
        message::{Message, Unit},
        watch::{Seen, Watch},
    },
};

/// How long what is no file's may take, waits for locks included.
const SOON: Duration = Duration::from_secs(40);

/// What became of a message.
pub(super) struct Answer {
    pub(super) completed: usize,
    pub(super) outcome: Result<(), sqlx::Error>,
}

impl MySqlSession {
    pub(super) async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        self.fetch_all(sql).await.map(drop)
    }

    /// Asks something of which an answer is soon to be expected.
    pub(super) async fn fetch_all(&mut self, sql: String) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let answer = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        let answer = timeout(SOON, answer).await;
        answer.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
    }

    pub(super) async fn fetch_one(&mut self, sql: String) -> Result<MySqlRow, sqlx::Error> {
        let rows = self.fetch_all(sql).await?;
        rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    /// Sends a message, and says how far it came. `total` is how many statements the file has, if it
    /// is to be told which of them it is at.
    pub(super) async fn send(
        &mut self,
        message: &Message<'_>,
        activity: &Activity,
        total: Option<usize>,
    ) -> Answer {
        let mut completed = 0;
        let mut watch = Watch::new(&self.options, self.id);
        let sql = AssertSqlSafe(message.sql().to_owned());
        let mut results = raw_sql(sql).fetch_many(&mut self.connection);
        let outcome = loop {
            let result = tokio::select! {
                biased;
                result = results.try_next() => result,
                seen = watch.look() => match seen {
                    Seen::AtWork(detail) => {
                        activity.detail(detail);
                        continue;
                    }
                    Seen::Lost => Err(sqlx::Error::Io(ErrorKind::TimedOut.into())),
                },
            };
            match result {
                Ok(Some(Either::Right(_))) => {}
                Ok(Some(Either::Left(_))) => {
                    completed += 1;
                    watch.answered();
                    if let (Some(total), Some(Unit::Statement(index))) =
                        (total, message.unit(completed))
                    {
                        activity.statement(index + 1, total);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(results);
        watch.close().await;
        Answer { completed, outcome }
    }
}
