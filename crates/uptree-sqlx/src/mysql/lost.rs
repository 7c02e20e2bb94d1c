//! What a session takes with it when it is lost in the midst of a file. Pure.
//!
//! The next session does again what sets something. That does not bring back a value that came from
//! rows which have changed since, and it brings back no temporary table: a file that goes on to use
//! one cannot go on by itself.

use std::collections::HashSet;

use super::kind::sets_something;
use crate::{
    split::{Dialect, Scanner, Token},
    statement::{Ddl, Kind, Statement, Verb},
};

/// Functions whose value is that of their arguments, or of the session's settings.
const CONSTANT: [&str; 14] = [
    "cast",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "convert",
    "database",
    "if",
    "ifnull",
    "lower",
    "nullif",
    "replace",
    "upper",
    "version",
];

/// Words that stand for another value each time.
const CHANGING: [&str; 6] = [
    "select",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "utc_timestamp",
];

/// What the rest of a file uses that is gone, in words, if so many of its statements are done.
pub(super) fn lost(statements: &[Statement<'_>], done: usize) -> Option<String> {
    let (before, after) = statements.split_at_checked(done)?;
    let gone = gone(before);
    let mut set_again = HashSet::new();
    for statement in after {
        let tokens = tokens(statement);
        let sets = assigned(&tokens);
        for (at, token) in tokens.iter().enumerate() {
            let Some(what) = named(&tokens, at, token) else {
                continue;
            };
            let sets_it = sets.contains(&at);
            if gone.contains(&what) && !set_again.contains(&what) && !sets_it {
                return Some(what);
            }
        }
        set_again.extend(
            sets.iter()
                .filter_map(|at| named(&tokens, *at, &tokens[*at])),
        );
        if is_insert(&tokens) {
            set_again.insert("LAST_INSERT_ID()".to_owned());
        }
    }
    None
}

/// What these statements have left in their session and cannot be set again.
fn gone(done: &[Statement<'_>]) -> HashSet<String> {
    let mut gone = HashSet::new();
    for (number, statement) in done.iter().enumerate() {
        let tokens = tokens(statement);
        if let Kind::Ddl(ddl) = &statement.kind {
            let names = ddl.names.iter().map(|name| table(name.plain()));
            match ddl {
                Ddl {
                    verb: Verb::Create,
                    temporary: true,
                    ..
                } => gone.extend(names),
                Ddl {
                    verb: Verb::Drop, ..
                } => names.for_each(|name| {
                    gone.remove(&name);
                }),
                _ => {}
            }
        }
        if is_insert(&tokens) {
            gone.insert("LAST_INSERT_ID()".to_owned());
        }
        // Nothing has happened since: it is as if it came later.
        let is_last = done[number + 1..].iter().all(sets_something);
        let sets = assigned(&tokens);
        let uses_gone = tokens.iter().enumerate().any(|(at, token)| {
            let what = named(&tokens, at, token).filter(|_| !sets.contains(&at));
            what.is_some_and(|what| gone.contains(&what))
        });
        let comes_back = sets_something(statement) && (is_last || is_constant(&tokens));
        for at in sets {
            let what = named(&tokens, at, &tokens[at]).unwrap_or_default();
            match comes_back && !uses_gone {
                true => gone.remove(&what),
                false => gone.insert(what),
            };
        }
    }
    gone
}

fn tokens<'a>(statement: &Statement<'a>) -> Vec<Token<'a>> {
    Scanner::new(statement.sql, Dialect::MySql).collect()
}

/// What may be gone of what a token names: a variable, by its `@`; a temporary table.
fn named(tokens: &[Token<'_>], at: usize, token: &Token<'_>) -> Option<String> {
    let is_sign = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at))
            .is_some_and(|token| token.is_sign('@'))
    };
    if token.is_sign('@') {
        // `@@` is a setting; `'user'@'host'` is neither here nor there.
        let is_variable = !is_sign(Some(at + 1)) && !is_sign(at.checked_sub(1));
        let name = tokens.get(at + 1).filter(|_| is_variable)?;
        return Some(format!("@{}", plain(name.text)));
    }
    if is_sign(at.checked_sub(1)) {
        return None;
    }
    match token.is("last_insert_id") {
        true => Some("LAST_INSERT_ID()".to_owned()),
        false => Some(table(plain(token.text))),
    }
}

fn table(name: &str) -> String {
    format!("the temporary table {name}")
}

fn plain(name: &str) -> &str {
    name.trim_matches(['`', '\'', '"'])
}

