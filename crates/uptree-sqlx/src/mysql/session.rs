//! Migrating MySQL and MariaDB: what is sent, and what its answers mean.

use std::{io::ErrorKind, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Either, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow},
    raw_sql,
};
use tokio::time::timeout;

use super::{
    blockers,
    brake::Engaged,
    code,
    message::{Message, Own, Unit},
    picture::{self, Recovery, recovery},
    script::{self, BY_HAND, Script, is_atomic, locked_too},
    sql::{LOCK, Tables},
    watch::{Seen, Watch},
};
use crate::{
    activity::Activity,
    classify::{is_read_only, is_unavailable},
    files::File,
    ledger::{self, Instance, Ledger, Mark, Names, Row},
    session::{Entry, Failure, Lock, Session, Verdict},
    split::Dialect,
    statement::{self, Statement},
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long what is no file's may take, waits for locks included.
const SOON: Duration = Duration::from_secs(40);

/// A session that has the lock, or asks for it. The server ends it when it has not heard of it for
/// ten seconds, and so does the lock: what a connection that was cut in silence costs the others.
/// What an administrator has set for short statements does not count.
const SETTINGS: &str = "SET SESSION autocommit = 1, wait_timeout = 10 \
                        /*M!100101 , max_statement_time = 0 */ /*!50708 , max_execution_time = 0 */";

/// Whether some tables of the database, or all new ones, know no transactions.
const CAREFUL: &str = "SELECT @@default_storage_engine NOT IN (SELECT engine
        FROM information_schema.engines WHERE transactions = 'YES')
    OR EXISTS (SELECT 1 FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND engine NOT IN
            (SELECT engine FROM information_schema.engines WHERE transactions = 'YES'))";

/// A connection that migrates.
///
/// The lock is sqlx's own, by `GET_LOCK`: held by the session, taken by trying, and only had if the
/// answer is 1. `GET_LOCK(…, -1)`, which is how sqlx takes it, is no lock on MariaDB.
///
/// What a file leaves in the session must not reach the next: the next one has a new connection.
pub(crate) struct MySqlSession {
    options: MySqlConnectOptions,
    connection: MySqlConnection,
    engaged: Engaged,
    /// The session's number on the server, once the lock was tried for.
    id: u64,
    tables: Tables,
    there: ledger::Tables,
    locked: bool,
    /// Whether a file has left something in the session.
    used: bool,
    /// Whether tables may know no transactions, once it is known.
    careful: Option<bool>,
    /// Whether a file that is run statement by statement has said how long to wait for locks.
    own_limit: bool,
    /// The file whose statement did not get a lock, and the statement that it goes on with.
    paused: Option<(i64, usize)>,
}

/// What became of a message.
struct Answer {
    completed: usize,
    outcome: Result<(), sqlx::Error>,
}

impl MySqlSession {
    pub(super) fn new(
        options: MySqlConnectOptions,
        connection: MySqlConnection,
        names: &Names,
        engaged: Engaged,
    ) -> Self {
        Self {
            tables: Tables::new(names, options.get_database()),
            options,
            connection,
            engaged,
            id: 0,
            there: ledger::Tables::None,
            locked: false,
            used: false,
            careful: None,
            own_limit: false,
            paused: None,
        }
    }

