//! Files outside a transaction: statement by statement.

use super::{
    super::{
        message::{Message, Own},
        sql,
    },
    PgSession,
};
use crate::{
    activity::Activity,
    files::File,
    ledger::{self, Mark},
    session::{Entry, Failure, Verdict},
    statement::Statement,
};

impl PgSession {
    /// What the database looks like where the statement is about to change it.
    pub(super) async fn picture_of(
        &mut self,
        _statement: &Statement<'_>,
    ) -> Result<String, sqlx::Error> {
        Ok(String::new())
    }

    /// What became of a statement that was begun by a process that is gone.
    pub(super) async fn verdict_on(
        &mut self,
        _statement: &Statement<'_>,
        _before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        Ok(Verdict::Unknown)
    }

    /// Writes how far a file has come.
    pub(super) async fn write_mark(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        let mut sql = Vec::new();
        if self.there != ledger::Tables::All {
            sql = self.tables.create(sql::TYPES);
        }
        sql.extend(self.tables.mark(file, mark, entry));
        self.execute(sql.join(";\n")).await?;
        self.there = ledger::Tables::All;
        Ok(())
    }

    /// Runs one statement, then writes the mark.
    pub(super) async fn run_step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let timeouts = self.timeouts();
        let pace = statement.pace();
        if statement.needs_no_transaction() {
            let limit = format!("SET lock_timeout = '{}'", timeouts.of(pace));
            self.execute(limit).await.map_err(Failure::Ledger)?;
            let mut message = Message::new();
            message.statement(file, statement);
            let answer = self.send(&message, activity).await;
            if let Err(error) = answer.outcome {
                return Err(self.failed(&message, answer.completed, error, activity).await);
            }
            return self
                .write_mark(file, mark, entry)
                .await
                .map_err(Failure::Ledger);
        }
        let mut message = self.begin(false);
        if self.there != ledger::Tables::All {
            for sql in self.tables.create(sql::TYPES) {
                message.own(Own::Ledger, &sql);
            }
        }
        message.limit(&timeouts, pace);
        message.statement(file, statement);
        for sql in self.tables.mark(file, mark, entry) {
            message.own(Own::Ledger, &sql);
        }
        message.own(Own::Frame, "COMMIT");
        let answer = self.send(&message, activity).await;
        match answer.outcome {
            Ok(()) => {
                self.there = ledger::Tables::All;
                Ok(())
            }
            Err(error) => Err(self.failed(&message, answer.completed, error, activity).await),
        }
    }
}
