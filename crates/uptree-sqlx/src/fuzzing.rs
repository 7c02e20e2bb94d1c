//! What reads text from outside, for fuzzers and for tests against real servers. Not for use.

use std::ops::Range;

use crate::{files, split, statement};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Postgres.
    Postgres,
    /// SQLite.
    Sqlite,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Sqlite, Self::MySql];

    fn inner(self) -> split::Dialect {
        match self {
            Self::Postgres => split::Dialect::Postgres,
            Self::Sqlite => split::Dialect::Sqlite,
            Self::MySql => split::Dialect::MySql,
        }
    }
}

/// Where the statements of a text are.
pub fn statements(sql: &str, dialect: Dialect) -> Vec<Range<usize>> {
    split::statements(sql, dialect.inner()).collect()
}

/// Whether that is certain.
pub fn is_sure(sql: &str, dialect: Dialect) -> bool {
    split::is_sure(sql, dialect.inner())
}

/// Holds a text against all that must be true of its statements.
///
/// # Panics
///
/// If something is not.
#[track_caller]
pub fn hold_split(sql: &str, dialect: Dialect) {
    let ranges = statements(sql, dialect);
    let mut end = 0;
    for range in &ranges {
        assert!(end <= range.start && range.start < range.end, "{sql:?}");
        assert!(is_gap(&sql[end..range.start], dialect), "{sql:?}: {end}");
        end = range.end;
    }
    assert!(is_gap(&sql[end..], dialect), "{sql:?}: {end}");
    assert_eq!(kinds(sql, dialect).len(), ranges.len(), "{sql:?}");
    if is_sure(sql, dialect) {
        let pieces: Vec<_> = ranges.into_iter().map(|range| &sql[range]).collect();
        for piece in &pieces {
            let whole = 0..piece.len();
            assert_eq!(statements(piece, dialect), vec![whole], "{sql:?}");
        }
        // With something put between.
        let joined = pieces.join("\n;\n");
        let again = statements(&joined, dialect).into_iter();
        let again: Vec<_> = again.map(|range| &joined[range]).collect();
        assert_eq!(again, pieces, "{sql:?}");
    }
}

/// Whether it is but blanks, comments and semicolons.
fn is_gap(text: &str, dialect: Dialect) -> bool {
    let is_blank = |c: char| c.is_ascii_whitespace() || matches!(c, ';' | '\u{b}' | '\u{feff}');
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let is_line = rest.starts_with("--") || dialect == Dialect::MySql && rest.starts_with('#');
        let length = if is_line {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            block(comment, dialect) + 2
        } else {
            return false;
        };
        rest = rest[length..].trim_start_matches(is_blank);
    }
    true
}

/// The length of the rest of a comment, letter by letter.
fn block(text: &str, dialect: Dialect) -> usize {
    let (mut depth, mut at) = (1, 0);
    while depth > 0 && at < text.len() {
        if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else if text[at..].starts_with("/*") && dialect == Dialect::Postgres {
            (depth, at) = (depth + 1, at + 2);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// What each statement is: how long it may wait, `outside` if it cannot run in a transaction, and
/// the rest.
pub fn kinds(sql: &str, dialect: Dialect) -> Vec<String> {
    let statements = statement::parse(sql, dialect.inner());
    statements
        .iter()
        .map(|statement| {
            let outside = statement.needs_no_transaction() && !statement.adds_enum_value();
            let outside = if outside { " outside" } else { "" };
            format!("{:?}{outside} {:?}", statement.pace(), statement.kind)
        })
        .collect()
}

/// All that is said of a file that has these bytes: what it is read as, what is refused, what is
/// warned of.
pub fn read(name: &str, bytes: Vec<u8>, dialect: Dialect) -> Vec<String> {
    match files::File::from_bytes(name, bytes) {
        Err(error) => vec![error.to_string(), error.remedy()],
        Ok((file, warnings)) => {
            let findings = files::check::check(&file, dialect.inner());
            let refusals = findings.refusals.iter().map(ToString::to_string);
            let warnings = warnings.iter().chain(&findings.warnings);
            let warnings = warnings.map(ToString::to_string);
            let keys = file.sets_foreign_keys();
            let keys = keys.iter().map(|keys| keys.place.to_string());
            refusals.chain(warnings).chain(keys).collect()
        }
    }
}