/// Where variables are given a value: `@a = 1` of a `SET`, `@a := 1`, `INTO @a, @b`.
fn assigned(tokens: &[Token<'_>]) -> Vec<usize> {
    let is_set = tokens
        .iter()
        .find_map(Token::word)
        .is_some_and(|word| word.eq_ignore_ascii_case("set"));
    let sign = |at: usize, sign| {
        tokens
            .get(at)
            .is_some_and(|token: &Token<'_>| token.is_sign(sign))
    };
    let mut into = false;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.is("into") {
            into = true;
        } else if token.is_sign('@') {
            let begins = at > 0 && (tokens[at - 1].is("set") || sign(at - 1, ','));
            let set = is_set && begins && sign(at + 2, '=');
            if set || into || (sign(at + 2, ':') && sign(at + 3, '=')) {
                found.push(at);
            }
        } else if token.word().is_some_and(|_| at == 0 || !sign(at - 1, '@')) && !token.is_sign(',')
        {
            into = false;
        }
    }
    found
}

/// Whether it gives the same values each time.
fn is_constant(tokens: &[Token<'_>]) -> bool {
    let is_word = |token: &Token<'_>, words: &[&str]| words.iter().any(|word| token.is(word));
    let changing = tokens.iter().any(|token| is_word(token, &CHANGING));
    let calls = tokens.windows(2).filter(|pair| pair[1].is_sign('('));
    let constant = calls
        .into_iter()
        .all(|pair| pair[0].word().is_none() || is_word(&pair[0], &CONSTANT));
    constant && !changing
}

fn is_insert(tokens: &[Token<'_>]) -> bool {
    let first = tokens.iter().find(|token| token.word().is_some());
    first.is_some_and(|first| first.is("insert") || first.is("replace"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::parse;

    #[test]
    fn what_cannot_be_set_again_is_known() {
        for (done, rest, expected) in [
            (
                "SET @n = 5; DROP TABLE a",
                "INSERT INTO b VALUES (@n)",
                None,
            ),
            (
                "SET @n = (SELECT COUNT(*) FROM a); DROP TABLE a",
                "INSERT INTO b VALUES (@n)",
                Some("@n"),
            ),
            // Nothing has happened since.
            (
                "DROP TABLE a; SET @n = (SELECT COUNT(*) FROM b)",
                "INSERT INTO b VALUES (@n)",
                None,
            ),
            (
                "SELECT COUNT(*) INTO @n FROM a; DROP TABLE a",
                "SELECT @n",
                Some("@n"),
            ),
            (
                "SELECT 1, 2 INTO @a, @b; DROP TABLE a",
                "SELECT @b",
                Some("@b"),
            ),
            ("SELECT @n := 5; DROP TABLE a", "SELECT @n", Some("@n")),
            // It is set anew before it is used.
            (
                "SET @n = RAND(); DROP TABLE a",
                "SET @n = 1; SELECT @n",
                None,
            ),
            (
                "SET @n = RAND(); DROP TABLE a",
                "SET @n = @n + 1",
                Some("@n"),
            ),
            (
                "SET @n = RAND(); SET @m = @n; DROP TABLE a",
                "SELECT @m",
                Some("@m"),
            ),
            (
                "SET @n = RAND(); SET @n = 1; DROP TABLE a",
                "SELECT @n",
                None,
            ),
            ("SET @n = RAND(); DROP TABLE a", "SELECT @@n, 'me@n'", None),
            (
                "SET @OLD = @@SQL_MODE, SQL_MODE = CONCAT(@@SQL_MODE, ',X'); DROP TABLE a",
                "SET SQL_MODE = @OLD",
                None,
            ),
            (
                "INSERT INTO a VALUES (1); ALTER TABLE b ADD c INT",
                "INSERT INTO b VALUES (LAST_INSERT_ID())",
                Some("LAST_INSERT_ID()"),
            ),
            (
                "ALTER TABLE b ADD c INT",
                "INSERT INTO a VALUES (1); INSERT INTO b VALUES (LAST_INSERT_ID())",
                None,
            ),
            (
                "CREATE TEMPORARY TABLE t (id INT); DROP TABLE a",
                "INSERT INTO b SELECT * FROM `t`",
                Some("the temporary table t"),
            ),
            (
                "CREATE TEMPORARY TABLE t (id INT); DROP TABLE t",
                "CREATE TABLE t (id INT)",
                None,
            ),
            (
                "SET @s = (SELECT IF(COUNT(*), 'a', 'b') FROM c); PREPARE s FROM @s; EXECUTE s; DEALLOCATE PREPARE s",
                "SET @s = (SELECT 1); PREPARE s FROM @s; EXECUTE s",
                None,
            ),
        ] {
            let sql = format!("{done}; {rest}");
            let statements = parse(&sql, Dialect::MySql);
            let number = parse(done, Dialect::MySql).len();
            assert_eq!(lost(&statements, number).as_deref(), expected, "{sql}");
        }
    }
}
