//! Where in a file of SQL something went wrong.

use std::fmt;

use crate::split::{Dialect, is_sure, statements};

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line; `None` if only the statement is known, whose first line it then
    /// is.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        match self.column {
            Some(column) => write!(f, ", column {column}"),
            None => Ok(()),
        }
    }
}

/// The place of the statement that failed after `completed` others, for an error that has no
/// position of its own.
///
/// `near` is the word at fault, if the database named it: where it stands but once in the
/// statement, it is the place.
pub(crate) fn of_statement(
    sql: &str,
    dialect: Dialect,
    completed: usize,
    near: Option<&str>,
) -> Option<Place> {
    // Its count and the server's could disagree.
    if !is_sure(sql, dialect) {
        return None;
    }
    let range = statements(sql, dialect).nth(completed)?;
    let statement = &sql[range.clone()];
    if let Some(near) = near.filter(|near| !near.is_empty())
        && let Some((offset, _)) = only(statement.match_indices(near))
    {
        return Some(of_offset(sql, range.start + offset));
    }
    let line = of_offset(sql, range.start).line;
    Some(Place { line, column: None })
}

/// The place of this byte, counted from 0; of the end, if there is no such byte.
pub(crate) fn of_offset(sql: &str, offset: usize) -> Place {
    let before = &sql[..sql.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[start..].chars().count() + 1;
    Place {
        line,
        column: Some(column),
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let item = items.next()?;
    items.next().is_none().then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(line: usize, column: usize) -> Place {
        let column = Some(column);
        Place { line, column }
    }

    const fn line(line: usize) -> Place {
        Place { line, column: None }
    }

    #[test]
    fn a_byte_is_found_by_line_and_column() {
        for (sql, offset, expected) in [
            ("SELECT", 0, place(1, 1)),
            ("SELECT", 5, place(1, 6)),
            ("a\nbc\nd", 3, place(2, 2)),
            ("a\r\nbc", 3, place(2, 1)),
            ("-- für\nSELEC 1", 8, place(2, 1)),
        ] {
            assert_eq!(of_offset(sql, offset), expected, "{offset} of {sql:?}");
        }
    }

    #[test]
    fn a_statement_is_found_by_those_before_it_and_the_word_at_fault() {
        let sql = "-- two tables\nCREATE TABLE a (x int);\n\nCREATE TABEL b (\n  y int\n);\n";
        for (completed, near, expected) in [
            (0, None, Some(line(2))),
            (1, None, Some(line(4))),
            (1, Some("TABEL"), Some(place(4, 8))),
            (1, Some("y"), Some(place(5, 3))),
            // It stands there twice.
            (1, Some("T"), Some(line(4))),
            (1, Some(""), Some(line(4))),
            (2, None, None),
        ] {
            let found = of_statement(sql, Dialect::Sqlite, completed, near);
            assert_eq!(found, expected, "{near:?} after {completed}");
        }
    }
}
