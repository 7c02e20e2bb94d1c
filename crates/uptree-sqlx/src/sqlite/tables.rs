//! The ledger and the tables beside it, as SQLite has them.

use std::ops::RangeInclusive;

use sqlx::{
    AssertSqlSafe, Row as _, raw_sql,
    sqlite::{SqliteConnection, SqliteRow},
};
use tokio::time::Instant;

use crate::{
    files::File,
    ledger::{self, COLUMNS, Ledger, Mark, Names, Row, STEP_COLUMNS, Tables},
    session::Entry,
};

/// The tables, by their names.
pub(super) struct LedgerTables {
    names: Names,
    /// Which of them were seen to be there.
    there: Tables,
}

impl LedgerTables {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            names: names.clone(),
            there: Tables::None,
        }
    }

    /// Reads the tables that there are: all, by one SELECT.
    ///
    /// A statement that names a table that is not there cannot be prepared, and nothing is read of
    /// it: where only sqlx has migrated, there is a second one.
    pub(super) async fn read(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<Ledger, sqlx::Error> {
        loop {
            if let Some(rows) = fetch(connection, self.all()).await? {
                let rows = rows.iter().map(|found| row(found, true));
                return Ok(self.seen(Tables::All, rows.collect::<Result<_, _>>()?));
            }
            let Some(rows) = fetch(connection, self.sqlx_alone()).await? else {
                return Ok(self.seen(Tables::None, Vec::new()));
            };
            // Between the two the others may have been made, and a row that is not finished, which
            // would be taken for one that sqlx has left.
            let own = COLUMNS.len();
            let is_late = rows.iter().any(|row| row.try_get(own).unwrap_or(false));
            if !is_late {
                let rows = rows.iter().map(|found| row(found, false));
                return Ok(self.seen(Tables::Sqlx, rows.collect::<Result<_, _>>()?));
            }
        }
    }

    fn seen(&mut self, tables: Tables, rows: Vec<Row>) -> Ledger {
        self.there = tables;
        Ledger { rows, tables }
    }

    fn all(&self) -> String {
        let own = COLUMNS.map(|column| format!("l.{column}")).join(", ");
        let more = STEP_COLUMNS.map(|column| format!("s.{column}")).join(", ");
        let (ledger, steps) = (&self.names.ledger, &self.names.steps);
        format!(
            "SELECT {own}, {more} FROM {ledger} AS l
             LEFT JOIN {steps} AS s ON s.version = l.version ORDER BY l.version"
        )
    }

    fn sqlx_alone(&self) -> String {
        let own = COLUMNS.map(|column| format!("l.{column}")).join(", ");
        let (ledger, steps) = (&self.names.ledger, self.names.steps.replace('\'', "''"));
        format!(
            "SELECT {own}, EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '{steps}')
             FROM {ledger} AS l ORDER BY l.version"
        )
    }

    /// Creates those of the tables that are missing.
    pub(super) async fn create(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        if self.there == Tables::All {
            return Ok(());
        }
        let Names {
            ledger,
            steps,
            instances,
            ..
        } = &self.names;
        for sql in ledger::create([ledger, steps, instances], &ledger::SQLITE) {
            raw_sql(AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await?;
        }
        self.there = Tables::All;
        Ok(())
    }

    /// Enters a file in the ledger, in a transaction that is open.
    pub(super) async fn enter(
        &mut self,
        connection: &mut SqliteConnection,
        file: &File,
        success: bool,
        since: Instant,
    ) -> Result<(), sqlx::Error> {
        self.create(connection).await?;
        let sql = format!(
            "INSERT INTO {} (version, description, success, checksum, execution_time)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            self.names.ledger
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(file.description())
            .bind(success)
            .bind(file.checksum())
            .bind(i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
        let Some(requires) = file.requires() else {
            return Ok(());
        };
        let sql = format!(
            "INSERT INTO {} (version, requires) VALUES (?1, ?2)
             ON CONFLICT (version) DO UPDATE SET requires = excluded.requires",
            self.names.steps
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(requires)
            .execute(connection)
            .await
            .map(drop)
    }

    /// Whether a stepwise file has come just as far as `done` statements: where there is no lock
    /// between migrators, another may have been faster.
    pub(super) async fn is_at(
        &mut self,
        connection: &mut SqliteConnection,
        file: &File,
        done: RangeInclusive<usize>,
        entry: Entry,
    ) -> Result<bool, sqlx::Error> {
        self.create(connection).await?;
        let sql = format!(
            "SELECT l.success, s.steps_done FROM {} AS l
             LEFT JOIN {} AS s ON s.version = l.version WHERE l.version = ?1",
            self.names.ledger, self.names.steps
        );
        let found: Option<(bool, Option<i64>)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(file.version())
            .fetch_optional(connection)
            .await?;
        Ok(match (found, entry) {
            (None, Entry::New) => true,
            (Some((false, found)), Entry::There) => found
                .and_then(|found| usize::try_from(found).ok())
                .is_some_and(|found| done.contains(&found)),
            _ => false,
        })
    }

    /// Writes a mark, in a transaction that is open.
    pub(super) async fn mark(
        &mut self,
        connection: &mut SqliteConnection,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        self.create(connection).await?;
        let (ledger, steps) = (self.names.ledger.clone(), self.names.steps.clone());
        if mark.is_blank() {
            for sql in [
                format!("DELETE FROM {steps} WHERE version = ?1"),
                format!("DELETE FROM {ledger} WHERE version = ?1 AND NOT success"),
            ] {
                sqlx::query(AssertSqlSafe(sql))
                    .bind(file.version())
                    .execute(&mut *connection)
                    .await?;
            }
            return Ok(());
        }
        if entry == Entry::New {
            self.enter(connection, file, mark.finished, Instant::now())
                .await?;
        }
        let sql = format!(
            "INSERT INTO {steps}
                 (version, requires, steps_done, steps_digest, step_begun, step_before)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (version) DO UPDATE SET
                 requires = excluded.requires, steps_done = excluded.steps_done,
                 steps_digest = excluded.steps_digest, step_begun = excluded.step_begun,
                 step_before = excluded.step_before, updated_at = excluded.updated_at"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(file.version())
            .bind(file.requires())
            .bind(i64::try_from(mark.done).unwrap_or(i64::MAX))
            .bind(&mark.digest)
            .bind(mark.begun)
            .bind(&mark.before)
            .execute(&mut *connection)
            .await?;
        if mark.finished {
            let sql =
                format!("UPDATE {ledger} SET success = TRUE, checksum = ?2 WHERE version = ?1");
            sqlx::query(AssertSqlSafe(sql))
                .bind(file.version())
                .bind(file.checksum())
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// The rows; `None` if a table is not there.
async fn fetch(
    connection: &mut SqliteConnection,
    sql: String,
) -> Result<Option<Vec<SqliteRow>>, sqlx::Error> {
    match raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if is_undefined_table(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn row(row: &SqliteRow, with_steps: bool) -> Result<Row, sqlx::Error> {
    ledger::read(row, with_steps, |row| row.try_get(2))
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.message().starts_with("no such table"))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn tables_that_come_between_two_reads_are_seen() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut tables = LedgerTables::new(&Names::new("_sqlx_migrations", None));
        assert_eq!(
            tables.read(&mut connection).await.unwrap().tables,
            Tables::None
        );
        tables.create(&mut connection).await.unwrap();
        let begun = "INSERT INTO _sqlx_migrations VALUES (1, 'a', 0, FALSE, x'', 0)";
        raw_sql(begun).execute(&mut connection).await.unwrap();
        // The first read was before that.
        let rows = fetch(&mut connection, tables.sqlx_alone()).await.unwrap();
        assert!(rows.unwrap()[0].get::<bool, _>(COLUMNS.len()));

        let drop = "DROP TABLE _uptree_migrations";
        raw_sql(drop).execute(&mut connection).await.unwrap();
        let ledger = tables.read(&mut connection).await.unwrap();
        assert_eq!((ledger.tables, ledger.rows.len()), (Tables::Sqlx, 1));
    }
}
