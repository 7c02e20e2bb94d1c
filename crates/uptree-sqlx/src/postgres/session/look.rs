//! Looking at the database, what became of a statement that was begun.

use sqlx::Row as _;

use super::{super::sql::literal, PgSession};
use crate::{
    session::{Failure, Verdict},
    statement::{Ddl, Kind, Name, Object, Patient, Statement, Task, Verb},
};

/// What a statement that cannot be in a transaction leaves to be seen.
enum Trace<'s> {
    /// An index that is built while others write.
    Index(&'s Patient),
    /// It is gone.
    Gone(&'s Name),
    /// Indexes of the server's own making, if it is stopped half-way.
    Leftovers(&'s Patient),
    Partition {
        table: &'s Name,
        part: &'s Name,
    },
    /// A row of a catalogue comes or goes.
    Row {
        appears: bool,
        sql: String,
    },
    /// A value in a catalogue becomes another.
    Change(String),
    /// It can be repeated.
    Nothing,
    /// Nobody can say.
    Unknown,
}

/// The row of a catalogue that has this name.
fn one_of(catalogue: &str, column: &str, name: &Name) -> String {
    let name = literal(name.plain());
    format!("SELECT oid::text FROM pg_catalog.{catalogue} WHERE {column} = {name}")
}

fn trace<'s>(statement: &'s Statement<'_>) -> Trace<'s> {
    match &statement.kind {
        Kind::Patient(patient) => match (patient.task, &patient.name, &patient.table) {
            (Task::CreateIndex, ..) => Trace::Index(patient),
            (Task::DropIndex, Some(name), _) => Trace::Gone(name),
            (Task::Reindex(_), ..) => Trace::Leftovers(patient),
            (Task::Detach, Some(table), Some(part)) => Trace::Partition { table, part },
            _ if statement.needs_no_transaction() => Trace::Nothing,
            _ => Trace::Unknown,
        },
        Kind::Ddl(ddl) => change(ddl, statement.needs_no_transaction()),
        Kind::Settings { .. } => Trace::Nothing,
        Kind::Dml | Kind::Transaction(_) => Trace::Unknown,
    }
}

fn change<'s>(ddl: &Ddl, needs_no_transaction: bool) -> Trace<'s> {
    let catalogue = match ddl.object {
        Object::Database => ("pg_database", "datname"),
        Object::Tablespace => ("pg_tablespace", "spcname"),
        Object::Subscription => ("pg_subscription", "subname"),
        _ => ("", ""),
    };
    match (ddl.verb, ddl.object, ddl.name()) {
        (
            Verb::Create | Verb::Drop,
            Object::Database | Object::Tablespace | Object::Subscription,
            Some(name),
        ) => Trace::Row {
            appears: ddl.verb == Verb::Create,
            sql: one_of(catalogue.0, catalogue.1, name),
        },
        (Verb::Alter, Object::Subscription, Some(name)) => Trace::Change(format!(
            "SELECT subpublications::text FROM pg_catalog.pg_subscription WHERE subname = {}",
            literal(name.plain())
        )),
        (Verb::Alter, Object::Type, Some(name)) => Trace::Change(format!(
            "SELECT string_agg(enumlabel::text, ',' ORDER BY enumsortorder)
             FROM pg_catalog.pg_enum WHERE enumtypid = pg_catalog.to_regtype({})",
            reference(name)
        )),
        // `VACUUM FULL`, `CLUSTER`, `REINDEX`, `ALTER SYSTEM`, `ALTER DATABASE .. TABLESPACE`.
        _ if needs_no_transaction => Trace::Nothing,
        _ => Trace::Unknown,
    }
}

/// A name as a literal that the server's `to_regclass` and the like take.
fn reference(name: &Name) -> String {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let plain = quoted(name.plain());
    match name.schema() {
        Some(schema) => literal(format!("{}.{plain}", quoted(schema))),
        None => literal(plain),
    }
}

/// An index that was found.
struct Index {
    oid: String,
    /// As SQL has it, with its schema.
    name: String,
    plain: String,
    is_valid: bool,
    /// Whether another session may be building it: nobody else has such a lock for long.
    is_in_work: bool,
}

/// The indexes for which a condition holds on `i`, `pg_index`, and `c`, its `pg_class`.
fn indexes(condition: &str) -> String {
    format!(
        "SELECT i.indexrelid::text, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relname::text,
                i.indisvalid,
                EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                        WHERE l.locktype = 'relation' AND l.relation = i.indrelid AND l.granted
                          AND l.mode = 'ShareUpdateExclusiveLock'
                          AND l.pid <> pg_catalog.pg_backend_pid()
                          AND l.database = (SELECT oid FROM pg_catalog.pg_database
                                            WHERE datname = pg_catalog.current_database()))
         FROM pg_catalog.pg_index AS i
         JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE {condition} ORDER BY i.indexrelid"
    )
}

/// The condition for what an interrupted `REINDEX CONCURRENTLY` leaves.
fn leftovers(patient: &Patient) -> String {
    let any = "NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'";
    if let (Task::Reindex(object @ (Object::Table | Object::Index)), Some(name)) =
        (patient.task, &patient.name)
    {
        let name = reference(name);
        let table = match object {
            Object::Table => format!("pg_catalog.to_regclass({name})"),
            _ => format!(
                "(SELECT indrelid FROM pg_catalog.pg_index
                  WHERE indexrelid = pg_catalog.to_regclass({name}))"
            ),
        };
        return format!(
            "{any} AND (i.indrelid = {table} OR i.indrelid = (SELECT reltoastrelid
                   FROM pg_catalog.pg_class WHERE oid = {table}))"
        );
    }
    any.to_owned()
}