    async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        self.fetch_all(sql).await.map(drop)
    }

    /// Asks something of which an answer is soon to be expected.
    async fn fetch_all(&mut self, sql: String) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let answer = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        let answer = timeout(SOON, answer).await;
        answer.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
    }

    async fn fetch_one(&mut self, sql: String) -> Result<MySqlRow, sqlx::Error> {
        let rows = self.fetch_all(sql).await?;
        rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    /// Does `first`, if all the tables are there, and reads them; in one message then.
    async fn read(&mut self, first: Option<&str>) -> Result<Ledger, sqlx::Error> {
        use ledger::Tables::{All, None as Nothing, Sqlx};

        let attempts = [(All, true, true), (Sqlx, false, true), (Sqlx, false, false)];
        for (there, with_first, with_steps) in attempts {
            let first = first.filter(|_| with_first);
            let begin = ["SET SESSION autocommit = 1"].into_iter().chain(first);
            let mut sql: Vec<_> = begin.map(str::to_owned).collect();
            sql.push(self.tables.rows(with_steps));
            match self.fetch_all(sql.join(";\n")).await {
                Err(error) if code::number(&error) == Some(code::NO_SUCH_TABLE) => {}
                rows => {
                    self.there = there;
                    return self.ledger(&rows?);
                }
            }
        }
        self.there = Nothing;
        self.ledger(&[])
    }

    fn ledger(&self, rows: &[MySqlRow]) -> Result<Ledger, sqlx::Error> {
        Ok(Ledger {
            rows: rows.iter().map(row).collect::<Result<_, _>>()?,
            tables: self.there,
        })
    }

    /// Sends a message, and says how far it came. `total` is how many statements the file has, if it
    /// is to be told which of them it is at.
    async fn send(
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

    /// Whether tables may know no transactions.
    async fn careful(&mut self, sql: &str) -> Result<bool, sqlx::Error> {
        let careful = match self.careful {
            Some(careful) => careful,
            None => {
                let row = self.fetch_one(CAREFUL.to_owned()).await?;
                row.try_get_unchecked::<i64, _>(0)? != 0
            }
        };
        let names_an_engine = script::names_an_engine(sql);
        // What it names will be there for those that come after it.
        self.careful = Some(careful).filter(|_| !names_an_engine);
        Ok(careful || names_an_engine)
    }

    async fn apply_sql(&mut self, file: &File, activity: &Activity) -> Result<(), Failure> {
        let statements = statement::parse(file.sql(), Dialect::MySql);
        let careful = match statements.iter().any(script::writes_rows) {
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
                    return Err(self.failed(&script, &part.message, completed, error).await);
                }
            }
        }
    }

    /// What an error in a message means. What can be rolled back is, before anybody hears of it, and
    /// the mark says where the file goes on.
    async fn failed(
        &mut self,
        script: &Script<'_>,
        message: &Message<'_>,
        completed: usize,
        error: sqlx::Error,
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
            true => blockers::find(&mut self.connection, statement).await,
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
    async fn cited_alone(
        &mut self,
        statement: Option<&Statement<'_>>,
        error: sqlx::Error,
    ) -> sqlx::Error {
        let is_syntax = |error: &sqlx::Error| code::number(error) == Some(code::SYNTAX);
        match statement.filter(|statement| is_syntax(&error) && !script::ends_message(statement)) {
            Some(statement) => match self.execute(statement.sql.to_owned()).await {
                Err(alone) if is_syntax(&alone) => alone,
                _ => error,
            },
            None => error,
        }
    }

    /// Runs a migration that is written in Rust, in a transaction as far as there is one.
    async fn apply_code(&mut self, file: &File) -> Result<(), Failure> {
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

    fn marking(&self, file: &File, mark: &Mark, entry: Entry) -> Vec<String> {
        let mut sql = Vec::new();
        if mark.is_blank() {
            sql.extend(self.tables.withdraw(file));
        } else {
            if entry == Entry::New {
                sql.push(self.tables.enter(file));
                sql.push(self.tables.enter_mark(file));
            }
            let before = mark.before.as_deref().map(super::sql::text);
            let before = before.as_deref().unwrap_or("NULL");
            sql.push(self.tables.mark(file, mark, before));
            if mark.finished {
                sql.push(self.tables.finish(file));
            }
        }
        sql.push("COMMIT".to_owned());
        sql
    }
}

impl Session for MySqlSession {
    async fn check(&mut self, instance: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        if self.used {
            self.locked = false;
            self.used = false;
            let new = self.options.connect().await?;
            let old = std::mem::replace(&mut self.connection, new);
            let _ = timeout(GOODBYE, old.close()).await;
        }
        let register = instance.map(|instance| self.tables.register(instance));
        match self.read(register.as_deref()).await {
            Err(error) if register.is_some() && is_forbidden(&error) => {
                let error = crate::DriverError::from(error);
                tracing::warn!("this program cannot be entered in the ledger's tables: {error}");
                self.read(None).await
            }
            read => read,
        }
    }

    async fn try_lock(&mut self, _next: &File) -> Result<Lock, sqlx::Error> {
        let mut sql =
            format!("{SETTINGS};\nSELECT CONNECTION_ID(), COALESCE(GET_LOCK({LOCK}, 0), 0)");
        let reads = self.there == ledger::Tables::All;
        if reads {
            sql = format!("{sql};\n{}", self.tables.rows(true));
        }
        let rows = self.fetch_all(sql).await?;
        let Some((answer, rows)) = rows.split_first() else {
            return Ok(Lock::Elsewhere);
        };
        self.id = answer.try_get_unchecked(0)?;
        self.engaged.set(self.id);
        self.locked = answer.try_get_unchecked::<i64, _>(1)? == 1;
        if !self.locked {
            return Ok(Lock::Elsewhere);
        }
        let ledger = match reads {
            true => self.ledger(rows)?,
            false => self.read(None).await?,
        };
        Ok(Lock::Taken(ledger))
    }

    fn is_locked_for(&self, _next: &File) -> bool {
        self.locked && !self.used
    }

    async fn unlock(&mut self) {
        if self.locked && !self.used {
            // If it fails the connection is lost, and the lock with it.
            let _ = self.execute(format!("DO RELEASE_LOCK({LOCK})")).await;
        }
        self.locked = false;
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        self.execute(self.tables.create().join(";\n")).await?;
        self.there = ledger::Tables::All;
        Ok(())
    }

    fn is_stepwise(&self, _file: &File) -> bool {
        // Only what was begun by a process that is gone.
        false
    }

    async fn apply(&mut self, files: &[&File], activity: &Activity) -> Result<usize, Failure> {
        let file = files[0];
        match file.code() {
            Some(_) => self.apply_code(file).await?,
            None => self.apply_sql(file, activity).await?,
        }
        Ok(1)
    }

    async fn resume(
        &mut self,
        _file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::File(None, error);
        let done = statements.get(..done).unwrap_or_default();
        self.used = true;
        self.careful("").await.map_err(failed)?;
        self.own_limit = done.iter().any(script::sets_limit);
        for statement in done
            .iter()
            .filter(|statement| script::sets_something(statement))
        {
            let (offset, more) = locked_too(statement, &self.tables).unwrap_or_default();
            let (head, tail) = statement.sql.split_at(offset);
            let sql = format!("{head}{more}{tail}");
            self.execute(sql).await.map_err(failed)?;
        }
        Ok(())
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        is_atomic(statement, self.careful.unwrap_or(true))
    }

    async fn picture(&mut self, statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        match recovery(statement) {
            Recovery::Compare(picture) => {
                let row = self.fetch_one(format!("SELECT {picture}")).await?;
                row.try_get_unchecked(0)
            }
            Recovery::Repeat | Recovery::Ask => Ok(String::new()),
        }
    }

    async fn inspect(
        &mut self,
        statement: &Statement<'_>,
        before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        match recovery(statement) {
            Recovery::Repeat => Ok(Verdict::NotDone),
            Recovery::Ask => Ok(Verdict::Unknown),
            Recovery::Compare(_) => {
                let now = self.picture(statement).await?;
                Ok(match picture::is_unchanged(before, &now) {
                    Some(true) => Verdict::NotDone,
                    Some(false) => Verdict::Done,
                    None => Verdict::Unknown,
                })
            }
        }
    }

    async fn mark(&mut self, file: &File, mark: &Mark, entry: Entry) -> Result<(), sqlx::Error> {
        let mut sql = vec![BY_HAND.to_owned()];
        if self.there != ledger::Tables::All {
            sql.extend(self.tables.create());
        }
        sql.extend(self.marking(file, mark, entry));
        self.execute(sql.join(";\n")).await?;
        self.there = ledger::Tables::All;
        Ok(())
    }

    async fn step(
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
        self.own_limit |= script::sets_limit(statement);
        if !self.own_limit {
            message.limit(statement.pace());
        }
        message.statement(index, statement, locked_too(statement, &self.tables));
        let marks_follow = !script::ends_message(statement);
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
                    blockers: blockers::find(&mut self.connection, Some(statement)).await,
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

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.used = true;
        Ok(())
    }

    async fn holder(&mut self) -> Option<String> {
        let sql = format!(
            "SELECT CONCAT('connection ', IS_USED_LOCK({LOCK}), COALESCE(
                 (SELECT CONCAT(' (', user, ' from ', host, ')')
                  FROM information_schema.processlist WHERE id = IS_USED_LOCK({LOCK})), ''))"
        );
        self.fetch_one(sql).await.ok()?.try_get_unchecked(0).ok()
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_unavailable(error)
    }

    async fn close(self) {
        // Should the server not take it, the connection is dropped, which comes to the same.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }
}

