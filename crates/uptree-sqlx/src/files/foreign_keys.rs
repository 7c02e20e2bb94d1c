//! `PRAGMA foreign_keys`, which SQLite takes and does not do while a transaction is open.
//!
//! Whoever rebuilds a table, as SQLite's manual tells it, turns foreign keys off first: in a
//! transaction they stay on, and `DROP TABLE` then deletes the rows that refer to it.

use super::File;
use crate::{
    place::{self, Place},
    split::{Dialect, Scanner, statements},
};

/// One `PRAGMA foreign_keys` that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignKeys {
    pub(crate) place: Place,
    pub(crate) on: bool,
}

impl File {
    /// Where the file sets `PRAGMA foreign_keys`, in a transaction or not.
    pub(crate) fn sets_foreign_keys(&self) -> Vec<ForeignKeys> {
        let sql = self.sql();
        let ranges = statements(sql, Dialect::Sqlite);
        let found = ranges.filter_map(|range| {
            Some(ForeignKeys {
                on: sets(&sql[range.clone()])?,
                place: place::of_offset(sql, range.start),
            })
        });
        found.collect()
    }
}

/// What a statement sets `PRAGMA foreign_keys` to, if it does.
fn sets(statement: &str) -> Option<bool> {
    let mut tokens = Scanner::new(statement, Dialect::Sqlite).map(|token| {
        let text = token.text.trim_matches(['\'', '"', '`', '[', ']']);
        text.to_ascii_lowercase()
    });
    if tokens.next()? != "pragma" {
        return None;
    }
    let mut name = tokens.next()?;
    let mut sign = tokens.next()?;
    if sign == "." {
        (name, sign) = (tokens.next()?, tokens.next()?);
    }
    if name != "foreign_keys" || !(sign == "=" || sign == "(") {
        return None;
    }
    let value = tokens.next()?;
    let is_number = |number: i64| number != 0;
    let on = matches!(&*value, "on" | "yes" | "true");
    Some(on || value.parse().is_ok_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_keys_are_seen_to_be_set() {
        for (statement, expected) in [
            ("PRAGMA foreign_keys = OFF", Some(false)),
            ("pragma foreign_keys=on", Some(true)),
            ("PRAGMA main.foreign_keys(0)", Some(false)),
            ("PRAGMA \"foreign_keys\" = 'yes'", Some(true)),
            ("PRAGMA foreign_keys = 1", Some(true)),
            ("PRAGMA foreign_keys = maybe", Some(false)),
            ("PRAGMA /* the */ foreign_keys /* be */ = off", Some(false)),
            ("PRAGMA foreign_keys", None),
            ("PRAGMA foreign_key_check", None),
            ("PRAGMA foreign_key_list(a)", None),
            ("PRAGMA defer_foreign_keys = on", None),
            ("SELECT 'PRAGMA foreign_keys = off'", None),
        ] {
            assert_eq!(sets(statement), expected, "{statement}");
        }
    }

    #[test]
    fn each_is_found_with_its_place() {
        let sql = "PRAGMA foreign_keys=off;\n-- PRAGMA foreign_keys=on;\n PRAGMA foreign_keys=on;";
        let found = File::with_sql(1, "a", sql).sets_foreign_keys();
        let found: Vec<_> = found.iter().map(|set| (set.place.line, set.on)).collect();
        assert_eq!(found, [(1, false), (3, true)]);
    }
}
