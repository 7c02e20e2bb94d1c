//! Running a file, and what an error in its midst means.

use super::MySqlSession;
use crate::{
    activity::Activity,
    files::File,
    ledger,
    mysql::{
        blockers, code, kind,
        message::{Message, Own, Unit},
        script::{BY_HAND, Script},
    },
    session::Failure,
    split::Dialect,
    statement::{self, Statement},
};
use sqlx::Row;

/// Whether some tables of the database, or all new ones, know no transactions.
const CAREFUL: &str = "SELECT @@default_storage_engine NOT IN (SELECT engine
        FROM information_schema.engines WHERE transactions = 'YES')
    OR EXISTS (SELECT 1 FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND engine NOT IN
            (SELECT engine FROM information_schema.engines WHERE transactions = 'YES'))";

impl MySqlSession {
    /// Whether tables may know no transactions.
    pub(super) async fn careful(&mut self, sql: &str) -> Result<bool, sqlx::Error> {
        let careful = match self.careful {
            Some(careful) => careful,
            None => {
                let row = self.fetch_one(CAREFUL.to_owned()).await?;
                row.try_get_unchecked::<i64, _>(0)? != 0
            }
        };
        let names_an_engine = kind::names_an_engine(sql);
        // What it names will be there for those that come after it.
        self.careful = Some(careful).filter(|_| !names_an_engine);
        Ok(careful || names_an_engine)
    }

    pub(super) async fn apply_sql(
        &mut self,
        file: &File,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let statements = statement::parse(file.sql(), Dialect::MySql);
        let careful = match statements.iter().any(kind::writes_rows) {
            true => self.careful(file.sql()).await.map_err(Failure::Ledger)?,
            false => false,
        };
        let script = Script::new(file, statements, careful);
        let paused = self.paused.take();
        let mut from = match paused {
            Some((version, from)) if version == file.version() => from,
            _ => 0,
        };
        self.used |= script.leaves_something();
        loop {
            let part = script.part(from, &self.tables, self.there);
            let answer = self.send(&part.message, activity, Some(script.len())).await;
            match (answer.outcome, part.next) {
                (Ok(()), Some(next)) => from = next,
                (Ok(()), None) => {
                    self.there = ledger::Tables::All;
                    return Ok(());
                }
                (Err(error), _) => {
                    let completed = answer.completed;
                    return Err(self
                        .failed(&script, &part.message, completed, error, activity)
                        .await);
                }
            }
        }
    }

    /// What an error in a message means. What can be rolled back is, before anybody hears of it, and
    /// the mark says where the file goes on.
    pub(super) async fn failed(
        &mut self,
        script: &Script<'_>,
        message: &Message<'_>,
        completed: usize,
        error: sqlx::Error,
        activity: &Activity,
    ) -> Failure {
        let unit = message.unit(completed);
        let file = message.file();
        let statement = unit.and_then(|unit| script.statement(unit));
        let error = self.cited_alone(statement, error).await;
        let place = message.place(completed, cited(&error));
        let Some(number) = code::number(&error) else {
            return Failure::File(place, error);
        };
        if (unit, number) == (Some(Unit::Own(Own::Entry)), code::DUPLICATE_KEY) {
            let _ = self.execute("ROLLBACK".to_owned()).await;
            self.locked = false;
            return Failure::Elsewhere;
        }
        let from = message.resume(completed);
        let blockers = match code::LOCKED.contains(&number) {
            true => blockers::find(&mut self.connection, statement, activity.shows_queries()).await,
            false => Vec::new(),
        };
        let withdrawn = match from {
            0 => self.tables.withdraw(file).join(";\n"),
            from => self.tables.mark(file, &script.mark(from, false), "NULL"),
        };
        let withdrawn = format!("ROLLBACK;\n{withdrawn};\nCOMMIT");
        let withdrawn = self.execute(withdrawn).await;
        match (unit, code::LOCKED.contains(&number)) {
            (_, true) if withdrawn.is_ok() => {
                self.paused = Some((file.version(), from));
                Failure::Locked {
                    place,
                    error,
                    blockers,
                }
            }
            (Some(Unit::Own(_)), _) => Failure::Ledger(error),
            _ => Failure::File(place, error),
        }
    }

    /// Has the server cite the statement that it does not understand without what came after it.
    pub(super) async fn cited_alone(
        &mut self,
        statement: Option<&Statement<'_>>,
        error: sqlx::Error,
    ) -> sqlx::Error {
        let is_syntax = |error: &sqlx::Error| code::number(error) == Some(code::SYNTAX);
        match statement.filter(|statement| is_syntax(&error) && !kind::ends_message(statement)) {
            Some(statement) => match self.execute(statement.sql.to_owned()).await {
                Err(alone) if is_syntax(&alone) => alone,
                _ => error,
            },
            None => error,
        }
    }

    /// Runs a migration that is written in Rust, in a transaction as far as there is one.
    pub(super) async fn apply_code(&mut self, file: &File) -> Result<(), Failure> {
        self.used = true;
        let mut sql = vec![format!("{BY_HAND}, wait_timeout = 3600")];
        if self.there != ledger::Tables::All {
            sql.extend(self.tables.create());
        }
        sql.push(self.tables.enter(file));
        match self.execute(sql.join(";\n")).await {
            Ok(()) => self.there = ledger::Tables::All,
            Err(error) if code::number(&error) == Some(code::DUPLICATE_KEY) => {
                let _ = self.execute("ROLLBACK".to_owned()).await;
                self.locked = false;
                return Err(Failure::Elsewhere);
            }
            Err(error) => return Err(Failure::Ledger(error)),
        }
        let ran = match file.code().and_then(|code| code.of::<sqlx::MySql>()) {
            Some(code) => code(&mut self.connection).await,
            None => Err("it is written for another database".into()),
        };
        if let Err(error) = ran {
            let withdrawn = self.tables.withdraw(file).join(";\n");
            let _ = self
                .execute(format!("ROLLBACK;\n{withdrawn};\nCOMMIT"))
                .await;
            return Err(Failure::Code(error));
        }
        let finish = self.tables.finish(file);
        let finish = format!("{BY_HAND};\n{finish};\nCOMMIT");
        self.execute(finish).await.map_err(Failure::Ledger)
    }
}

/// What the server cites of a statement, from where it could not go on.
pub(super) fn cited(error: &sqlx::Error) -> Option<&str> {
    let message = error.as_database_error()?.message();
    let (_, cited) = message.split_once(" near '")?;
    Some(cited.rsplit_once("' at line ")?.0)
}
