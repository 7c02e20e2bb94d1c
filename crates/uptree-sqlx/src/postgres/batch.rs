//! How many files go into one message on a database to which nothing has been applied yet. Pure.
//!
//! Each has a transaction of its own, and that they go together must not be seen. But the server
//! takes the time of a transaction from the message: what would ask for it twice is not together.

use crate::{
    files::File,
    split::{Dialect, is_sure},
    statement::{self, Ddl, Kind, Object, Statement, Verb},
};

/// How much goes into one message: all of it is in the server's memory.
const SIZE: usize = 16 << 20;

/// How many of the first files go into one message: one at least.
pub(super) fn together(files: &[&File]) -> usize {
    let mut room = SIZE;
    // Whether a default may be the time, and whether it may have been taken.
    let mut knows_time = false;
    let mut took_time = false;
    let fits = |file: &&&File| {
        let sql = file.sql();
        let plain = file.in_transaction() && file.code().is_none();
        if !plain || sql.len() > room || !is_sure(sql, Dialect::Postgres) {
            return false;
        }
        room -= sql.len();
        knows_time |= speaks_of_time(sql);
        let takes_time = statement::parse(sql, Dialect::Postgres)
            .iter()
            .any(writes_rows);
        let again = knows_time && takes_time && took_time;
        took_time |= takes_time;
        !again
    };
    files.iter().take_while(fits).count().max(1)
}

/// Whether it speaks of the time of a transaction or a message.
fn speaks_of_time(sql: &str) -> bool {
    const STARTS: [&str; 5] = [
        "current_time",
        "current_date",
        "localtime",
        "transaction_timestamp",
        "statement_timestamp",
    ];
    let is_time = |word: &str| {
        let word = word.to_ascii_lowercase();
        matches!(&*word, "now" | "today" | "tomorrow" | "yesterday" | "age")
            || STARTS.iter().any(|start| word.starts_with(start))
    };
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(is_time)
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
    fn check(texts: &[&str], expected: usize) {
        let files = files(texts);
        let files: Vec<_> = files.iter().collect();
        assert_eq!(together(&files), expected, "{texts:?}");
    }

    const PLAIN: &str = "CREATE TABLE a (id int);";

    #[test]
    fn plain_files_go_together() {
        let texts = [
            PLAIN,
            "INSERT INTO a VALUES (1)",
            "UPDATE a SET id = 2",
            "",
            "-- nothing",
        ];
        check(&texts, 5);
    }

    #[test]
    fn what_cannot_be_in_a_transaction_or_be_told_apart_is_not_among_them() {
        for sql in ["-- no-transaction\nVACUUM", "SELECT 'open", "/* open"] {
            check(&[PLAIN, sql, PLAIN], 1);
            check(&[sql, PLAIN], 1);
        }
    }

    #[test]
    fn two_files_do_not_share_a_time() {
        let table = "CREATE TABLE b (at timestamptz DEFAULT now())";
        check(&[table, table, PLAIN], 3);
        let insert = "INSERT INTO b VALUES (DEFAULT)";
        check(&[table, insert, PLAIN, insert, PLAIN], 3);
        check(&["SELECT CURRENT_TIMESTAMP", "SELECT 1"], 1);
        check(&["SELECT 1", "SELECT 1"], 2);
        check(&["SELECT 'known snow'", "SELECT 1"], 2);
        // A column that is added to the rows that there are.
        let column = "ALTER TABLE b ADD COLUMN c timestamptz DEFAULT now()";
        check(&[table, insert, column], 2);
        check(&[table, insert, "CREATE TABLE c AS SELECT now()"], 2);
    }

    #[test]
    fn there_is_room_for_so_much() {
        let large = format!("INSERT INTO a VALUES ('{}')", "x".repeat(SIZE / 2));
        check(&[&large, PLAIN, &large], 2);
    }
}
