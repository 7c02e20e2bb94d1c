//! Foreign keys and tables that are rebuilt.
//!
//! SQLite changes little of a table in place: a file makes another, copies the rows, drops the old
//! one and gives the new one its name. With foreign keys on, which is the driver's default, `DROP
//! TABLE` deletes the rows first, and `ON DELETE CASCADE` those that refer to them. `PRAGMA
//! foreign_keys` does nothing while a transaction is open, and says nothing of it.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, sqlite::SqliteConnection};
use uptree_app::help;

use super::script::speaks_of;
use crate::{
    files::File,
    place::Place,
    session::Failure,
    statement::{Ddl, Kind, Name, Object, Statement, Verb},
};

const SWITCH_OFF: &str = "put `PRAGMA foreign_keys = OFF;` into the file, which is then run without \
                          them, and checked before it is committed; rows that are to go are deleted \
                          by a statement of the file's own";

const MEND: &str = "let the file delete or change the rows that refer to nothing, or keep those that \
                    they refer to";

/// Why a file is not run as it stands.
#[derive(Debug, thiserror::Error)]
enum ForeignKeyError {
    #[error(
        "{}dropping the table {table} would {what} of {child}, whose foreign key is ON DELETE {action}",
        at(place.as_ref())
    )]
    Cascade {
        place: Option<Place>,
        table: String,
        child: String,
        action: String,
        what: &'static str,
    },
    #[error("it would leave foreign keys that refer to nothing: {0}")]
    Violated(String),
}

fn at(place: Option<&Place>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

/// Whether a file means to be run without foreign keys.
pub(super) fn turns_off(file: &File) -> bool {
    // Most files need no closer look, and it is asked often.
    file.code().is_none()
        && speaks_of(file.sql(), "foreign_keys")
        && file.sets_foreign_keys().iter().any(|set| !set.on)
}

/// Whether they are enforced on a connection.
pub(super) async fn are_on(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("PRAGMA foreign_keys")
        .fetch_one(connection)
        .await
}

/// A table that is dropped and comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuild {
    table: String,
    /// What the file drops after it: their rows are to go.
    doomed: Vec<String>,
}

/// The tables that a file rebuilds, each with the number of the statement that drops the old one.
///
/// A table that is dropped for good takes its children's rows with it, as was declared.
pub(super) fn rebuilds(statements: &[Statement<'_>]) -> Vec<(usize, Rebuild)> {
    let ddl = |statement: &Statement<'_>| match &statement.kind {
        Kind::Ddl(ddl) if ddl.object == Object::Table => Some(ddl.clone()),
        _ => None,
    };
    let tables: Vec<Option<Ddl>> = statements.iter().map(ddl).collect();
    let mut found = Vec::new();
    for (number, dropped) in tables.iter().enumerate() {
        let Some(dropped) = dropped.as_ref().filter(|ddl| ddl.verb == Verb::Drop) else {
            continue;
        };
        let Some(table) = dropped.name().map(|name| name.plain().to_owned()) else {
            continue;
        };
        let (before, after) = (&tables[..number], &tables[number + 1..]);
        let was_renamed = before.iter().flatten().any(|ddl| is_named_by(ddl, &table));
        let comes_back = after
            .iter()
            .flatten()
            .any(|ddl| is_named_by(ddl, &table) || is_of(ddl, Verb::Create, &table));
        if was_renamed || comes_back {
            let doomed = after.iter().flatten();
            let doomed = doomed.filter(|ddl| ddl.verb == Verb::Drop);
            let doomed = doomed.filter_map(|ddl| Some(ddl.name()?.plain().to_owned()));
            let doomed = doomed.collect();
            found.push((number, Rebuild { table, doomed }));
        }
    }
    found
}

fn is_of(ddl: &Ddl, verb: Verb, table: &str) -> bool {
    let name = ddl.name().map(Name::plain);
    ddl.verb == verb && name.is_some_and(|name| name.eq_ignore_ascii_case(table))
}

/// Whether it is a renaming that makes this table.
fn is_named_by(ddl: &Ddl, table: &str) -> bool {
    let to = ddl.to.as_ref().map(Name::plain);
    ddl.verb == Verb::Rename && to.is_some_and(|to| to.eq_ignore_ascii_case(table))
}

impl Rebuild {
    /// Looks whether rows of others would go with the table, now that it is about to be dropped.
    pub(super) async fn look(
        &self,
        connection: &mut SqliteConnection,
        place: Option<Place>,
    ) -> Result<(), Failure> {
        let child = self.child(connection).await;
        let Some((child, action)) = child.map_err(|error| Failure::File(place, error))? else {
            return Ok(());
        };
        let what = match &*action {
            "CASCADE" => "delete rows",
            _ => "change rows",
        };
        let table = self.table.clone();
        let error = ForeignKeyError::Cascade {
            place,
            table,
            child,
            action,
            what,
        };
        Err(Failure::Code(help(error, SWITCH_OFF)))
    }

