//! Migrating MySQL and MariaDB: what is sent, and what its answers mean.

mod apply;
mod look;
mod wire;

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow},
};
use tokio::time::timeout;

use super::{
    brake::Engaged,
    code,
    kind::is_atomic,
    picture::{self, Recovery, recovery},
    script::BY_HAND,
    sql::{LOCK, Tables},
};
use crate::{
    activity::Activity,
    classify::{is_read_only, is_unavailable},
    files::File,
    ledger::{self, Instance, Ledger, Mark, Names, Row},
    session::{Entry, Failure, Lock, Session, Verdict},
    statement::Statement,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session that has the lock, or asks for it. The server ends it when it has not heard of it for
/// ten seconds, and so does the lock: what a connection that was cut in silence costs the others.
/// What an administrator has set for short statements does not count.
const SETTINGS: &str = "SET SESSION autocommit = 1, wait_timeout = 10 \
                        /*M!100101 , max_statement_time = 0 */ /*!50708 , max_execution_time = 0 */";

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
        file: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        self.set_again(file, statements, done).await
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        is_atomic(statement, self.careful.unwrap_or(true))
    }

    async fn picture(&mut self, statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        match recovery(statement) {
            Recovery::Compare(picture) => self.draw(&picture).await,
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
        self.run_step(file, statement, mark, entry, activity).await
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
