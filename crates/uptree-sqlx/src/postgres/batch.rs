//! How many files go into one message on a database in which there is nothing yet.
//!
//! That many go together must not be seen: not in the schema, not in the data, not in what an error
//! says. What fails is done again file by file; what would not fail, and come out otherwise than
//! with a transaction for each file, must not be together. Pure.

use crate::{
    files::File,
    split::{Dialect, is_sure},
    statement::{self, Ddl, Kind, Object, Statement, Verb},
};

/// How much goes into one message: all of it is in the server's memory.
const SIZE: usize = 16 << 20;

/// Whether what this word speaks of is over with its transaction, or not rolled back with it: the
/// next file begins another.
///
/// Cursors and temporary tables: the next file may have its own. What another server does is done.
fn ends(word: &str) -> bool {
    matches!(word, "temp" | "temporary")
        || ["pg_temp", "dblink"]
            .iter()
            .any(|start| word.starts_with(start))
        || word.ends_with("cursor")
}

/// Whether this word speaks of what is not undone with its transaction: nothing of that may be left
/// when the files are applied one by one after all.
fn stays(word: &str) -> bool {
    matches!(word, "prepare" | "deallocate" | "discard") || word.contains("advisory")
}

/// Whether it speaks of constraints that wait for the end of the transaction: between files they are
/// checked, and from then on do not wait any more.
fn defers(text: &str) -> bool {
    text.contains("deferr") || text.contains("constraint trigger")
}

/// Whether it speaks of what all rows of a transaction have in common.
fn is_common(word: &str) -> bool {
    const STARTS: [&str; 6] = [
        "current_time",
        "current_date",
        "localtime",
        "transaction_timestamp",
        "statement_timestamp",
        "txid",
    ];
    matches!(
        word,
        "now" | "today" | "tomorrow" | "yesterday" | "xmin" | "age"
    ) || word.contains("xact")
        || STARTS.iter().any(|start| word.starts_with(start))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// How many of the first files go into one message; and whether there may be another such message
/// after it.
pub(super) fn batch(files: &[&File]) -> (usize, bool) {
    let mut room = SIZE;
    // Whether a transaction's own time may be asked for, and whether it may have been.
    let mut knows_time = false;
    let mut took_time = false;
    for (count, file) in files.iter().enumerate() {
        let sql = file.sql();
        if sql.len() > room || !is_plain(file) {
            return (count, true);
        }
        room -= sql.len();
        let text = sql.to_ascii_lowercase();
        knows_time |= words(&text).any(is_common);
        let statements = statement::parse(sql, Dialect::Postgres);
        if statements.iter().any(is_control) || words(&text).any(stays) {
            return (count, true);
        }
        let takes_time = statements.iter().any(writes_rows);
        if knows_time && takes_time && took_time {
            return (count, true);
        }
        took_time |= takes_time;
        if defers(&text) {
            // The constraint outlives the message, and this one's end.
            return (count + 1, false);
        }
        if words(&text).any(ends) {
            return (count + 1, true);
        }
    }
    (files.len(), true)
}

fn is_plain(file: &File) -> bool {
    file.in_transaction() && file.code().is_none() && is_sure(file.sql(), Dialect::Postgres)
}

fn is_control(statement: &Statement<'_>) -> bool {
    matches!(statement.kind, Kind::Transaction(_))
}

/// Whether a default may be computed, or a function called.
fn writes_rows(statement: &Statement<'_>) -> bool {
    match &statement.kind {
        Kind::Ddl(Ddl {
            verb: Verb::Create,
            object: Object::Table | Object::MaterializedView,
            ..
        }) => {
            // `CREATE TABLE .. AS`.
            let mut words = statement.sql.split_whitespace();
            words.any(|word| word.eq_ignore_ascii_case("AS"))
        }
        Kind::Ddl(ddl) => ddl.verb == Verb::Alter && ddl.object == Object::Table,
        Kind::Dml => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::files, *};

    #[track_caller]
    fn check(texts: &[&str], expected: (usize, bool)) {
        let files = files(texts);
        let files: Vec<_> = files.iter().collect();
        assert_eq!(batch(&files), expected, "{texts:?}");
    }

    const PLAIN: &str = "CREATE TABLE a (id int);";

    #[test]
    fn plain_files_go_together() {
        check(
            &[PLAIN, "INSERT INTO a VALUES (1)", "UPDATE a SET id = 2"],
            (3, true),
        );
        check(&[PLAIN, "", "-- nothing"], (3, true));
    }

    #[test]
    fn what_cannot_be_in_a_transaction_or_be_told_apart_is_not_among_them() {
        for sql in [
            "-- no-transaction\nVACUUM",
            "SELECT 'open",
            "/* open",
            "SAVEPOINT a",
            "ROLLBACK TO a",
            "SET TRANSACTION READ WRITE",
            "SET CONSTRAINTS ALL IMMEDIATE",
            "PREPARE a AS SELECT 1",
            "SELECT pg_advisory_lock(1)",
        ] {
            check(&[PLAIN, sql, PLAIN], (1, true));
            check(&[sql, PLAIN], (0, true));
        }
    }

    #[test]
    fn what_ends_with_its_transaction_ends_the_message() {
        for sql in [
            "CREATE TEMP TABLE b ON COMMIT DROP AS SELECT 1",
            "DECLARE c CURSOR FOR SELECT 1",
            "SELECT dblink('host=a', 'b')",
        ] {
            check(&[PLAIN, sql, PLAIN], (2, true));
        }
        for sql in [
            "ALTER TABLE a ADD UNIQUE (id) DEFERRABLE",
            "CREATE CONSTRAINT TRIGGER b AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION c()",
        ] {
            check(&[PLAIN, sql, PLAIN], (2, false));
        }
    }

    #[test]
    fn two_files_do_not_share_a_time() {
        let table = "CREATE TABLE b (at timestamptz DEFAULT now())";
        check(&[table, table, PLAIN], (3, true));
        let insert = "INSERT INTO b VALUES (DEFAULT)";
        check(&[table, insert, PLAIN, insert, PLAIN], (3, true));
        check(&["SELECT CURRENT_TIMESTAMP", "SELECT 1"], (1, true));
        check(&["SELECT 1", "SELECT 1"], (2, true));
        // A column that is added to the rows that there are.
        let column = "ALTER TABLE b ADD COLUMN c timestamptz DEFAULT now()";
        check(&[table, insert, column], (2, true));
        check(
            &[table, insert, "CREATE TABLE c AS SELECT now()"],
            (2, true),
        );
    }

    #[test]
    fn there_is_room_for_so_much() {
        let large = format!("INSERT INTO a VALUES ('{}')", "x".repeat(SIZE / 2));
        check(&[&large, PLAIN, &large], (2, true));
    }
}