    /// A table with rows that refer to the one that is dropped, and what is declared for them.
    async fn child(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<(String, String)>, sqlx::Error> {
        if !are_on(connection).await? || !has_rows(connection, &self.table, &[]).await? {
            return Ok(None);
        }
        // A temporary table cannot refer to another's.
        let keys: Vec<(String, i64, String, String)> = sqlx::query_as(
            "SELECT child.name, key.id, key.\"from\", key.on_delete
             FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS key
             WHERE child.type = 'table' AND key.\"table\" = ?1 COLLATE NOCASE
               AND child.name <> ?1 COLLATE NOCASE
               AND key.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
             ORDER BY 1, 2, key.seq",
        )
        .bind(&self.table)
        .fetch_all(&mut *connection)
        .await?;
        let mut by_key: BTreeMap<(String, i64, String), Vec<String>> = BTreeMap::new();
        for (child, id, column, action) in keys {
            by_key.entry((child, id, action)).or_default().push(column);
        }
        for ((child, _, action), columns) in by_key {
            let is_doomed = self
                .doomed
                .iter()
                .any(|table| table.eq_ignore_ascii_case(&child));
            if !is_doomed && has_rows(connection, &child, &columns).await? {
                return Ok(Some((child, action)));
            }
        }
        Ok(None)
    }
}

/// Whether a table has a row in which none of these columns is NULL. A table that is not there has
/// none.
async fn has_rows(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &[String],
) -> Result<bool, sqlx::Error> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema
                 WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    let there: bool = sqlx::query_scalar(there)
        .bind(table)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(false);
    }
    let refers = columns
        .iter()
        .map(|column| format!("{} IS NOT NULL", quoted(column)));
    let refers: Vec<_> = refers.chain(["TRUE".to_owned()]).collect();
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM main.{} WHERE {})",
        quoted(table),
        refers.join(" AND ")
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How many rows refer to nothing, by their table and the one that they refer to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Violations(BTreeMap<(String, String), i64>);

impl Violations {
    pub(super) async fn count(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2",
        )
        .fetch_all(connection)
        .await?;
        let counts = rows
            .into_iter()
            .map(|(table, parent, count)| ((table, parent), count));
        Ok(Self(counts.collect()))
    }

    /// Fails if there are more than there were `before`. Told are tables and counts, and no values.
    pub(super) fn compare(&self, before: &Self) -> Result<(), Failure> {
        let more: Vec<_> = self
            .0
            .iter()
            .filter_map(|(key, count)| {
                let new = count - before.0.get(key).copied().unwrap_or_default();
                let (table, parent) = key;
                let rows = if new == 1 { "row" } else { "rows" };
                (new > 0).then(|| format!("{new} {rows} of {table} to {parent}"))
            })
            .collect();
        if more.is_empty() {
            return Ok(());
        }
        let error = ForeignKeyError::Violated(more.join(", "));
        Err(Failure::Code(help(error, MEND)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{split::Dialect, statement};

    #[test]
    fn a_table_is_rebuilt_if_it_comes_back() {
        for (sql, expected) in [
            ("DROP TABLE a", &[][..]),
            (
                "CREATE TABLE n (x); DROP TABLE a; ALTER TABLE n RENAME TO A",
                &[1],
            ),
            ("DROP TABLE IF EXISTS \"a\"; CREATE TABLE a (x)", &[0]),
            ("DROP TABLE main.a; CREATE TABLE IF NOT EXISTS a (x)", &[0]),
            (
                "ALTER TABLE a RENAME TO old; CREATE TABLE a (x); DROP TABLE old",
                &[2],
            ),
            ("CREATE TABLE a (x); DROP TABLE a", &[]),
            ("DROP TABLE a; ALTER TABLE b RENAME COLUMN c TO a", &[]),
            ("DROP TABLE a; CREATE INDEX a ON b (c)", &[]),
            ("DROP VIEW a; CREATE VIEW a AS SELECT 1", &[]),
        ] {
            let statements = statement::parse(sql, Dialect::Sqlite);
            let found: Vec<_> = rebuilds(&statements).iter().map(|(at, _)| *at).collect();
            assert_eq!(found, expected, "{sql}");
        }
    }

    #[test]
    fn only_new_violations_count_and_none_of_their_values_is_told() {
        let violations = |counts: &[(&str, i64)]| {
            let counts = counts.iter();
            Violations(
                counts
                    .map(|(child, count)| (((*child).into(), "p".into()), *count))
                    .collect(),
            )
        };
        let before = violations(&[("a", 2), ("b", 1)]);
        for (after, expected) in [
            (&[][..], None),
            (&[("a", 2), ("b", 1)], None),
            (&[("a", 1)], None),
            (&[("a", 3)], Some("1 row of a to p")),
            (
                &[("a", 4), ("c", 5)],
                Some("2 rows of a to p, 5 rows of c to p"),
            ),
        ] {
            let failure = violations(after).compare(&before).err();
            let told = failure.map(|failure| match failure {
                Failure::Code(error) => error.to_string(),
                _ => panic!("another failure"),
            });
            let expected = expected
                .map(|rows| format!("it would leave foreign keys that refer to nothing: {rows}"));
            assert_eq!(told, expected);
        }
    }
}
