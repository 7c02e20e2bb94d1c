//! Migrating Postgres: what is sent, and what its answers mean.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Either, Row as _,
    error::DatabaseError,
    postgres::{PgConnection, PgDatabaseError, PgErrorPosition, PgRow},
    raw_sql,
};
use tokio::time::timeout;

use super::{
    brake::Engaged,
    message::{Message, Own, Timeouts, Unit},
    sql::{self, Tables, lock_key},
};
use crate::{
    activity::Activity,
    classify::is_unavailable,
    files::File,
    ledger::{self, Instance, Ledger, Mark, Names, Row},
    session::{Entry, Failure, Lock, Session, Verdict},
    statement::Statement,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How much goes into one message: all of it is in the server's memory.
const BATCH: usize = 16 << 20;

/// A connection that migrates.
///
/// The lock is sqlx's own advisory lock. A file in a transaction takes it for the transaction, in
/// the message that it is sent in, so that it cannot leak, also through a pooler. A file outside a
/// transaction takes it for the session. It is always tried for and never waited for: neither its
/// holder nor those who wait have a transaction open, so that `CREATE INDEX CONCURRENTLY`, which
/// waits for all transactions, waits for none of them.
///
/// All goes by the simple protocol: there are no prepared statements to be in a pooler's way.
pub(crate) struct PgSession {
    connection: PgConnection,
    engaged: Engaged,
    tables: Tables,
    there: ledger::Tables,
    /// Whether nothing has ever been applied, and all goes into one message.
    batches: bool,
    /// The lock's key, once the database's name is known.
    key: i64,
    locked: Locked,
    /// Whether the server's system can look whether a client is there.
    checks_clients: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    No,
    /// It was free a moment ago: each message takes it for itself.
    Free,
    /// This session has it.
    Session,
}

/// What became of a message.
struct Answer {
    completed: usize,
    outcome: Result<(), sqlx::Error>,
}

impl PgSession {
    pub(super) fn new(connection: PgConnection, names: &Names, engaged: Engaged) -> Self {
        Self {
            connection,
            engaged,
            tables: Tables::new(names),
            there: ledger::Tables::None,
            batches: false,
            key: 0,
            locked: Locked::No,
            checks_clients: true,
        }
    }

    async fn execute(&mut self, sql: impl Into<String>) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.into());
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    async fn fetch_one(&mut self, sql: String) -> Result<PgRow, sqlx::Error> {
        raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
    }

    /// Finds out where it is, does `lock`, registers, if there is a table for it, and reads the
    /// tables: in one message, if they are there. What `lock` returns is the first row.
    async fn read(
        &mut self,
        lock: Option<&str>,
        instance: Option<&Instance>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut assumed = ledger::Tables::All;
        loop {
            let mut sql = vec![self.tables.orientation()];
            sql.extend(lock.map(str::to_owned));
            match assumed {
                ledger::Tables::All => {
                    sql.extend(instance.map(|instance| self.tables.register(instance)));
                    sql.push(self.tables.rows(true));
                }
                ledger::Tables::Sqlx => sql.push(self.tables.rows(false)),
                ledger::Tables::None => {}
            }
            let mut rows = Vec::new();
            let failed = self.fetch_all(sql.join(";\n"), &mut rows).await.err();
            if let Some(row) = rows.first() {
                self.orient(row)?;
            }
            match failed {
                None => return Ok(rows.split_off(1)),
                // The first row has told which of them there are.
                Some(error) if is_undefined_table(&error) && self.there != assumed => {
                    assumed = self.there;
                }
                Some(error) => return Err(error),
            }
        }
    }

    /// Keeps what came before an error.
    async fn fetch_all(&mut self, sql: String, rows: &mut Vec<PgRow>) -> Result<(), sqlx::Error> {
        let mut results = raw_sql(AssertSqlSafe(sql)).fetch(&mut self.connection);
        while let Some(row) = results.try_next().await? {
            rows.push(row);
        }
        Ok(())
    }

    fn orient(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        self.engaged.set(row.try_get(0)?);
        let database: String = row.try_get(1)?;
        self.key = lock_key(&database);
        if let Some(schema) = row.try_get::<Option<String>, _>(2)? {
            self.tables.qualify(&schema);
        }
        self.there = match (row.try_get(3)?, row.try_get(4)?) {
            (false, _) => ledger::Tables::None,
            (true, false) => ledger::Tables::Sqlx,
            (true, true) => ledger::Tables::All,
        };
        Ok(())
    }

    /// Sends a message, and says how far it came.
    async fn send(&mut self, message: &Message<'_>, activity: &Activity) -> Answer {
        let mut completed = 0;
        let mut files = 0;
        let sql = AssertSqlSafe(message.sql().to_owned());
        let mut results = raw_sql(sql).fetch_many(&mut self.connection);
        let outcome = loop {
            match results.try_next().await {
                Ok(Some(Either::Right(row))) => {
                    if let Some(Unit::Own(Own::Keep)) = message.unit(completed)
                        && let Ok(pid) = row.try_get(0)
                    {
                        self.engaged.set(pid);
                    }
                }
                Ok(Some(Either::Left(_))) => {
                    match message.unit(completed) {
                        Some(Unit::Own(Own::Done)) => {
                            files += 1;
                            activity.files(files);
                        }
                        Some(Unit::File { number, total, .. }) if number < total => {
                            activity.statement(number + 1, total);
                        }
                        _ => {}
                    }
                    completed += 1;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        Answer { completed, outcome }
    }

    /// A transaction, what it needs, and its lock.
    fn begin<'m>(&self, with_lock: bool) -> Message<'m> {
        let mut message = Message::new();
        message.own(Own::Frame, "BEGIN");
        message.own(Own::Keep, &sql::keep(true, self.checks_clients));
        if with_lock {
            message.own(Own::Lock, &sql::lock(self.key));
        }
        message
    }

    fn timeouts(&self) -> Timeouts {
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
    async fn failed(
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
                self.locked = Locked::No;
                Failure::Elsewhere
            }
            (Some(Unit::Own(Own::Entry)), Some("23505")) => {
                self.locked = Locked::No;
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

impl Session for PgSession {
    async fn check(&mut self, instance: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        let rows = match self.read(None, instance).await {
            Err(error) if instance.is_some() && is_forbidden(&error) => {
                let error = crate::DriverError::from(error);
                tracing::warn!("this program cannot be entered in the ledger's tables: {error}");
                self.read(None, None).await?
            }
            rows => rows?,
        };
        self.ledger(&rows)
    }

    async fn try_lock(&mut self, next: &File) -> Result<Lock, sqlx::Error> {
        let for_session = !next.in_transaction();
        let function = match for_session {
            true => "pg_try_advisory_lock",
            false => "pg_try_advisory_xact_lock",
        };
        let sql = format!("SELECT pg_catalog.{function}({})", self.key);
        let mut rows = self.read(Some(&sql), None).await?;
        if !rows.remove(0).try_get(0)? {
            return Ok(Lock::Elsewhere);
        }
        self.locked = match for_session {
            true => Locked::Session,
            false => Locked::Free,
        };
        let ledger = self.ledger(&rows)?;
        self.batches = ledger.rows.is_empty();
        Ok(Lock::Taken(ledger))
    }

    fn is_locked_for(&self, next: &File) -> bool {
        match self.locked {
            Locked::No => false,
            Locked::Free => next.in_transaction(),
            Locked::Session => true,
        }
    }

    async fn unlock(&mut self) {
        if self.locked == Locked::Session {
            let sql = format!("SELECT pg_catalog.pg_advisory_unlock({})", self.key);
            // If it fails the connection is lost, and the lock with it.
            let _ = self.execute(sql).await;
        }
        self.locked = Locked::No;
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        let mut message = self.begin(true);
        for sql in self.tables.create(sql::TYPES) {
            message.own(Own::Ledger, &sql);
        }
        message.own(Own::Frame, "COMMIT");
        let answer = self.send(&message, &Activity::default()).await;
        match answer.outcome {
            Err(error) => match self.failed(&message, answer.completed, error).await {
                // Whoever has the lock may well create them; if not, the next boot does.
                Failure::Elsewhere => Ok(()),
                Failure::File(_, error) | Failure::Ledger(error) => Err(error),
                Failure::Locked { error, .. } => Err(error),
                Failure::Code(_) => Ok(()),
            },
            Ok(()) => {
                self.there = ledger::Tables::All;
                Ok(())
            }
        }
    }

    fn is_stepwise(&self, file: &File) -> bool {
        !file.in_transaction()
    }

    async fn apply(&mut self, files: &[&File], activity: &Activity) -> Result<usize, Failure> {
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

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        !statement.needs_no_transaction()
    }

    async fn picture(&mut self, _statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        Ok(String::new())
    }

    async fn inspect(
        &mut self,
        _statement: &Statement<'_>,
        _before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        Ok(Verdict::Unknown)
    }

    async fn mark(&mut self, file: &File, mark: &Mark, entry: Entry) -> Result<(), sqlx::Error> {
        let mut sql = Vec::new();
        if self.there != ledger::Tables::All {
            sql = self.tables.create(sql::TYPES);
        }
        sql.extend(self.tables.mark(file, mark, entry));
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
        let timeouts = self.timeouts();
        let pace = statement.pace();
        if !self.is_atomic(statement) {
            let limit = format!("SET lock_timeout = '{}'", timeouts.of(pace));
            self.execute(limit).await.map_err(Failure::Ledger)?;
            let mut message = Message::new();
            message.statement(file, statement);
            let answer = self.send(&message, activity).await;
            if let Err(error) = answer.outcome {
                return Err(self.failed(&message, answer.completed, error).await);
            }
            return self.mark(file, mark, entry).await.map_err(Failure::Ledger);
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
            Err(error) => Err(self.failed(&message, answer.completed, error).await),
        }
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.execute(sql::RESET[1..].join("; ")).await
    }

    async fn holder(&mut self) -> Option<String> {
        let key = self.key;
        let sql = format!(
            "SELECT format('process %s (%s%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                           coalesce(' from ' || host(client_addr), ''))
             FROM pg_catalog.pg_locks JOIN pg_catalog.pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND (classid::bigint << 32) | objid::bigint = {key}
               AND database = (SELECT oid FROM pg_catalog.pg_database
                               WHERE datname = pg_catalog.current_database())
             LIMIT 1"
        );
        self.fetch_one(sql).await.ok()?.try_get(0).ok()
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        is_unavailable(error)
    }

    async fn close(self) {
        // Should the server not take it, the connection is dropped, which comes to the same.
        let _ = timeout(GOODBYE, self.connection.close()).await;
    }
}

impl PgSession {
    fn ledger(&self, rows: &[PgRow]) -> Result<Ledger, sqlx::Error> {
        let with_steps = self.there == ledger::Tables::All;
        let rows = rows.iter().map(|found| row(found, with_steps));
        Ok(Ledger {
            rows: rows.collect::<Result<_, _>>()?,
            tables: self.there,
        })
    }
}

fn row(row: &PgRow, with_steps: bool) -> Result<Row, sqlx::Error> {
    let checksum: String = row.try_get(2)?;
    let success = row.try_get(3)?;
    let (mut requires, mut mark) = (None, None);
    if with_steps {
        requires = row.try_get(4)?;
        let done: Option<i64> = row.try_get(5)?;
        mark = done.map(|done| {
            Ok::<_, sqlx::Error>(Mark {
                done: usize::try_from(done).unwrap_or_default(),
                digest: row.try_get::<Option<String>, _>(6)?.unwrap_or_default(),
                begun: row.try_get(7)?,
                before: row.try_get(8)?,
                finished: success,
            })
        });
    }
    Ok(Row {
        version: row.try_get(0)?,
        description: row.try_get(1)?,
        checksum: unhex(&checksum),
        success,
        requires,
        mark: mark.transpose()?,
    })
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.map(|code| code.into_owned())
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some("42P01")
}

/// Whether the tables may be read, if at all, and not be written to.
fn is_forbidden(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("42501" | "25006"))
}

/// The server's position.
fn position_of(error: &sqlx::Error) -> Option<usize> {
    let error: &PgDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    match error.position() {
        Some(PgErrorPosition::Original(number)) => Some(number),
        _ => None,
    }
}

/// What cannot be read is left out: it then is not what was expected.
fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    digits.chunks_exact(2).filter_map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::hex;

    #[test]
    fn bytes_survive_the_way_through_sql() {
        assert_eq!(unhex(&hex(&[0, 1, 0xab, 255])), [0, 1, 0xab, 255]);
    }
}