fn row(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    let success = row.try_get_unchecked(3)?;
    let (mut requires, mut mark) = (None, None);
    if row.len() > 4 {
        requires = row.try_get_unchecked(4)?;
        let done: Option<i64> = row.try_get_unchecked(5)?;
        mark = done.map(|done| {
            let digest: Option<String> = row.try_get_unchecked(6)?;
            Ok::<_, sqlx::Error>(Mark {
                done: usize::try_from(done).unwrap_or_default(),
                digest: digest.unwrap_or_default(),
                begun: row.try_get_unchecked(7)?,
                before: row.try_get_unchecked(8)?,
                finished: success,
            })
        });
    }
    Ok(Row {
        version: row.try_get_unchecked(0)?,
        description: row.try_get_unchecked(1)?,
        checksum: row.try_get_unchecked(2)?,
        success,
        requires,
        mark: mark.transpose()?,
    })
}

/// Whether the tables may be read, if at all, and not be written to.
fn is_forbidden(error: &sqlx::Error) -> bool {
    is_read_only(error) || code::number(error).is_some_and(|number| code::DENIED.contains(&number))
}

/// What the server cites of a statement, from where it could not go on.
fn cited(error: &sqlx::Error) -> Option<&str> {
    let message = error.as_database_error()?.message();
    let (_, cited) = message.split_once(" near '")?;
    Some(cited.rsplit_once("' at line ")?.0)
}