/// The condition for the indexes of the table of an index.
fn beside(patient: &Patient) -> String {
    let table = patient.table.as_ref().map_or("''".to_owned(), reference);
    format!("i.indrelid = pg_catalog.to_regclass({table})")
}

/// How a partition is a part of its table.
fn partition(table: &Name, part: &Name) -> String {
    // Servers before 14 have no such column, and a row as JSON does not mind.
    format!(
        "SELECT CASE WHEN pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true'
                     THEN 'pending' ELSE 'attached' END
         FROM pg_catalog.pg_inherits AS i
         WHERE inhparent = pg_catalog.to_regclass({}) AND inhrelid = pg_catalog.to_regclass({})",
        reference(table),
        reference(part)
    )
}

impl PgSession {
    /// What the database looks like where the statement is about to change it.
    pub(super) async fn picture_of(
        &mut self,
        statement: &Statement<'_>,
    ) -> Result<String, sqlx::Error> {
        match trace(statement) {
            Trace::Index(patient) => {
                // One that was given up before, by sqlx or by hand, is of use to nobody.
                for index in self.indexes(&beside(patient)).await? {
                    let is_it = patient
                        .name
                        .as_ref()
                        .is_some_and(|n| n.plain() == index.plain);
                    if is_it && !index.is_valid && !index.is_in_work {
                        self.drop_index(&index).await?;
                    }
                }
                let indexes = self.indexes(&beside(patient)).await?;
                Ok(oids(&indexes))
            }
            Trace::Leftovers(patient) => {
                let indexes = self.indexes(&leftovers(patient)).await?;
                Ok(oids(&indexes))
            }
            Trace::Gone(name) => self.value(&oid_of(name)).await,
            Trace::Partition { table, part } => self.value(&partition(table, part)).await,
            Trace::Row { sql, .. } | Trace::Change(sql) => self.value(&sql).await,
            Trace::Nothing | Trace::Unknown => Ok(String::new()),
        }
    }

