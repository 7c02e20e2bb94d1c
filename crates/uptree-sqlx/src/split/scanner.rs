//! The words, names, literals and signs of a text of SQL.

use std::ops::Range;

use super::Dialect;

/// What stands between two blanks, or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    /// Where it begins, in bytes.
    pub(crate) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword, a name without quotes, or a number.
    Word,
    /// A name in quotes.
    Name,
    /// A literal in quotes.
    Text,
    /// One character of anything else.
    Sign,
    /// The beginning or the end of MySQL's `/*! … */`, whose inside is no comment.
    Mark,
}

impl<'a> Token<'a> {
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.kind == TokenKind::Sign && self.text.starts_with(sign)
    }

    /// Its text, if it is a word.
    pub(crate) fn word(&self) -> Option<&'a str> {
        (self.kind == TokenKind::Word).then_some(self.text)
    }
}

/// Finds the tokens of a text, without blanks and comments.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    sql: &'a str,
    dialect: Dialect,
    /// Whether a backslash in a plain literal escapes what follows it.
    backslashes: bool,
    at: usize,
    /// In MySQL's `/*! … */`: where that would end if it were a comment.
    conditional: Option<usize>,
    /// Whether all so far can be read in one way only.
    sure: bool,
}

impl<'a> Scanner<'a> {
    /// Reads as the server does by default.
    pub(crate) fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self {
            sql,
            dialect,
            backslashes: dialect == Dialect::MySql,
            at: 0,
            conditional: None,
            sure: true,
        }
    }

    /// Reads as the server does if it was told to take a backslash in a plain literal for what it
    /// is not by default.
    pub(super) fn otherwise(sql: &'a str, dialect: Dialect) -> Self {
        let scanner = Self::new(sql, dialect);
        Self {
            backslashes: !scanner.backslashes,
            ..scanner
        }
    }

    pub(super) fn text(&self, range: &Range<usize>) -> &'a str {
        &self.sql[range.clone()]
    }

    pub(super) fn is_sure(&self) -> bool {
        self.sure && self.conditional.is_none()
    }

    /// Whether it is within MySQL's `/*! … */`.
    pub(super) fn is_conditional(&self) -> bool {
        self.conditional.is_some()
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.sql[self.at..];
            let trimmed = rest.trim_start_matches(|c| self.dialect.is_space(c));
            self.at += rest.len() - trimmed.len();
            if self.dialect.begins_line_comment(trimmed) {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") && !self.begins_conditional(trimmed) {
                let end = block_comment(trimmed, self.dialect == Dialect::Postgres);
                self.at += self.close(end, trimmed);
            } else {
                return;
            }
        }
    }

    fn begins_conditional(&self, text: &str) -> bool {
        // No server is as new as the number that MariaDB's dumps begin with.
        let never = text.starts_with("/*!999999") || text.starts_with("/*M!999999");
        let marked = text.starts_with("/*!") || text.starts_with("/*M!");
        self.dialect == Dialect::MySql && marked && !never
    }

    /// The length of the mark that `text` begins with.
    ///
    /// MySQL runs what is in `/*! … */`, or skips it if the number says that it is too old.
    fn mark(&mut self, text: &str) -> Option<usize> {
        if self.begins_conditional(text) {
            let end = text.find("*/").map(|end| self.at + end);
            self.sure &= self.conditional.is_none() && end.is_some();
            self.conditional = Some(end.unwrap_or(self.sql.len()));
            let mark = text.find('!')? + 1;
            let version = text[mark..].bytes().take_while(u8::is_ascii_digit).count();
            // A number has five digits or six.
            return Some(mark + if version >= 5 { version.min(6) } else { 0 });
        }
        if self.conditional.is_some() && text.starts_with("*/") {
            // A server that is too old for it has skipped to the first end that it saw.
            self.sure &= self.conditional.take() == Some(self.at);
            return Some(2);
        }
        None
    }

    /// The length of something that has an end, or of all the rest, which then is not sure.
    fn close(&mut self, end: Option<usize>, text: &str) -> usize {
        self.sure &= end.is_some();
        end.unwrap_or(text.len())
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        use Dialect::{MySql, Postgres, Sqlite};

        self.skip_blank();
        let at = self.at;
        let rest = &self.sql[at..];
        let first = rest.chars().next()?;
        if let Some(length) = self.mark(rest) {
            self.at += length;
            let (kind, text) = (TokenKind::Mark, &rest[..length]);
            return Some(Token { kind, text, at });
        }
        let (kind, end) = match (first, self.dialect) {
            ('\'', _) => (TokenKind::Text, self.literal(rest, '\'', self.backslashes)),
            ('"', MySql) => (TokenKind::Text, quoted(rest, '"', self.backslashes)),
            ('"', _) => (TokenKind::Name, quoted(rest, '"', false)),
            ('`', Sqlite | MySql) => (TokenKind::Name, quoted(rest, '`', false)),
            ('[', Sqlite) => (TokenKind::Name, rest.find(']').map(|end| end + 1)),
            ('$', Postgres) => match dollar_tag(rest) {
                Some(tag) => (TokenKind::Text, tagged(rest, tag)),
                None => (TokenKind::Sign, Some(1)),
            },
            ('e' | 'E', Postgres) if rest[1..].starts_with('\'') => {
                let end = self.literal(&rest[1..], '\'', true);
                (TokenKind::Text, end.map(|end| end + 1))
            }
            ('u' | 'U', Postgres) if rest[1..].starts_with("&'") => {
                let end = self.literal(&rest[2..], '\'', self.backslashes);
                (TokenKind::Text, end.map(|end| end + 2))
            }
            ('u' | 'U', Postgres) if rest[1..].starts_with("&\"") => {
                let end = quoted(&rest[2..], '"', false);
                (TokenKind::Name, end.map(|end| end + 2))
            }
            // A `$` within a name begins no quote; after a number it does.
            ('0'..='9', Postgres) => {
                let end = rest.find(|c: char| !is_word(c) || c == '$');
                (TokenKind::Word, Some(end.unwrap_or(rest.len())))
            }
            _ if is_word(first) => {
                let end = rest.find(|c| !is_word(c));
                (TokenKind::Word, Some(end.unwrap_or(rest.len())))
            }
            _ => (TokenKind::Sign, Some(first.len_utf8())),
        };
        let length = self.close(end, rest);
        self.at += length;
        let text = &rest[..length];
        Some(Token { kind, text, at })
    }
}

