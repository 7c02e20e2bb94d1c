//! Applying files that are in a transaction: one message each, or one for many.

use std::{sync::atomic::AtomicUsize, time::Duration};

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use uptree_app::BoxError;

use super::{
    super::{
        batch::together,
        message::{Cut, Message, Own, Timeouts, Unit},
        sql,
    },
    Locked, PgSession, code_of, stopping,
};
use crate::{
    activity::Activity, files::File, ledger, place::Place, session::Failure, statement::Pace,
};

/// How long a statement waits for a lock at which others queue up behind it.
const MOMENT: Duration = Duration::from_millis(100);

/// How often the server is made to tell how far a message with many files has come.
const TOLD: usize = 50;

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
        // It has been found out already what is wrong with it.
        if let Some((version, failure)) = self.found.take()
            && version == file.version()
        {
            return Err(failure);
        }
        let count = if self.batches { together(files) } else { 1 };
        let cut = match count {
            1 => Cut::ByStatement,
            _ => Cut::ByPace,
        };
        let (done, outcome) = self.apply_whole(&files[..count], activity, cut).await;
        match outcome {
            Ok(()) => Ok(count),
            Err(failure) if done > 0 => {
                self.found = Some((files[done].version(), failure));
                Ok(done)
            }
            Err(Failure::File(_, error)) if count > 1 && is_syntax_error(&error) => {
                // The server reads the whole of a message before it runs any of it: the first files
                // may be good.
                self.batches = false;
                let (_, outcome) = self
                    .apply_whole(&files[..1], activity, Cut::ByStatement)
                    .await;
                outcome.map(|()| 1)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A transaction, what it needs, and its lock.
    pub(super) fn begin<'m>(&self, with_lock: bool) -> Message<'m> {
        let mut message = Message::new();
        message.own(Own::Frame, "BEGIN");
        self.settle_in(&mut message, with_lock, "");
        message
    }

    /// What a transaction needs, but for what has been set in it; and its lock.
    fn settle_in(&self, message: &mut Message<'_>, with_lock: bool, said: &str) {
        message.own(Own::Frame, &self.badge.put_on(true));
        message.own(Own::Keep, &sql::keep_but(true, self.checks_clients, said));
        if with_lock {
            message.own(Own::Lock, &sql::lock(self.key));
        }
    }

    pub(super) fn timeouts(&mut self) -> Timeouts {
        let hurried = self.observer.patience(MOMENT).as_millis();
        Timeouts {
            hurried: format!("{hurried}ms"),
            ordinary: "30s",
            patient: "0",
        }
    }

    /// A message that applies these files, and enters them, by a transaction for each: two messages,
    /// if it is not sure where the file ends.
    fn messages<'f>(&mut self, files: &[&'f File], cut: Cut) -> Vec<Message<'f>> {
        let timeouts = self.timeouts();
        let told = (files.len() / TOLD).max(1);
        let mut messages = Vec::new();
        let mut message = Message::new();
        for (index, file) in files.iter().enumerate() {
            if index > 0 && index % told == 0 {
                message.flush();
            }
            message.own(Own::Frame, "BEGIN");
            let (sent, said) = message.opening(file);
            self.settle_in(&mut message, true, said);
            if index > 0 {
                message.own(Own::Keep, &sql::as_connected());
            }
            if index + 1 < files.len() {
                // The last one waits for the disk, and with it for all of them.
                message.own(Own::Frame, "SET LOCAL synchronous_commit = off");
            }
            if index == 0 && self.there == ledger::Tables::All {
                message.own(Own::Ledger, &self.tables.forget_old());
            } else if index == 0 {
                self.create_in(&mut message);
            }
            message.own(Own::Entry, &self.tables.enter(file));
            message.file(file, sent, &timeouts, cut);
            if !message.is_sure() {
                // A quote that is open would swallow what comes after it.
                messages.push(std::mem::take(&mut message));
            }
            self.finish(&mut message, file);
            message.own(Own::Commit, "COMMIT");
        }
        messages.push(message);
        messages
    }

    /// Creates those of the tables that are missing, and enters this program in them.
    pub(super) fn create_in(&self, message: &mut Message<'_>) {
        if self.there == ledger::Tables::All {
            return;
        }
        for sql in self.tables.create(sql::TYPES) {
            message.own(Own::Ledger, &sql);
        }
        if let Some(instance) = &self.instance {
            message.own(Own::Ledger, &self.tables.register(instance));
        }
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

    /// Applies these files; returns how many of them are, and what is wrong with the next.
    async fn apply_whole(
        &mut self,
        files: &[&File],
        activity: &Activity,
        cut: Cut,
    ) -> (usize, Result<(), Failure>) {
        let mut done = 0;
        for message in self.messages(files, cut) {
            let answer = self.send(&message, activity).await;
            done += message.commits(answer.completed);
            if done > 0 {
                self.there = ledger::Tables::All;
            }
            let Err(error) = answer.outcome else {
                continue;
            };
            // Nothing was done yet, and if it was cut in the wrong place, that is not the file's
            // fault.
            let unreadable = answer.completed == 0 && is_syntax_error(&error);
            if unreadable && message.is_cut() && cut != Cut::Whole && files.len() == 1 {
                return Box::pin(self.apply_whole(files, activity, Cut::Whole)).await;
            }
            let failed = self.failed(&message, answer.completed, error, activity);
            return (done, Err(failed.await));
        }
        self.observer.relax();
        (done, Ok(()))
    }

    /// What an error in a message means; the transaction is rolled back before anybody hears of it.
    pub(super) async fn failed(
        &mut self,
        message: &Message<'_>,
        completed: usize,
        error: sqlx::Error,
        activity: &Activity,
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
            // Elsewhere it says that the server is a copy, and is waited for.
            (_, Some("25006")) if message.says_read_only() => {
                let why = "its transaction may only read, and cannot enter it in the ledger";
                Failure::Code(why.into())
            }
            (_, Some("55P03")) => {
                let (_, place) = message.place(completed, None);
                self.locked(place, error, activity).await
            }
            (Some(Unit::Own(Own::Lock | Own::Entry | Own::Done | Own::Ledger)), _) => {
                Failure::Ledger(error)
            }
            _ => {
                let (_, place) = message.place(completed, position_of(&error));
                Failure::File(place, error)
            }
        }
    }

    /// Others have a lock that is needed.
    async fn locked(
        &mut self,
        place: Option<Place>,
        error: sqlx::Error,
        activity: &Activity,
    ) -> Failure {
        let blockers = self.observer.give_up(activity).await;
        match self.stay_first().await {
            Ok(false) => Failure::Elsewhere,
            // What else is wrong with the connection, the next attempt says.
            Ok(true) | Err(_) => Failure::Locked {
                place,
                error,
                blockers,
            },
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
        self.create_in(&mut message);
        message.own(Own::Entry, &self.tables.enter(file));
        // It may write data or change tables, and others queue up behind the latter.
        message.limit(&self.timeouts(), Pace::Hurried);
        let answer = self.send(&message, activity).await;
        if let Err(error) = answer.outcome {
            return Err(self
                .failed(&message, answer.completed, error, activity)
                .await);
        }
        let ran = self.run_code(file, activity).await;
        if let Err(failure) = ran {
            let _ = self.execute("ROLLBACK").await;
            return Err(match failure {
                Failure::Locked { place, error, .. } => self.locked(place, error, activity).await,
                failure => failure,
            });
        }
        let mut message = Message::new();
        self.finish(&mut message, file);
        message.own(Own::Commit, "COMMIT");
        let answer = self.send(&message, activity).await;
        match answer.outcome {
            Ok(()) => {
                self.there = ledger::Tables::All;
                self.observer.relax();
                Ok(())
            }
            Err(error) => Err(self
                .failed(&message, answer.completed, error, activity)
                .await),
        }
    }
}

