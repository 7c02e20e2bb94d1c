//! The name of something in a schema.

use crate::split::{Dialect, Token, TokenKind};

/// How long a name is on Postgres, in bytes; what is longer is cut.
const LIMIT: usize = 63;

/// A name, which may say its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// As it stands in the file, quotes and all.
    pub(crate) written: String,
    /// Its parts as the server has them.
    parts: Vec<String>,
}

impl Name {
    pub(super) fn new(written: &str, parts: &[Token<'_>], dialect: Dialect) -> Self {
        Self {
            written: written.to_owned(),
            parts: parts.iter().map(|part| fold(part, dialect)).collect(),
        }
    }

    /// The last part as the server has it: without quotes, and on Postgres in lower case if it had
    /// none, and no longer than a name can be.
    ///
    /// SQLite and MySQL keep what was written; SQLite then compares without case.
    pub(crate) fn plain(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// The part before the last: the schema, if it is named, which on MySQL is the database.
    pub(crate) fn schema(&self) -> Option<&str> {
        let schema = self.parts.len().checked_sub(2)?;
        self.parts.get(schema).map(String::as_str)
    }
}

fn fold(token: &Token<'_>, dialect: Dialect) -> String {
    let mut name = match token.kind {
        TokenKind::Name | TokenKind::Text => unquoted(token.text),
        // Only ASCII, as the server does it for UTF-8.
        _ if dialect == Dialect::Postgres => token.text.to_ascii_lowercase(),
        _ => token.text.to_owned(),
    };
    if dialect == Dialect::Postgres && name.len() > LIMIT {
        name.truncate(name.floor_char_boundary(LIMIT));
    }
    name
}

fn unquoted(text: &str) -> String {
    let Some(open) = text.find(['"', '`', '[', '\'']) else {
        return text.to_owned();
    };
    let (prefix, text) = text.split_at(open);
    let mut chars = text.chars();
    let open = chars.next().unwrap_or('"');
    let close = if open == '[' { ']' } else { open };
    let inner = chars.as_str();
    let inner = inner.strip_suffix(close).unwrap_or(inner);
    let name = inner.replace(&format!("{close}{close}"), &close.to_string());
    if prefix.is_empty() {
        name
    } else {
        unescaped(&name)
    }
}

/// What `U&".."` stands for. It may name another escape character, which nobody does.
fn unescaped(name: &str) -> String {
    let mut found = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('\\') {
        found.push_str(before);
        let (skip, digits) = match after.chars().next() {
            Some('\\') => {
                found.push('\\');
                rest = &after[1..];
                continue;
            }
            Some('+') => (1, 6),
            _ => (0, 4),
        };
        let code = after.get(skip..skip + digits);
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                found.push(c);
                rest = &after[skip + digits..];
            }
            None => {
                found.push('\\');
                rest = after;
            }
        }
    }
    found + rest
}
