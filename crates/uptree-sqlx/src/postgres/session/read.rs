//! Reading the ledger, and where it is.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow, raw_sql};

use super::{super::sql::lock_key, PgSession, code_of, soon};
use crate::ledger::{self, Instance, Ledger, Row};

impl PgSession {
    /// Finds out where it is, does `lock`, registers, if there is a table for it, and reads the
    /// tables: in one message, if they are there. What `lock` returns is the first row.
    ///
    /// Whoever only looks asks no more than it takes to see that there is nothing to do.
    pub(super) async fn read(
        &mut self,
        lock: Option<&str>,
        instance: Option<&Instance>,
        only_looks: bool,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        // As it was when it was last asked, if it was: to ask in vain is an error in the server's log.
        let mut assumed = match self.pid {
            0 => ledger::Tables::All,
            _ => self.there,
        };
        loop {
            // Tables that are missing will be made.
            let writes = !only_looks || assumed == ledger::Tables::Sqlx;
            let mut sql = vec![self.tables.orientation(writes)];
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
                None if self.there == assumed => return Ok(rows.split_off(1)),
                // There is nothing to read.
                Some(error) if is_undefined_table(&error) && self.there == ledger::Tables::None => {
                    return Ok(rows.split_off(1));
                }
                // The first row has told which of them there are.
                None => assumed = self.there,
                Some(error) if is_undefined_table(&error) && self.there != assumed => {
                    assumed = self.there;
                }
                Some(error) => return Err(error),
            }
        }
    }

    /// Keeps what came before an error.
    pub(super) async fn fetch_all(
        &mut self,
        sql: String,
        rows: &mut Vec<PgRow>,
    ) -> Result<(), sqlx::Error> {
        let mut results = raw_sql(AssertSqlSafe(sql)).fetch(&mut self.connection);
        let all = async {
            while let Some(row) = results.try_next().await? {
                rows.push(row);
            }
            Ok(())
        };
        soon(all).await
    }

    fn orient(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        let pid = row.try_get(0)?;
        if self.pid != 0 && self.pid != pid {
            self.pooled = Some(true);
        }
        self.pid = pid;
        let database: String = row.try_get(1)?;
        self.key = lock_key(&database);
        self.there = match (row.try_get(2)?, row.try_get(3)?) {
            (false, _) => ledger::Tables::None,
            (true, false) => ledger::Tables::Sqlx,
            (true, true) => ledger::Tables::All,
        };
        if row.len() > 4 {
            if let Some(schema) = row.try_get::<Option<String>, _>(4)? {
                self.tables.qualify(&schema);
            }
            self.tables.has_schema = row.try_get(5)?;
        }
        Ok(())
    }

    pub(super) fn ledger(&mut self, rows: &[PgRow]) -> Result<Ledger, sqlx::Error> {
        let with_steps = self.there == ledger::Tables::All;
        let rows = rows.iter().map(|found| row(found, with_steps));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let begun = rows.iter().filter(|row| !row.success);
        self.begun = begun.map(|row| row.version).collect();
        Ok(Ledger {
            rows,
            tables: self.there,
        })
    }
}

fn row(row: &PgRow, with_steps: bool) -> Result<Row, sqlx::Error> {
    ledger::read(row, with_steps, |row| {
        row.try_get(2).map(|checksum: String| unhex(&checksum))
    })
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some("42P01")
}

/// Whether the tables may be read, if at all, and not be written to.
pub(super) fn is_forbidden(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("42501" | "25006"))
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