impl PgSession {
    /// The part of a migration in Rust that is the program's.
    async fn run_code(&mut self, file: &File, activity: &Activity) -> Result<(), Failure> {
        if self.badge.is_stopping() {
            return Err(Failure::File(None, stopping()));
        }
        let code = file.code().and_then(|code| code.of::<sqlx::Postgres>());
        let Some(code) = code else {
            return Err(Failure::Code("it is written for another database".into()));
        };
        // Whoever has to stop it finds the process, whatever it is just doing.
        let _work = self.badge.work();
        let nothing = AtomicUsize::new(0);
        tokio::select! {
            biased;
            ran = code(&mut self.connection) => ran.map_err(locked_or_wrong),
            lost = self.observer.watch(0, &nothing, activity) => Err(Failure::File(None, lost)),
        }
    }
}

/// What an error of a migration in Rust means.
fn locked_or_wrong(error: BoxError) -> Failure {
    match error.downcast::<sqlx::Error>() {
        Ok(error) if code_of(&error).as_deref() == Some("55P03") => Failure::Locked {
            place: None,
            error: *error,
            blockers: Vec::new(),
        },
        Ok(error) => Failure::Code(error),
        Err(error) => Failure::Code(error),
    }
}

fn is_syntax_error(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some("42601")
}

/// The server's position.
fn position_of(error: &sqlx::Error) -> Option<usize> {
    let error: &PgDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    match error.position() {
        Some(PgErrorPosition::Original(number)) => Some(number),
        _ => None,
    }
}
