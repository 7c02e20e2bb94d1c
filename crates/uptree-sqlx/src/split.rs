//! Where the statements of a file of SQL begin and end.
//!
//! A database counts the statements that it has completed, and often tells no more of the one that
//! failed: this finds it. It is for messages only. What runs is always the file as it is.

use std::ops::Range;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Postgres,
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Sqlite,
}

/// The statements of `sql`, each from its first word to before its semicolon.
pub(crate) fn statements(sql: &str, dialect: Dialect) -> impl Iterator<Item = Range<usize>> {
    let mut scanner = Scanner {
        sql,
        dialect,
        at: 0,
    };
    std::iter::from_fn(move || scanner.statement())
}

struct Scanner<'a> {
    sql: &'a str,
    dialect: Dialect,
    at: usize,
}

enum Token<'a> {
    Word(&'a str),
    Semicolon,
    Open,
    Close,
    /// A literal, a quoted name, an operator.
    Other,
}

impl<'a> Scanner<'a> {
    fn statement(&mut self) -> Option<Range<usize>> {
        let mut start = None;
        let mut parentheses = 0_usize;
        let mut body = Body::default();
        loop {
            self.skip_blank();
            let begin = self.at;
            let Some(token) = self.token() else {
                return start.map(|start| start..self.sql.trim_end().len().max(start));
            };
            match token {
                Token::Semicolon if parentheses == 0 && body.depth == 0 => match start {
                    Some(start) => return Some(start..begin),
                    // Nothing stands before it.
                    None => continue,
                },
                Token::Open => parentheses += 1,
                Token::Close => parentheses = parentheses.saturating_sub(1),
                Token::Word(word) if parentheses == 0 => body.word(word, self.dialect),
                _ => {}
            }
            start.get_or_insert(begin);
        }
    }

    fn token(&mut self) -> Option<Token<'a>> {
        let rest = &self.sql[self.at..];
        let first = rest.chars().next()?;
        let (token, length) = match first {
            ';' => (Token::Semicolon, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' | '"' => (Token::Other, quoted(rest, first, false)),
            '`' if self.dialect == Dialect::Sqlite => (Token::Other, quoted(rest, '`', false)),
            '[' if self.dialect == Dialect::Sqlite => (
                Token::Other,
                rest.find(']').map_or(rest.len(), |end| end + 1),
            ),
            '$' if self.dialect == Dialect::Postgres => (Token::Other, dollar_quoted(rest)),
            'e' | 'E' if self.dialect == Dialect::Postgres && rest[1..].starts_with('\'') => {
                (Token::Other, 1 + quoted(&rest[1..], '\'', true))
            }
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            _ => (Token::Other, first.len_utf8()),
        };
        self.at += length;
        Some(token)
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.sql[self.at..];
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                // Only Postgres nests them.
                self.at += block_comment(trimmed, self.dialect == Dialect::Postgres);
            } else {
                return;
            }
        }
    }
}

/// The body of a routine or a trigger, whose semicolons do not end the statement.
#[derive(Default)]
struct Body {
    words: usize,
    state: State,
    depth: usize,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    /// It may still turn out to have a body.
    #[default]
    Unclear,
    Has,
    HasNot,
}

impl Body {
    fn word(&mut self, word: &str, dialect: Dialect) {
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        let first = self.words == 0;
        self.words += 1;
        match self.state {
            State::Unclear if first => {
                if !is("create") {
                    self.state = State::HasNot;
                }
            }
            State::Unclear => {
                let has = match dialect {
                    Dialect::Postgres => is("function") || is("procedure"),
                    Dialect::Sqlite => is("trigger"),
                };
                if has {
                    self.state = State::Has;
                } else if !(is("or") || is("replace") || is("temp") || is("temporary")) {
                    self.state = State::HasNot;
                }
            }
            State::Has => {
                if is("begin") || (self.depth > 0 && is("case")) {
                    self.depth += 1;
                } else if is("end") {
                    self.depth = self.depth.saturating_sub(1);
                }
            }
            State::HasNot => {}
        }
    }
}

fn is_word(c: char) -> bool {
    // A `$` within a word begins no quote.
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The length of a quoted text, to the end of the file if it is not closed.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslashes {
            chars.next();
        } else if c == quote {
            // Doubled, it stands for itself.
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                return at + 1;
            }
        }
    }
    text.len()
}

/// The length of `$$…$$` or `$tag$…$tag$`; of the `$` alone if it is a parameter.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else {
        return 1;
    };
    let tag = &text[..end + 2];
    let name = &tag[1..=end];
    if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_word) {
        return 1;
    }
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |end| end + 2 * tag.len())
}

/// The length of `/* … */`.
fn block_comment(text: &str, nested: bool) -> usize {
    let mut at = 2;
    let mut depth = 1;
    while depth > 0 {
        let rest = &text[at..];
        let Some(end) = rest.find("*/") else {
            return text.len();
        };
        match rest.find("/*").filter(|open| nested && *open < end) {
            Some(open) => {
                depth += 1;
                at += open + 2;
            }
            None => {
                depth -= 1;
                at += end + 2;
            }
        }
    }
    at
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