impl Scanner<'_> {
    /// The length of a literal. On Postgres it may go on in another line, in the same way.
    fn literal(&self, text: &str, quote: char, backslashes: bool) -> Option<usize> {
        let mut end = quoted(text, quote, backslashes)?;
        if self.dialect == Dialect::Postgres {
            while let Some(next) = continued(&text[end..]) {
                end += next;
                end += quoted(&text[end..], quote, backslashes)?;
            }
        }
        Some(end)
    }
}

/// The length of what is between two parts of a literal: blanks and line comments, a newline among
/// them.
fn continued(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut newline = false;
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start_matches(|c| Dialect::Postgres.is_space(c));
        let blank = rest.len() - trimmed.len();
        newline |= rest[..blank].contains(['\n', '\r']);
        at += blank;
        if trimmed.starts_with("--") {
            at += trimmed.find('\n')?;
        } else {
            return (newline && trimmed.starts_with('\'')).then_some(at);
        }
    }
}

impl Dialect {
    pub(super) fn is_space(self, c: char) -> bool {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\u{c}' => true,
            '\u{b}' => self != Self::Sqlite,
            // Elsewhere than at the beginning only SQLite takes it for a blank; to stop at it helps
            // nobody.
            '\u{feff}' => true,
            _ => false,
        }
    }

    fn begins_line_comment(self, text: &str) -> bool {
        match self {
            Self::MySql if text.starts_with('#') => true,
            // `5--2` is 7.
            Self::MySql => text.strip_prefix("--").is_some_and(|rest| {
                let next = rest.chars().next();
                next.is_none_or(|c| self.is_space(c) || c.is_ascii_control())
            }),
            Self::Postgres | Self::Sqlite => text.starts_with("--"),
        }
    }
}

fn is_word(c: char) -> bool {
    // All that is not ASCII can be in a name, in all three.
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || (!c.is_ascii() && c != '\u{feff}')
}

/// The length of a quoted text.
fn quoted(text: &str, quote: char, backslashes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = u8::try_from(quote).ok()?;
    let mut at = 1;
    loop {
        let rest = &bytes[at.min(bytes.len())..];
        at += rest
            .iter()
            .position(|b| *b == quote || (backslashes && *b == b'\\'))?;
        if bytes[at] == b'\\' {
            // What it escapes may be longer than a byte, but the rest of that is no quote.
            at += 2;
        } else if bytes.get(at + 1) == Some(&quote) {
            // Doubled, it stands for itself.
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

/// `$$` or `$tag$`, if the text begins with it; a `$` may also be a parameter's.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find(|c| !is_word(c) || c == '$')? + 1;
    let is_tag =
        text[end..].starts_with('$') && !text[1..].starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| &text[..=end])
}

/// The length of a text between two of these.
fn tagged(text: &str, tag: &str) -> Option<usize> {
    let end = text[tag.len()..].find(tag)?;
    Some(end + 2 * tag.len())
}

/// The length of `/* … */`.
fn block_comment(text: &str, nested: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 2;
    let mut depth = 1;
    while depth > 0 {
        match bytes.get(at..at + 2)? {
            b"*/" => (depth, at) = (depth - 1, at + 2),
            b"/*" if nested => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    Some(at)
}
