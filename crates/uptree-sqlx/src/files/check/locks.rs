//! Work that takes long, in one transaction with a lock that others queue behind.

use std::{collections::HashSet, iter::Peekable};

use super::{File, Warning, first_words};
use crate::{
    place,
    split::{Dialect, Scanner},
    statement::{Kind, Object, Statement, Verb},
};

/// A change of many rows before a statement that tries for a strong lock: each time that it does
/// not get it, the file is rolled back, and the change is made anew.
///
/// Only on Postgres: MySQL commits in between, and on SQLite one writes at a time.
pub(super) fn long_before_strong(
    file: &File,
    statements: &[Statement<'_>],
    dialect: Dialect,
) -> Option<Warning> {
    if dialect != Dialect::Postgres || !file.in_transaction() {
        return None;
    }
    // The tables that the file has made: nobody else knows them.
    let mut own = HashSet::new();
    let mut long = None;
    for statement in statements {
        match &statement.kind {
            Kind::Ddl(ddl) => {
                let target = ddl.table.as_ref().or(ddl.name());
                let is_own = target.is_some_and(|name| own.contains(name.plain()));
                if let Some(long) = long.filter(|_| ddl.strong && !is_own) {
                    return Some(warning(file, long, statement));
                }
                if ddl.verb == Verb::Create && ddl.object == Object::Table {
                    own.extend(ddl.name().map(|name| name.plain().to_owned()));
                }
            }
            Kind::Dml if long.is_none() => {
                let table = changed(statement.sql);
                if table.is_some_and(|table| !own.contains(&table)) {
                    long = Some(statement);
                }
            }
            _ => {}
        }
    }
    None
}

fn warning(file: &File, long: &Statement<'_>, strong: &Statement<'_>) -> Warning {
    let line = |statement: &Statement<'_>| place::of_offset(file.sql(), statement.at).line;
    let message = format!(
        "{} may change many rows, and is done again each time that {} in line {} does not get its \
         lock at once: put it into a migration of its own",
        first_words(long.sql),
        first_words(strong.sql),
        line(strong)
    );
    Warning {
        file: file.to_string(),
        line: Some(line(long)),
        message,
    }
}

/// The table in which a statement changes all rows that a query finds, unless it has a `LIMIT`.
fn changed(sql: &str) -> Option<String> {
    let mut tokens = Scanner::new(sql, Dialect::Postgres).peekable();
    let is = |words: &[&str]| {
        let first = Scanner::new(sql, Dialect::Postgres).next();
        first.is_some_and(|token| words.iter().any(|word| token.is(word)))
    };
    let changes = ["update", "delete", "insert", "merge"];
    if !is(&changes) && !is(&["with"]) {
        return None;
    }
    let mut before = None;
    let verb = tokens.find(|token| {
        let after_for = before
            .replace(*token)
            .is_some_and(|before| before.is("for"));
        !after_for && changes.iter().any(|word| token.is(word))
    })?;
    let between = ["from", "into", "only"];
    while tokens
        .next_if(|token| between.iter().any(|word| token.is(word)))
        .is_some()
    {}
    let table = name(&mut tokens)?;
    let mut many = !verb.is("insert");
    let mut depth = 0_i32;
    for token in tokens {
        if token.is_sign('(') {
            depth += 1;
        } else if token.is_sign(')') {
            depth -= 1;
        } else if token.is("limit") {
            return None;
        } else if token.is("from") && depth == 0 {
            many = true;
        }
    }
    many.then_some(table)
}

/// The last part of a name.
fn name(tokens: &mut Peekable<Scanner<'_>>) -> Option<String> {
    let mut name = tokens.next()?;
    while tokens.next_if(|token| token.is_sign('.')).is_some() {
        name = tokens.next()?;
    }
    Some(match name.word() {
        Some(word) => word.to_ascii_lowercase(),
        None => name.text.trim_matches('"').to_owned(),
    })
}
