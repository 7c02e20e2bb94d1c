//! What a file says of itself in the comments that it begins with.

use super::{FileError, Warning};

/// What a file's leading comments say to us.
///
/// A directive stands in a line of its own, `-- name: value`, before the first statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// `-- requires: 5`: a program that does not know migration 5 must not run once this one is
    /// applied. `None` unless it is said.
    pub(crate) requires: Option<i64>,
}

/// sqlx's own, which it knows only as the file's very beginning.
pub(super) const NO_TRANSACTION: &str = "-- no-transaction";

const REQUIRES: &str = "requires";

/// Reads the directives of a file, and what in its leading comments may be meant as one.
pub(super) fn read(file: &str, sql: &str) -> Result<(Directives, Vec<Warning>), FileError> {
    let mut directives = Directives::default();
    let mut warnings = Vec::new();
    for (line, comment) in leading_comments(sql) {
        let mut warn = |message: String| {
            warnings.push(Warning {
                file: file.to_owned(),
                line: Some(line),
                message,
            });
        };
        if is_nearly_no_transaction(comment) {
            if !sql.starts_with(NO_TRANSACTION) {
                warn(format!(
                    "it is run in a transaction, because `{NO_TRANSACTION}` must be the very \
                     first of the file, and written like this"
                ));
            }
            continue;
        }
        let Some((name, value)) = comment.split_once(':') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let is_exact = name.eq_ignore_ascii_case(REQUIRES);
        match (is_exact, version(value)) {
            // If it is said twice, both hold.
            (true, Some(version)) => directives.requires = directives.requires.max(Some(version)),
            (true, None) => warn(format!(
                "`{comment}` names no migration by its version, so it is taken for a comment"
            )),
            (false, Some(_)) if distance(&name.to_ascii_lowercase(), REQUIRES) <= 2 => {
                return Err(FileError::Directive {
                    file: file.to_owned(),
                    line,
                    written: comment.to_owned(),
                    meant: "requires: N",
                });
            }
            (false, _) => {}
        }
    }
    Ok((directives, warnings))
}

/// The lines of the comments before the first statement, from after their dashes, with their
/// numbers.
fn leading_comments(sql: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    let mut in_block = false;
    let lines = text.lines().enumerate().map_while(move |(index, line)| {
        let mut line = line.trim();
        if !in_block && let Some(comment) = line.strip_prefix("--") {
            return Some((index + 1, comment.trim()));
        }
        // A licence, perhaps: directives may follow it, but do not stand in it.
        while !line.is_empty() {
            if in_block {
                let Some((_, rest)) = line.split_once("*/") else {
                    break;
                };
                in_block = false;
                line = rest.trim_start();
            } else {
                // MySQL runs what is in `/*! */`.
                let rest = line
                    .strip_prefix("/*")
                    .filter(|rest| !rest.starts_with('!'))?;
                in_block = true;
                line = rest;
            }
        }
        Some((index + 1, ""))
    });
    lines.filter(|(_, comment)| !comment.is_empty())
}

/// `no transaction`, `No-Transaction`, `no_transaction;`
fn is_nearly_no_transaction(comment: &str) -> bool {
    let letters: String = comment
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // Prose goes on.
    comment.len() <= NO_TRANSACTION.len() + 2
        && (letters == "notransaction" || letters == "notransactions")
        || comment.starts_with("no-transaction")
}

/// A migration's version: its number, or its file's name.
fn version(value: &str) -> Option<i64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = value.split_at(digits);
    if rest.is_empty() || rest.starts_with('_') && !rest.contains(char::is_whitespace) {
        number.parse().ok()
    } else {
        None
    }
}

/// How many letters must be added, left out, changed or swapped with their neighbour to make one of
/// the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = usize::from(one[i - 1] != other[j - 1]);
                let mut least = (rows[i - 1][j - 1] + changed)
                    .min(rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1);
                let swapped =
                    i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                if swapped {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requires(sql: &str) -> Option<i64> {
        let (directives, warnings) = read("1_a.sql", sql).unwrap();
        assert_eq!(warnings, [], "{sql:?}");
        directives.requires
    }

    #[test]
    fn what_a_file_requires_is_said_before_its_first_statement() {
        for (sql, expected) in [
            ("", None),
            ("SELECT 1", None),
            ("-- requires: 5", Some(5)),
            ("--requires:5", Some(5)),
            ("-- Requires: 0005\r\nSELECT 1", Some(5)),
            ("\u{feff}-- requires: 0005_people.sql\n", Some(5)),
            ("-- no-transaction\n-- requires: 5\n", Some(5)),
            ("\n\n  -- a word\n\n  -- requires: 5  \nSELECT 1", Some(5)),
            ("/* ours\n */\n-- requires: 5", Some(5)),
            ("/* a */ /* b\n*/ -- requires: 5\n-- requires: 6", None),
            (
                "/* a */\n-- requires: 20260101120000",
                Some(20_260_101_120_000),
            ),
            ("-- requires: 5\n-- requires: 4\n", Some(5)),
            ("/* \n-- requires: 5\n*/", None),
            ("/*! SELECT 1 */;\n-- requires: 5\n", None),
            ("SELECT 1;\n-- requires: 5\n", None),
            ("-- This requires: 5 apples", None),
            ("-- see: 5\n-- note: all tables\n", None),
            ("-- required: a user called clerk\n", None),
            ("-- required\n", None),
        ] {
            assert_eq!(requires(sql), expected, "{sql:?}");
        }
    }

    #[test]
    fn a_directive_that_is_nearly_right_is_refused() {
        for (sql, message) in [
            (
                "-- require: 5",
                "1_a.sql: line 1 has `require: 5`, which is not `requires: N`",
            ),
            (
                "\n-- a\n-- Reqiures : 0005_people.sql\n",
                "1_a.sql: line 3 has `Reqiures : 0005_people.sql`, which is not `requires: N`",
            ),
        ] {
            let error = read("1_a.sql", sql).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(
                error
                    .remedy()
                    .starts_with("write `-- requires: N` in line ")
            );
        }
    }

    #[test]
    fn what_is_taken_for_a_comment_and_may_not_be_meant_as_one_is_warned_of() {
        let warned = |sql: &str| {
            let (directives, warnings) = read("1_a.sql", sql).unwrap();
            assert_eq!(directives, Directives::default());
            let lines = warnings.iter().map(|warning| warning.line);
            lines.flatten().collect::<Vec<_>>()
        };
        for (sql, lines) in [
            ("-- no-transaction", &[][..]),
            ("-- no-transaction\n-- no-transaction", &[]),
            ("-- no-transaction because of the index", &[]),
            ("\u{feff}-- no-transaction", &[1]),
            ("\n-- no-transaction", &[2]),
            ("-- an index\n-- no-transaction: an index", &[2]),
            ("--no-transaction", &[1]),
            ("-- No Transaction", &[1]),
            ("-- no_transaction", &[1]),
            ("-- there is no transaction here", &[]),
            ("-- requires: pgcrypto", &[1]),
            ("-- requires:", &[1]),
            ("SELECT 1;\n-- no-transaction", &[]),
        ] {
            assert_eq!(warned(sql), lines, "{sql:?}");
        }
    }

    #[test]
    fn the_distance_of_two_words_is_what_has_to_be_done_to_one() {
        for (one, other, expected) in [
            ("requires", "requires", 0),
            ("require", "requires", 1),
            ("reqiures", "requires", 1),
            ("required", "requires", 1),
            ("rekwires", "requires", 2),
            ("see", "requires", usize::MAX),
        ] {
            assert_eq!(distance(one, other), expected, "{one}");
        }
    }
}