    /// What became of a statement that was begun, given its picture from before.
    pub(super) async fn verdict_on(
        &mut self,
        statement: &Statement<'_>,
        before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        let done = match trace(statement) {
            Trace::Index(patient) => return self.verdict_on_index(patient, before).await,
            Trace::Leftovers(patient) => {
                for index in self.indexes(&leftovers(patient)).await? {
                    if is_new(&index, before)
                        && !index.is_in_work
                        && let Err(error) = self.drop_index(&index).await
                    {
                        // It is in nobody's way.
                        let error = crate::DriverError::from(error);
                        tracing::warn!("the index {} cannot be dropped: {error}", index.name);
                    }
                }
                false
            }
            Trace::Gone(name) => !before.is_empty() && self.value(&oid_of(name)).await? != before,
            Trace::Partition { table, part } => {
                match &*self.value(&partition(table, part)).await? {
                    "pending" => {
                        let (table, part) = (&table.written, &part.written);
                        let sql = format!("ALTER TABLE {table} DETACH PARTITION {part} FINALIZE");
                        self.execute("SET lock_timeout = 0").await?;
                        self.work_on(&sql).await?;
                        true
                    }
                    "attached" => false,
                    _ => !before.is_empty(),
                }
            }
            Trace::Row { appears, sql } => {
                let now = self.value(&sql).await?;
                now != before && now.is_empty() != appears
            }
            Trace::Change(sql) => self.value(&sql).await? != before,
            Trace::Nothing => false,
            Trace::Unknown => return Ok(Verdict::Unknown),
        };
        Ok(if done {
            Verdict::Done
        } else {
            Verdict::NotDone
        })
    }

    async fn verdict_on_index(
        &mut self,
        patient: &Patient,
        before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        let indexes = self.indexes(&beside(patient)).await?;
        let is_it = |index: &&Index| {
            let named = patient.name.as_ref();
            named.is_none_or(|name| name.plain() == index.plain) && is_new(index, before)
        };
        let found: Vec<_> = indexes.iter().filter(is_it).collect();
        let mut verdict = match found.is_empty() {
            true => Verdict::NotDone,
            false => Verdict::Done,
        };
        for index in found.into_iter().filter(|index| !index.is_valid) {
            self.drop_index(index).await?;
            verdict = Verdict::NotDone;
        }
        Ok(verdict)
    }

    /// Postgres takes `IF NOT EXISTS` for done if there is an index that is not valid.
    pub(super) async fn see_it_valid(&mut self, statement: &Statement<'_>) -> Result<(), Failure> {
        let Trace::Index(patient) = trace(statement) else {
            return Ok(());
        };
        let Some(name) = patient.name.as_ref().filter(|_| patient.conditional) else {
            return Ok(());
        };
        let indexes = self.indexes(&beside(patient)).await;
        let indexes = indexes.map_err(Failure::Ledger)?;
        let found = indexes
            .into_iter()
            .find(|index| index.plain == name.plain());
        match found {
            Some(index) if !index.is_valid => Err(Failure::Locked {
                place: None,
                error: sqlx::Error::Protocol(format!("the index {} is not valid yet", index.name)),
                blockers: vec!["another session that builds it".to_owned()],
            }),
            _ => Ok(()),
        }
    }

    async fn indexes(&mut self, condition: &str) -> Result<Vec<Index>, sqlx::Error> {
        let mut rows = Vec::new();
        self.fetch_all(indexes(condition), &mut rows).await?;
        let index = |row: &sqlx::postgres::PgRow| {
            Ok(Index {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                plain: row.try_get(2)?,
                is_valid: row.try_get(3)?,
                is_in_work: row.try_get(4)?,
            })
        };
        rows.iter().map(index).collect()
    }

