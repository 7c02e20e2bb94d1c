//! Applying files that are in a transaction: one message each, or one for many.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::{
    super::{
        message::{Message, Own, Timeouts, Unit},
        sql,
    },
    Locked, PgSession, code_of,
};
use crate::{activity::Activity, classify::is_unavailable, files::File, ledger, session::Failure};

/// How much goes into one message: all of it is in the server's memory.
const BATCH: usize = 16 << 20;

impl PgSession {
    /// Applies as many files as go into one message, and says how many.
    pub(super) async fn apply_some(
        &mut self,
        files: &[&File],
        activity: &Activity,
    ) -> Result<usize, Failure> {
        let file = files[0];
        if file.code().is_some() {
            return self.apply_code(file, activity).await.map(|()| 1);
        }
        let count = self.batch(files);
        if count > 1 {
            match self.apply_whole(&files[..count], activity).await {
                Ok(()) => return Ok(count),
                Err(Failure::File(_, error)) if is_unavailable(&error) => {
                    return Err(Failure::File(None, error));
                }
                Err(Failure::Elsewhere) => return Err(Failure::Elsewhere),
                // One by one, so that the outcome and the error are those of one by one.
                Err(_) => {
                    self.batches = false;
                    activity.begin();
                }
            }
        }
        self.apply_whole(&files[..1], activity).await.map(|()| 1)
    }

    /// A transaction, what it needs, and its lock.
    pub(super) fn begin<'m>(&self, with_lock: bool) -> Message<'m> {
        let mut message = Message::new();
        message.own(Own::Frame, "BEGIN");
        message.own(Own::Keep, &sql::keep(true, self.checks_clients));
        if with_lock {
            message.own(Own::Lock, &sql::lock(self.key));
        }
        message
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            hurried: "100ms".to_owned(),
            ordinary: "30s",
            patient: "0",
        }
    }

    /// A message that applies these files, and enters them.
    fn message<'f>(&self, files: &[&'f File]) -> Message<'f> {
        let mut message = self.begin(true);
        if self.there == ledger::Tables::All {
            message.own(Own::Ledger, &self.tables.forget_old());
        } else {
            for sql in self.tables.create(sql::TYPES) {
                message.own(Own::Ledger, &sql);
            }
        }
        for (index, file) in files.iter().enumerate() {
            if index > 0 {
                message.own(Own::Keep, &sql::keep(true, self.checks_clients));
            }
            message.own(Own::Entry, &self.tables.enter(file));
            message.file(file, &self.timeouts());
            self.finish(&mut message, file);
        }
        message.own(Own::Frame, "COMMIT");
        message
    }

    /// What comes after a file in its transaction.
    fn finish(&self, message: &mut Message<'_>, file: &File) {
        for sql in sql::RESET {
            message.own(Own::Frame, sql);
        }
        if let Some(sql) = self.tables.requires(file) {
            message.own(Own::Ledger, &sql);
        }
        message.own(Own::Done, &self.tables.timed(file));
    }

    /// How many of the first files go into one message.
    fn batch(&self, files: &[&File]) -> usize {
        if !self.batches {
            return 1;
        }
        let mut room = BATCH;
        let fits = |file: &&&File| {
            let length = file.sql().len();
            let fits = length <= room && file.in_transaction() && file.code().is_none();
            room = room.saturating_sub(length);
            fits
        };
        files.iter().take_while(fits).count().max(1)
    }

    async fn apply_whole(&mut self, files: &[&File], activity: &Activity) -> Result<(), Failure> {
        let message = self.message(files);
        let answer = self.send(&message, activity).await;
        match answer.outcome {
            Ok(()) => {
                self.there = ledger::Tables::All;
                Ok(())
            }
            Err(error) => Err(self.failed(&message, answer.completed, error).await),
        }
    }

    /// What an error in a message means; the transaction is rolled back before anybody hears of it.
    pub(super) async fn failed(
        &mut self,
        message: &Message<'_>,
        completed: usize,
        error: sqlx::Error,
    ) -> Failure {
        let code = code_of(&error);
        if code.is_some() {
            let _ = self.execute("ROLLBACK").await;
        }
        match (message.unit(completed), code.as_deref()) {
            (Some(Unit::Own(Own::Lock)), Some("22012")) => {
                self.lose_turn();
                Failure::Elsewhere
            }
            (Some(Unit::Own(Own::Entry)), Some("23505")) => {
                self.lose_turn();
                Failure::Elsewhere
            }
            (Some(Unit::Own(Own::Keep)), Some("22023")) if self.checks_clients => {
                // Not every system that Postgres runs on can do it.
                tracing::debug!(%error, "the server does not look after its clients");
                self.checks_clients = false;
                Failure::Elsewhere
            }
            (Some(Unit::Own(Own::Lock | Own::Entry | Own::Done | Own::Ledger)), _) => {
                Failure::Ledger(error)
            }
            (_, Some("55P03")) => {
                let (_, place) = message.place(completed, None);
                Failure::Locked {
                    place,
                    error,
                    blockers: Vec::new(),
                }
            }
            _ => {
                let (_, place) = message.place(completed, position_of(&error));
                Failure::File(place, error)
            }
        }
    }

    /// Another is faster. What this session has locked for longer it still has.
    fn lose_turn(&mut self) {
        if self.locked == Locked::Free {
            self.locked = Locked::No;
        }
    }

    /// Runs a migration that is written in Rust, in its transaction.
    async fn apply_code(&mut self, file: &File, activity: &Activity) -> Result<(), Failure> {
        let mut message = self.begin(true);
        if self.there != ledger::Tables::All {
            for sql in self.tables.create(sql::TYPES) {
                message.own(Own::Ledger, &sql);
            }
        }
        message.own(Own::Entry, &self.tables.enter(file));
        let answer = self.send(&message, activity).await;
        if let Err(error) = answer.outcome {
            return Err(self.failed(&message, answer.completed, error).await);
        }
        let ran = match file.code().and_then(|code| code.of::<sqlx::Postgres>()) {
            Some(code) => code(&mut self.connection).await,
            None => Err("it is written for another database".into()),
        };
        if let Err(error) = ran {
            let _ = self.execute("ROLLBACK").await;
            return Err(Failure::Code(error));
        }
        let mut message = Message::new();
        self.finish(&mut message, file);
        message.own(Own::Frame, "COMMIT");
        let answer = self.send(&message, activity).await;
        match answer.outcome {
            Ok(()) => {
                self.there = ledger::Tables::All;
                Ok(())
            }
            Err(error) => Err(self.failed(&message, answer.completed, error).await),
        }
    }
}

/// The server's position.
fn position_of(error: &sqlx::Error) -> Option<usize> {
    let error: &PgDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    match error.position() {
        Some(PgErrorPosition::Original(number)) => Some(number),
        _ => None,
    }
}
