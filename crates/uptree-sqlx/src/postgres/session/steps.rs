//! Files outside a transaction: statement by statement.

use std::io;

use super::{
    super::{
        message::{Message, Own, Unit},
        sql,
    },
    Locked, PgSession, code_of,
};
use crate::{
    activity::Activity,
    files::File,
    ledger::{self, Mark},
    session::{Entry, Failure},
    statement::{Kind, Object, Pace, Statement, Verb},
};

/// The first version that adds a value to a type in a transaction.
const ADDS_VALUES: u32 = 120_000;

impl PgSession {
    /// Makes the session ready for a file's statements: the server looks after its client, and what
    /// the file has set in those that are done is set again.
    pub(super) async fn begin_steps(
        &mut self,
        file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        self.alone = None;
        let limit = |statement: &&Statement<'_>| {
            matches!(statement.kind, Kind::Settings { lock_timeout: true })
        };
        self.limits_itself_at = statements.iter().find(limit).map(|statement| statement.at);
        let badge = self.badge.put_on(false);
        self.execute(badge).await.map_err(Failure::Ledger)?;
        let kept = self.execute(sql::keep(false, self.checks_clients)).await;
        if let Err(error) = kept {
            if code_of(&error).as_deref() != Some("22023") || !self.checks_clients {
                return Err(Failure::Ledger(error));
            }
            tracing::debug!(%error, "the server does not look after its clients");
            self.checks_clients = false;
            let kept = self.execute(sql::keep(false, false)).await;
            kept.map_err(Failure::Ledger)?;
        }
        let settings = |statement: &&Statement<'_>| matches!(statement.kind, Kind::Settings { .. });
        for statement in statements[..done].iter().filter(settings) {
            self.run_by_itself(file, statement, &Activity::default())
                .await?;
        }
        Ok(())
    }

    /// Ends what the file has set, and what was set for it.
    pub(super) async fn end_steps(&mut self) -> Result<(), sqlx::Error> {
        // In a transaction: what is done for its constraints is done already.
        self.execute(sql::RESET[1..].join("; ")).await
    }

    /// Whether it is committed with its mark.
    pub(super) fn is_whole(&self, statement: &Statement<'_>) -> bool {
        if self.alone == Some(statement.at) {
            return false;
        }
        let adds_value = matches!(&statement.kind, Kind::Ddl(ddl)
            if (ddl.verb, ddl.object) == (Verb::Alter, Object::Type));
        let version = self.connection.server_version_num();
        let adds_values = version.is_some_and(|version| version >= ADDS_VALUES);
        !statement.needs_no_transaction() || (adds_value && adds_values)
    }

    /// Writes how far a file has come.
    pub(super) async fn write_mark(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        let mut message = Message::new();
        message.own(Own::Frame, "BEGIN");
        self.add_mark(&mut message, file, mark, entry);
        let answer = self.send(&message, &Activity::default()).await;
        let Err(error) = answer.outcome else {
            self.marked(mark);
            return Ok(());
        };
        let _ = self.execute("ROLLBACK").await;
        match message.unit(answer.completed) {
            Some(Unit::Own(Own::Lock)) if code_of(&error).is_some() => {
                let why = "the file has given up the lock, and another process has taken it";
                Err(io::Error::other(why).into())
            }
            _ => Err(error),
        }
    }

    /// What writes a mark, ends the transaction, and gives up what is not needed any more.
    fn add_mark(&self, message: &mut Message<'_>, file: &File, mark: &Mark, entry: Entry) {
        for sql in sql::AS_OURSELVES {
            message.own(Own::Frame, sql);
        }
        message.own(Own::Lock, &sql::hold(self.key));
        self.create_in(message);
        for sql in self.tables.mark(file, mark, entry) {
            message.own(Own::Ledger, &sql);
        }
        message.own(Own::Frame, "COMMIT");
        if self.frees(mark) {
            message.own(Own::Frame, &sql::unlock_sqlx(self.key));
        }
    }

    /// Whether sqlx's lock is given up with this mark: the ledger then says that a migration is
    /// under way.
    fn frees(&self, mark: &Mark) -> bool {
        self.locked == Locked::Session && !mark.finished && !mark.is_blank()
    }

    fn marked(&mut self, mark: &Mark) {
        self.there = ledger::Tables::All;
        if self.frees(mark) {
            self.locked = Locked::Own;
        }
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
        if !self.is_whole(statement) {
            self.run_by_itself(file, statement, activity).await?;
            self.see_it_valid(statement).await?;
            self.observer.relax();
            let marked = self.write_mark(file, mark, entry).await;
            return marked.map_err(Failure::Ledger);
        }
        let mut message = Message::new();
        message.own(Own::Frame, "BEGIN");
        if self.limits(statement) {
            message.limit(&self.timeouts(), statement.pace());
        }
        message.statement(file, statement);
        self.add_mark(&mut message, file, mark, entry);
        let answer = self.send(&message, activity).await;
        let Err(error) = answer.outcome else {
            self.marked(mark);
            self.observer.relax();
            return Ok(());
        };
        match self
            .failed(&message, answer.completed, error, activity)
            .await
        {
            Failure::File(place, error) if is_not_for_transactions(&error) => {
                self.alone = Some(statement.at);
                Err(Failure::Alone(place, error))
            }
            failure => Err(failure),
        }
    }

    /// Runs a statement of a file, and nothing else.
    async fn run_by_itself(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        activity: &Activity,
    ) -> Result<(), Failure> {
        if self.limits(statement) {
            let timeouts = self.timeouts();
            let limit = format!("SET lock_timeout = '{}'", timeouts.of(statement.pace()));
            self.execute(limit).await.map_err(Failure::Ledger)?;
        }
        let mut message = Message::new();
        message.statement(file, statement);
        let answer = self.send(&message, activity).await;
        match answer.outcome {
            Ok(()) => {
                self.observer.relax();
                Ok(())
            }
            Err(error) => Err(self
                .failed(&message, answer.completed, error, activity)
                .await),
        }
    }

    /// Whether it is for us to say how long the statement waits for locks: until the file does.
    fn limits(&self, statement: &Statement<'_>) -> bool {
        statement.pace() != Pace::Unset && self.limits_itself_at.is_none_or(|at| statement.at < at)
    }
}

/// Whether the server refuses a statement because it is in a transaction, or ends it.
fn is_not_for_transactions(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("25001" | "2D000"))
}
