//! Going on with a file that a process has left in its midst.

use std::time::Duration;

use sqlx::{Row, mysql::MySqlRow};
use tokio::time::sleep;

use super::{MySqlSession, apply::cited};
use crate::{
    activity::Activity,
    files::File,
    ledger::Mark,
    mysql::{
        blockers, code, kind,
        kind::locked_too,
        lost::lost,
        message::{Message, Own, Unit},
        script::BY_HAND,
        sql::text,
    },
    place::{self, Place},
    session::{Entry, Failure, Session},
    statement::Statement,
};

/// How often a picture is tried, with pauses between, while others change what is to be seen.
const DRAWINGS: u32 = 100;

impl MySqlSession {
    /// Draws a picture.
    pub(super) async fn draw(&mut self, picture: &str) -> Result<String, sqlx::Error> {
        let mut attempts = 1;
        loop {
            let sql = format!("SELECT {picture};\nSHOW WARNINGS");
            let rows = self.fetch_all(sql).await?;
            let (picture, warnings) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
            let code_of = |row: &MySqlRow| row.try_get_unchecked::<u32, _>(1).ok();
            // A table that others are about to change is left out of it, with a warning.
            if !warnings
                .iter()
                .any(|row| code_of(row) == Some(code::SKIPPED.into()))
            {
                return picture.try_get_unchecked(0);
            }
            if attempts == DRAWINGS {
                return Err(sqlx::Error::Protocol(
                    "others are changing its tables".into(),
                ));
            }
            attempts += 1;
            sleep(Duration::from_millis(fastrand::u64(100..300))).await;
        }
    }

    pub(super) fn marking(&self, file: &File, mark: &Mark, entry: Entry) -> Vec<String> {
        let mut sql = Vec::new();
        if mark.is_blank() {
            sql.extend(self.tables.withdraw(file));
        } else {
            if entry == Entry::New {
                sql.push(self.tables.enter(file));
                sql.push(self.tables.enter_mark(file));
            }
            let before = mark.before.as_deref().map(text);
            let before = before.as_deref().unwrap_or("NULL");
            sql.push(self.tables.mark(file, mark, before));
            if mark.finished {
                sql.push(self.tables.finish(file));
            }
        }
        sql.push("COMMIT".to_owned());
        sql
    }

    /// Sets again what the statements that are done have set for their session.
    pub(super) async fn set_again(
        &mut self,
        file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::File(None, error);
        if let Some(what) = lost(statements, done) {
            return Err(cannot_go_on(file, &what, statements.get(done)));
        }
        let done = statements.get(..done).unwrap_or_default();
        self.used = true;
        self.careful("").await.map_err(failed)?;
        self.own_limit = done.iter().any(kind::sets_limit);
        for statement in done
            .iter()
            .filter(|statement| kind::sets_something(statement))
        {
            let (offset, more) = locked_too(statement, &self.tables).unwrap_or_default();
            let (head, tail) = statement.sql.split_at(offset);
            let sql = format!("{head}{more}{tail}");
            self.execute(sql).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Runs a statement, then writes the mark; one transaction, unless it commits by itself.
    pub(super) async fn run_step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let index = mark.done - 1;
        let mut message = Message::new(file, index);
        message.own(Own::Frame, BY_HAND);
        self.own_limit |= kind::sets_limit(statement);
        if !self.own_limit {
            message.limit(statement.pace());
        }
        message.statement(index, statement, locked_too(statement, &self.tables));
        let marks_follow = !kind::ends_message(statement);
        if marks_follow {
            message.own(Own::Frame, BY_HAND);
            for sql in self.marking(file, mark, entry) {
                message.own(Own::Ledger, &sql);
            }
        }
        // The walk itself tells which statement it is.
        let answer = self.send(&message, activity, None).await;
        if let Err(error) = answer.outcome {
            let error = match message.unit(answer.completed) {
                Some(Unit::Statement(_)) => self.cited_alone(Some(statement), error).await,
                _ => error,
            };
            let _ = self.execute("ROLLBACK".to_owned()).await;
            let place = message.place(answer.completed, cited(&error));
            return Err(match code::number(&error) {
                _ if place.is_none() => Failure::Ledger(error),
                Some(number) if code::LOCKED.contains(&number) => Failure::Locked {
                    place,
                    blockers: blockers::find(
                        &mut self.connection,
                        Some(statement),
                        activity.shows_queries(),
                    )
                    .await,
                    error,
                },
                _ => Failure::File(place, error),
            });
        }
        match marks_follow {
            true => Ok(()),
            false => self.mark(file, mark, entry).await.map_err(Failure::Ledger),
        }
    }
}

/// A file whose rest needs something that was lost with a session.
pub(super) fn cannot_go_on(file: &File, what: &str, next: Option<&Statement<'_>>) -> Failure {
    let version = file.version();
    let place = next.map(|next| Place {
        column: None,
        ..place::of_offset(file.sql(), next.at)
    });
    let text = format!(
        "what was done before it has left {what} in its session, which is gone: do by hand what is \
         left of the file, and say so: `migrate resolve {version} --applied`"
    );
    Failure::File(place, sqlx::Error::Configuration(text.into()))
}
