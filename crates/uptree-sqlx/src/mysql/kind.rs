//! What matters of a statement, besides its kind, for how it is run. Pure.

use super::sql::Tables;
use crate::{
    split::{Dialect, Scanner},
    statement::{Control, Ddl, Kind, Statement, Verb, parse},
};

/// Whether a statement and its mark can be committed together.
pub(super) fn is_atomic(statement: &Statement<'_>, careful: bool) -> bool {
    !(commits(statement) || careful && writes_rows(statement))
}

/// Whether it may end the transaction that it is run in.
pub(super) fn commits(statement: &Statement<'_>) -> bool {
    match within(statement) {
        Some(statement) => statement.commits_implicitly(),
        // What changes more than rows, though not the schema.
        None => {
            let others = ["import", "clone", "backup", "restart", "shutdown"];
            statement.commits_implicitly() || is_first_word(statement, &others)
        }
    }
}

/// What MariaDB is to run with some settings: `SET STATEMENT lock_wait_timeout = 5 FOR DROP TABLE a`.
pub(super) fn within<'a>(statement: &Statement<'a>) -> Option<Statement<'a>> {
    let mut tokens = Scanner::new(statement.sql, Dialect::MySql);
    let is_so = tokens.next()?.is("set") && tokens.next()?.is("statement");
    let word = tokens.find(|token| is_so && token.is("for"))?;
    let rest = &statement.sql[word.at + word.text.len()..];
    parse(rest, Dialect::MySql).into_iter().next()
}

/// Whether it is known that it changes rows, and that a table without transactions would keep them.
pub(super) fn writes_rows(statement: &Statement<'_>) -> bool {
    let mut words = Scanner::new(statement.sql, Dialect::MySql);
    let first = words.find_map(|token| token.word());
    let reads = [
        "select", "values", "table", "show", "explain", "describe", "desc", "use", "do",
    ];
    let reads = |word: &str| reads.iter().any(|read| word.eq_ignore_ascii_case(read));
    statement.kind == Kind::Dml && !first.is_some_and(reads)
}

/// Whether it makes a table that knows no transactions, or may do so.
pub(super) fn names_an_engine(sql: &str) -> bool {
    let tokens = Scanner::new(sql, Dialect::MySql);
    let mut words = tokens.filter(|token| !token.is_sign('='));
    while let Some(token) = words.next() {
        if (token.is("engine") || token.is("storage_engine") || token.is("default_storage_engine"))
            && !words.next().is_some_and(|engine| engine.is("innodb"))
        {
            return true;
        }
    }
    false
}

pub(super) fn sets_limit(statement: &Statement<'_>) -> bool {
    statement.kind == Kind::Settings { lock_timeout: true }
}

/// Whether it can be answered with any number of results: what comes after it could not be told from
/// them. None, if it stands in a comment for other servers.
pub(super) fn ends_message(statement: &Statement<'_>) -> bool {
    let routine = statement.kind == Kind::Dml && statement.commits_implicitly();
    let conditional = match statement.sql.strip_prefix("/*!") {
        // MariaDB skips what has one of MySQL 5.7's numbers or a later one.
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits]
                .parse::<u32>()
                .is_ok_and(|version| version >= 50_700)
        }
        None => statement.sql.starts_with("/*M!"),
    };
    routine || conditional
}

/// Whether something of it stays in the session, and would reach the next file.
pub(super) fn leaves_something(statement: &Statement<'_>) -> bool {
    let by_kind = match &statement.kind {
        Kind::Ddl(
            Ddl {
                verb: Verb::Lock, ..
            }
            | Ddl {
                temporary: true, ..
            },
        ) => true,
        Kind::Settings { .. } | Kind::Transaction(_) => true,
        // A routine.
        Kind::Dml => statement.commits_implicitly(),
        _ => false,
    };
    by_kind
        || statement.sql.contains('@')
        || is_first_word(statement, &["use", "prepare", "handler", "flush"])
}

/// Whether a file that goes on in its midst on a new connection needs it to be done again: what it
/// sets is gone.
pub(super) fn sets_something(statement: &Statement<'_>) -> bool {
    match &statement.kind {
        Kind::Settings { .. } => true,
        Kind::Transaction(control) => *control == Control::Set,
        Kind::Ddl(ddl) => ddl.verb == Verb::Lock,
        _ => {
            is_first_word(statement, &["use", "prepare", "deallocate"])
                || (is_first_word(statement, &["select"]) && into_variables(statement))
        }
    }
}

/// Whether it is a `SELECT … INTO @a`.
fn into_variables(statement: &Statement<'_>) -> bool {
    let mut tokens = Scanner::new(statement.sql, Dialect::MySql);
    let into = tokens.find(|token| token.is("into"));
    into.is_some() && tokens.next().is_some_and(|token| token.is_sign('@'))
}

fn is_first_word(statement: &Statement<'_>, words: &[&str]) -> bool {
    let mut tokens = Scanner::new(statement.sql, Dialect::MySql);
    let first = tokens.find(|token| token.word().is_some());
    first.is_some_and(|first| words.iter().any(|word| first.is(word)))
}

/// What is to be put into `LOCK TABLES`, and where: with it in force, only the tables that it names
/// can be written to.
pub(super) fn locked_too(statement: &Statement<'_>, tables: &Tables) -> Option<(usize, String)> {
    match &statement.kind {
        Kind::Ddl(ddl) if ddl.verb == Verb::Lock && ddl.strong => {}
        // `UNLOCK TABLES` is weak.
        _ => return None,
    }
    let mut tokens = Scanner::new(statement.sql, Dialect::MySql);
    let word = tokens.find(|token| token.is("tables") || token.is("table"))?;
    let (ledger, steps) = (&tables.ledger, &tables.steps);
    let more = format!(" {ledger} WRITE, {steps} WRITE, ");
    Some((word.at + word.text.len(), more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Names;

    #[test]
    fn tables_are_locked_with_ours() {
        let tables = Tables::new(&Names::new("l", None), Some("x"));
        for (sql, expected) in [
            ("LOCK TABLES a WRITE", Some(11)),
            ("lock table a read", Some(10)),
            ("/*!40000 LOCK TABLES a READ */", Some(20)),
            ("UNLOCK TABLES", None),
            ("SELECT 'LOCK TABLES a WRITE'", None),
        ] {
            let found = locked_too(&parse(sql, Dialect::MySql)[0], &tables);
            assert_eq!(found.map(|(at, _)| at), expected, "{sql}");
        }
    }

    #[test]
    fn a_table_s_engine_is_seen() {
        for (sql, expected) in [
            ("CREATE TABLE a (engine INT) ENGINE=InnoDB", true),
            ("CREATE TABLE a (id INT) ENGINE = InnoDB", false),
            ("CREATE TABLE a (id INT) ENGINE MyISAM", true),
            ("SET default_storage_engine = 'MyISAM'", true),
            ("CREATE TABLE a (id INT)", false),
        ] {
            assert_eq!(names_an_engine(sql), expected, "{sql}");
        }
    }
}