    async fn drop_index(&mut self, index: &Index) -> Result<(), sqlx::Error> {
        let name = &index.name;
        tracing::info!(index = %name, "dropping an index that was not built to its end");
        self.execute("SET lock_timeout = 0").await?;
        self.work_on(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"))
            .await
    }

    /// The value of a query of one column, which has one row at most; empty without one.
    async fn value(&mut self, sql: &str) -> Result<String, sqlx::Error> {
        let mut rows = Vec::new();
        self.fetch_all(sql.to_owned(), &mut rows).await?;
        let value = rows.first().map(|row| row.try_get::<Option<String>, _>(0));
        Ok(value.transpose()?.flatten().unwrap_or_default())
    }
}

fn oid_of(name: &Name) -> String {
    format!(
        "SELECT pg_catalog.to_regclass({})::oid::text",
        reference(name)
    )
}

fn oids(indexes: &[Index]) -> String {
    let oids: Vec<_> = indexes.iter().map(|index| &*index.oid).collect();
    oids.join(" ")
}

fn is_new(index: &Index, before: &str) -> bool {
    before.split(' ').all(|oid| oid != index.oid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{split::Dialect, statement};

    fn seen(sql: &str) -> String {
        let statements = statement::parse(sql, Dialect::Postgres);
        match trace(&statements[0]) {
            Trace::Index(patient) => format!("index: {}", beside(patient)),
            Trace::Gone(name) => format!("gone: {}", reference(name)),
            Trace::Leftovers(patient) => format!("leftovers: {}", leftovers(patient).len() > 100),
            Trace::Partition { table, part } => {
                format!("partition: {} of {}", reference(part), reference(table))
            }
            Trace::Row { appears, .. } => format!("row: {appears}"),
            Trace::Change(_) => "change".to_owned(),
            Trace::Nothing => "nothing".to_owned(),
            Trace::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn what_a_statement_leaves_to_be_seen() {
        for (sql, expected) in [
            (
                "CREATE UNIQUE INDEX CONCURRENTLY i ON App.\"T\" (id)",
                "index: i.indrelid = pg_catalog.to_regclass(E'\"app\".\"T\"')",
            ),
            (
                "CREATE INDEX CONCURRENTLY ON t (id)",
                "index: i.indrelid = pg_catalog.to_regclass(E'\"t\"')",
            ),
            (
                "DROP INDEX CONCURRENTLY IF EXISTS \"it's\"",
                "gone: E'\"it''s\"'",
            ),
            ("REINDEX (CONCURRENTLY) TABLE t", "leftovers: true"),
            ("REINDEX SCHEMA CONCURRENTLY public", "leftovers: false"),
            (
                "ALTER TABLE p DETACH PARTITION s.p1 CONCURRENTLY",
                "partition: E'\"s\".\"p1\"' of E'\"p\"'",
            ),
            (
                "ALTER TABLE p DETACH PARTITION p1 FINALIZE",
                "partition: E'\"p1\"' of E'\"p\"'",
            ),
            ("VACUUM t", "nothing"),
            ("VACUUM FULL t", "nothing"),
            ("REINDEX DATABASE x", "nothing"),
            ("CLUSTER", "nothing"),
            ("ALTER SYSTEM SET work_mem = '5MB'", "nothing"),
            ("ALTER DATABASE x SET TABLESPACE fast", "nothing"),
            ("CREATE DATABASE x", "row: true"),
            ("DROP DATABASE x", "row: false"),
            ("CREATE TABLESPACE fast LOCATION '/x'", "row: true"),
            ("DROP SUBSCRIPTION s", "row: false"),
            ("ALTER SUBSCRIPTION s ADD PUBLICATION p", "change"),
            ("ALTER TYPE mood ADD VALUE 'sad'", "change"),
            // These are with their mark, unless the server does not have it.
            ("CALL p()", "unknown"),
            ("DO $$ BEGIN COMMIT; END $$", "unknown"),
            ("INSERT INTO t VALUES (1)", "unknown"),
            ("ALTER TABLE t ADD COLUMN c int", "unknown"),
        ] {
            assert_eq!(seen(sql), expected, "{sql}");
        }
    }
}
