//! A file's text, as it is run: in pieces, each statement counted.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, raw_sql, sqlite::SqliteConnection};

use super::foreign_keys::{Rebuild, rebuilds};
use crate::{
    activity::Activity,
    files::File,
    place::{self, Place},
    session::Failure,
    split::{Dialect, is_sure},
    statement::{self, Kind, Object, Statement, Verb},
};

/// How much of a file is sent at once. For each statement SQLite copies what is left of the text, and
/// the driver keeps all of them prepared: the time grows with the square, to half a minute for 5 MB.
const PIECE: usize = 64 * 1024;

/// A file's text.
pub(super) struct Script<'a> {
    file: &'a File,
    statements: Vec<Statement<'a>>,
    /// Whether it is certain where they begin and end.
    sure: bool,
    /// The tables that it rebuilds, each by the statement that drops the old one.
    pub(super) rebuilds: Vec<(usize, Rebuild)>,
}

/// A part of a text that is sent at once.
struct Piece<'a> {
    sql: &'a str,
    /// How many statements there are before it.
    before: usize,
}

impl<'a> Script<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        let statements = statement::parse(file.sql(), Dialect::Sqlite);
        let sure = is_sure(file.sql(), Dialect::Sqlite);
        let rebuilds = rebuilds(&statements);
        Self {
            file,
            statements,
            sure,
            rebuilds,
        }
    }

    /// Whether it may leave something on its connection that the next file would find: a setting,
    /// an attached database, a temporary table.
    pub(super) fn soils(&self) -> bool {
        !self.sure || self.statements.iter().any(soils)
    }

    /// Whether it can be in one transaction with others, and nobody could tell: it does nothing to
    /// the connection or the transaction, and leaves nothing to be checked when it commits.
    pub(super) fn is_plain(&self) -> bool {
        let controls = |statement: &Statement<'_>| matches!(statement.kind, Kind::Transaction(_));
        !self.soils() && !self.statements.iter().any(controls) && !defers(self.file.sql())
    }

    /// Where a statement is.
    pub(super) fn place(&self, number: usize) -> Option<Place> {
        let statement = self.statements.get(number)?;
        Some(place::of_offset(self.file.sql(), statement.at))
    }

    /// Runs it. Before a statement that drops a table which is rebuilt it looks at those that refer
    /// to it; before all of them, if it is not certain where they are.
    pub(super) async fn run(
        &self,
        connection: &mut SqliteConnection,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let total = self.statements.len();
        if !self.sure {
            for (number, rebuild) in &self.rebuilds {
                rebuild.look(connection, self.place(*number)).await?;
            }
        }
        for piece in self.pieces() {
            let rebuild = self.rebuilds.iter().find(|(at, _)| *at == piece.before);
            if let Some((number, rebuild)) = rebuild.filter(|_| self.sure) {
                rebuild.look(connection, self.place(*number)).await?;
            }
            let mut completed = piece.before;
            let mut results = raw_sql(AssertSqlSafe(piece.sql)).execute_many(&mut *connection);
            activity.statement((completed + 1).min(total), total);
            while let Some(result) = results.next().await {
                if let Err(error) = result {
                    let place = place_of(&error, self.file.sql(), completed);
                    return Err(Failure::File(place, error));
                }
                completed += 1;
                activity.statement((completed + 1).min(total), total);
            }
        }
        Ok(())
    }

    fn pieces(&self) -> Vec<Piece<'a>> {
        let sql = self.file.sql();
        let mut cuts = vec![(0, 0)];
        if self.sure {
            for (number, statement) in self.statements.iter().enumerate().skip(1) {
                let long = statement.at - cuts[cuts.len() - 1].1 > PIECE;
                if long || self.rebuilds.iter().any(|(at, _)| *at == number) {
                    cuts.push((number, statement.at));
                }
            }
        }
        let ends = cuts.iter().skip(1).map(|(_, at)| *at).chain([sql.len()]);
        let pieces = cuts.iter().zip(ends).map(|(&(before, at), end)| Piece {
            sql: &sql[at..end],
            before,
        });
        pieces.collect()
    }
}

fn soils(statement: &Statement<'_>) -> bool {
    match &statement.kind {
        Kind::Settings { .. } => true,
        Kind::Ddl(ddl) => {
            let attaches = matches!(ddl.verb, Verb::Attach | Verb::Detach);
            let is_temporary = ddl.temporary
                || ddl.names.iter().any(|name| {
                    name.schema()
                        .is_some_and(|schema| schema.eq_ignore_ascii_case("temp"))
                });
            attaches || (ddl.verb == Verb::Create && ddl.object != Object::Other && is_temporary)
        }
        _ => false,
    }
}

/// Whether a text speaks of what is deferred until the commit.
fn defers(sql: &str) -> bool {
    speaks_of(sql, "defer")
}

/// Whether a word stands somewhere in a text, in whichever case.
pub(super) fn speaks_of(sql: &str, word: &str) -> bool {
    let mut windows = sql.as_bytes().windows(word.len());
    windows.any(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// SQLite names the word at a syntax error; otherwise it is known which statement it was.
fn place_of(error: &sqlx::Error, sql: &str, completed: usize) -> Option<Place> {
    let message = error.as_database_error()?.message();
    let near = message
        .strip_prefix("near \"")
        .and_then(|rest| rest.rsplit_once("\": "))
        .map(|(word, _)| word);
    place::of_statement(sql, Dialect::Sqlite, completed, near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sql: &str) -> Vec<(usize, usize)> {
        let file = File::with_sql(1, "a", sql);
        let pieces = Script::new(&file).pieces();
        let joined: String = pieces.iter().map(|piece| piece.sql).collect();
        assert_eq!(joined, sql, "nothing is left out");
        pieces
            .iter()
            .map(|piece| (piece.before, piece.sql.len()))
            .collect()
    }

    #[test]
    fn a_text_is_cut_where_a_rebuilt_table_is_dropped_and_where_it_is_long() {
        assert_eq!(pieces(""), [(0, 0)]);
        assert_eq!(pieces("-- nothing"), [(0, 10)]);
        assert_eq!(pieces("SELECT 1; SELECT 2;"), [(0, 19)]);
        let rebuild = "CREATE TABLE n (a); DROP TABLE o; ALTER TABLE n RENAME TO o;";
        assert_eq!(pieces(rebuild), [(0, 20), (1, 40)]);
        let insert = format!("INSERT INTO a VALUES ('{}');", "x".repeat(40_000));
        let all = insert.repeat(5);
        let length = insert.len();
        assert_eq!(
            pieces(&all),
            [(0, 2 * length), (2, 2 * length), (4, length)]
        );
        // Not where it is not certain.
        assert_eq!(pieces(&format!("{all} SELECT 'open")).len(), 1);
    }

    #[test]
    fn what_stays_on_a_connection_is_seen() {
        for (sql, soils, plain) in [
            ("CREATE TABLE a (b); INSERT INTO a VALUES (1)", false, true),
            ("SELECT 1; PRAGMA recursive_triggers = ON", true, false),
            ("ATTACH 'x.db' AS x", true, false),
            ("CREATE TEMP TABLE a (b)", true, false),
            ("CREATE TABLE temp.a (b)", true, false),
            ("SAVEPOINT a", false, false),
            ("CREATE TABLE a (b REFERENCES c DEFERRABLE)", false, false),
            ("SELECT 'open", true, false),
        ] {
            let file = File::with_sql(1, "a", sql);
            let script = Script::new(&file);
            assert_eq!((script.soils(), script.is_plain()), (soils, plain), "{sql}");
        }
    }
}
