//! Where the statements of a file of SQL begin and end.
//!
//! It decides where something can be put between two statements, which of them is run alone, and
//! which line a message names. What a statement says is not changed.

mod body;
mod scanner;

use std::ops::Range;

use self::body::Body;
pub(crate) use self::scanner::{Scanner, Token, TokenKind};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Postgres,
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Sqlite,
    /// And MariaDB's.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code))]
    MySql,
}

impl Dialect {
    /// What the database is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Sqlite => "SQLite",
            Self::MySql => "MySQL",
        }
    }
}

/// The statements of `sql`, each from its first word to its last.
pub(crate) fn statements(sql: &str, dialect: Dialect) -> impl Iterator<Item = Range<usize>> {
    Split::new(Scanner::new(sql, dialect), dialect)
}

/// Whether it is certain where the statements of `sql` begin and end.
///
/// If not, only the whole can be sent, with nothing put between: a quote, comment, parenthesis or
/// body has no end, or the server can be told by a setting to read it in another way.
pub(crate) fn is_sure(sql: &str, dialect: Dialect) -> bool {
    let mut split = Split::new(Scanner::new(sql, dialect), dialect);
    if !can_be_read_otherwise(sql, dialect) {
        while split.next().is_some() {}
        return split.is_sure();
    }
    let mut other = Split::new(Scanner::otherwise(sql, dialect), dialect);
    loop {
        match (split.next(), other.next()) {
            (None, None) => return split.is_sure() && other.is_sure(),
            (one, two) if one != two => return false,
            _ => {}
        }
    }
}

/// Whether a setting of the server matters: `standard_conforming_strings` on Postgres, and
/// `NO_BACKSLASH_ESCAPES` on MySQL if the file may set it.
fn can_be_read_otherwise(sql: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Postgres => sql.contains("\\'"),
        Dialect::MySql => {
            sql.contains('\\')
                && Scanner::new(sql, dialect).any(|token| {
                    token
                        .text
                        .to_ascii_lowercase()
                        .contains("no_backslash_escapes")
                })
        }
        Dialect::Sqlite => false,
    }
}

struct Split<'a> {
    scanner: Scanner<'a>,
    dialect: Dialect,
    /// Whether all statements so far are whole.
    whole: bool,
}

impl<'a> Split<'a> {
    fn new(scanner: Scanner<'a>, dialect: Dialect) -> Self {
        Self {
            scanner,
            dialect,
            whole: true,
        }
    }

    fn is_sure(&self) -> bool {
        self.whole && self.scanner.is_sure()
    }
}

impl Iterator for Split<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let mut found: Option<Range<usize>> = None;
        let mut parentheses = 0_usize;
        let mut body = Body::new(self.dialect);
        while let Some(token) = self.scanner.next() {
            if token.is_sign(';') && parentheses == 0 && !body.is_open() {
                if found.is_some() {
                    // The rest of the comment would be a statement that begins in it.
                    self.whole &= !self.scanner.is_conditional();
                    return self.end(found);
                }
                // Nothing stands before it.
                continue;
            }
            if token.is_sign('(') {
                parentheses += 1;
            } else if token.is_sign(')') {
                self.whole &= parentheses > 0;
                parentheses = parentheses.saturating_sub(1);
            }
            if parentheses == 0 && token.kind != TokenKind::Mark {
                body.take(&token);
            }
            let end = token.at + token.text.len();
            found = Some(found.map_or(token.at, |found| found.start)..end);
        }
        self.whole &= parentheses == 0 && !body.is_open();
        self.end(found)
    }
}

impl Split<'_> {
    fn end(&mut self, found: Option<Range<usize>>) -> Option<Range<usize>> {
        // By itself it would end in a comment.
        let is_odd = |found: &Range<usize>| self.scanner.text(found).ends_with("--");
        self.whole &= !found.as_ref().is_some_and(is_odd);
        found
    }
}

#[cfg(test)]
mod tests;
