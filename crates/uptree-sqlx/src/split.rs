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
    #[allow(dead_code)]
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

/// The statements of `sql`, each from its first word to before its semicolon.
pub(crate) fn statements(sql: &str, dialect: Dialect) -> impl Iterator<Item = Range<usize>> {
    Split::new(Scanner::new(sql, dialect), dialect)
}

/// Whether it is certain where the statements of `sql` begin and end.
///
/// If not, only the whole can be sent, with nothing put between: a quote, comment, parenthesis or
/// body has no end, or the server can be told by a setting to read it in another way.
#[allow(dead_code)]
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
        let mut start = None;
        let mut end = 0;
        let mut parentheses = 0_usize;
        let mut body = Body::new(self.dialect);
        while let Some(token) = self.scanner.next() {
            if token.is_sign(';') && parentheses == 0 && !body.is_open() {
                let Some(start) = start else {
                    // Nothing stands before it.
                    continue;
                };
                // The rest of the comment would be a statement that begins in it.
                self.whole &= !self.scanner.is_conditional();
                return Some(start..token.at);
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
            start.get_or_insert(token.at);
            end = token.at + token.text.len();
        }
        self.whole &= parentheses == 0 && !body.is_open();
        start.map(|start| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dialect: Dialect, sql: &str, expected: &[&str]) {
        let found: Vec<_> = statements(sql, dialect).map(|range| &sql[range]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn statements_end_at_their_semicolons() {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            check(dialect, "", &[]);
            check(dialect, " -- nothing\n/* here */ ; ;", &[]);
            check(dialect, "SELECT 1", &["SELECT 1"]);
            check(dialect, "\u{feff}SELECT 1;\r\n", &["SELECT 1"]);
            check(dialect, "a;b ; c\n", &["a", "b ", "c"]);
            check(dialect, "a /* ; */ b; -- ;\nc", &["a /* ; */ b", "c"]);
            check(
                dialect,
                "SELECT ';', 'it''s;'; b",
                &["SELECT ';', 'it''s;'", "b"],
            );
            check(dialect, r#"SELECT "a;b"; b"#, &[r#"SELECT "a;b""#, "b"]);
            check(dialect, "SELECT 'open; b", &["SELECT 'open; b"]);
            check(dialect, "BEGIN; a; END; b", &["BEGIN", "a", "END", "b"]);
        }
    }

    #[test]
    fn postgres_has_quotes_bodies_and_nested_comments_of_its_own() {
        let check = |sql: &str, expected: &[&str]| check(Dialect::Postgres, sql, expected);
        check("DO $$ a; b; $$; c", &["DO $$ a; b; $$", "c"]);
        check("DO $x$ $$ ; $$ $x$; c", &["DO $x$ $$ ; $$ $x$", "c"]);
        check("SELECT $1; b; SELECT $2", &["SELECT $1", "b", "SELECT $2"]);
        check(r"SELECT E'\';'; b", &[r"SELECT E'\';'", "b"]);
        check("/* a /* ; */ ; */ b; c", &["b", "c"]);
        check(
            "CREATE RULE r AS ON INSERT TO t DO ALSO (a; b); c",
            &["CREATE RULE r AS ON INSERT TO t DO ALSO (a; b)", "c"],
        );
        let function = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC \
                        SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        check(&format!("{function}; c"), &[function, "c"]);
    }

    #[test]
    fn sqlite_has_triggers_and_quotes_of_its_own() {
        let check = |sql: &str, expected: &[&str]| check(Dialect::Sqlite, sql, expected);
        check("SELECT `a;b`, [c;d]; e", &["SELECT `a;b`, [c;d]", "e"]);
        check("/* a /* ; */ b; c", &["b", "c"]);
        let trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN \
                       UPDATE a SET b = CASE WHEN c THEN 1 ELSE 2 END; DELETE FROM d; END";
        check(&format!("{trigger}; e"), &[trigger, "e"]);
    }

    #[test]
    fn any_text_is_split_in_order() {
        let parts = [
            "'",
            "\"",
            "`",
            "[",
            "]",
            "$",
            "$a$",
            "$$",
            "(",
            ")",
            ";",
            "--",
            "/*",
            "*/",
            "\\",
            "\n",
            "é",
            "E'",
            "x",
            " ",
            "CREATE ",
            "FUNCTION ",
            "TRIGGER ",
            "BEGIN ",
            "END ",
            "CASE ",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let length = random.usize(..12);
            let sql: String = (0..length).filter_map(|_| random.choice(parts)).collect();
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                let mut end = 0;
                for range in statements(&sql, dialect) {
                    assert!(end <= range.start && range.start <= range.end, "{sql:?}");
                    end = range.end;
                    assert!(sql.get(range).is_some(), "{sql:?}");
                }
            }
        }
    }
}
