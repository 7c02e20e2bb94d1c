//! What a command prints: for people, or as one JSON object.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::{Map, Value};

use super::Chosen;

/// Prints to stdout. One that is closed is no failure: what was asked for has been done.
pub(super) fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    _ = writeln!(stdout, "{}", text.trim_end());
    _ = stdout.flush();
}

/// Prints the answer, in the form that was asked for.
pub(super) fn answer(json: bool, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
    match json {
        true => say(&format!("{:#}", value())),
        false => say(&text()),
    }
}

/// The members that every answer begins with.
pub(super) fn object(command: &str, chosen: &Chosen) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("command".into(), command.into());
    object.insert("child".into(), chosen.path.clone().into());
    object.insert(
        "database".into(),
        chosen.migrator.target().to_string().into(),
    );
    object.insert("ledger".into(), chosen.ledger().into());
    object
}

/// A table with a header; the last column is as long as it likes.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| {
        let widths = all().filter_map(|row| row.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// "1 migration", "2 migrations".
pub(super) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [
            vec!["1".to_owned(), "größer".to_owned(), "x".to_owned()],
            vec!["22".to_owned(), "a".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["N", "NAME", "MORE"], &rows),
            "N   NAME    MORE\n1   größer  x\n22  a\n"
        );
    }
}
