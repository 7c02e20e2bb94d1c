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

/// How each statement may wait, as a word, and its names.
pub fn kinds(sql: &str, dialect: Dialect) -> Vec<String> {
    let statements = statement::parse(sql, dialect.inner());
    statements
        .iter()
        .map(|statement| format!("{:?} {:?}", statement.pace(), statement.kind))
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
