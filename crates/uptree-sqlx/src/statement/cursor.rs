//! A statement, read word by word.

use super::Name;
use crate::split::{Dialect, Scanner, Token, TokenKind};

/// Reads a statement's tokens from the left, and no more of them than it is asked for.
pub(super) struct Cursor<'a> {
    sql: &'a str,
    pub(super) dialect: Dialect,
    scanner: Scanner<'a>,
    /// What has been looked at and not been taken.
    ahead: std::collections::VecDeque<Token<'a>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self {
            sql,
            dialect,
            scanner: Scanner::new(sql, dialect),
            ahead: std::collections::VecDeque::new(),
        }
    }

    fn look(&mut self, far: usize) -> Option<Token<'a>> {
        while self.ahead.len() <= far {
            let token = self.scanner.find(|token| token.kind != TokenKind::Mark)?;
            self.ahead.push_back(token);
        }
        self.ahead.get(far).copied()
    }

    pub(super) fn peek(&mut self) -> Option<Token<'a>> {
        self.look(0)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.look(0)?;
        self.ahead.pop_front()
    }

    /// The next token in lower case, if it is a word, which is taken.
    pub(super) fn word(&mut self) -> Option<String> {
        let word = self.peek()?.word()?.to_ascii_lowercase();
        self.next();
        Some(word)
    }

    /// Whether these words, or signs, come next.
    pub(super) fn sees(&mut self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(far, word)| {
            self.look(far).is_some_and(|token| match token.kind {
                TokenKind::Word => token.is(word),
                TokenKind::Sign => token.text == word,
                _ => false,
            })
        })
    }

    /// Takes these words, if all of them come next.
    pub(super) fn eat(&mut self, words: &str) -> bool {
        let sees = self.sees(words);
        if sees {
            self.ahead.drain(..words.split(' ').count());
        }
        sees
    }

    /// Takes the first of these that comes next.
    pub(super) fn eat_any(&mut self, choices: &[&str]) -> bool {
        choices.iter().any(|words| self.eat(words))
    }

    /// `IF EXISTS` or `IF NOT EXISTS`.
    pub(super) fn eat_condition(&mut self) -> bool {
        self.eat_any(&["if not exists", "if exists"])
    }

    /// A name, which may have dots in it.
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut parts = Vec::new();
        loop {
            let part = self.peek().filter(|part| {
                // On MySQL a string is a name in ANSI mode, and an account's.
                matches!(part.kind, TokenKind::Word | TokenKind::Name)
                    || (part.kind == TokenKind::Text && self.dialect != Dialect::Postgres)
            });
            let Some(part) = part else { break };
            self.next();
            parts.push(part);
            if !self.eat(".") {
                break;
            }
        }
        let (first, last) = (parts.first()?, parts.last()?);
        let written = &self.sql[first.at..last.at + last.text.len()];
        Some(Name::new(written, &parts, self.dialect))
    }

    /// Names between commas: of tables, each with a `*` perhaps, or of routines with what they take.
    pub(super) fn names(&mut self) -> Vec<Name> {
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            self.eat("*");
            self.skip_parentheses();
            if !self.eat(",") {
                break;
            }
            self.eat("only");
        }
        names
    }

    /// Skips what is in parentheses, if they come next.
    pub(super) fn skip_parentheses(&mut self) -> bool {
        if !self.sees("(") {
            return false;
        }
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            if token.is_sign('(') {
                depth += 1;
            } else if token.is_sign(')') {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
        }
        true
    }

    /// Whether these words come anywhere in the rest, outside parentheses or in them.
    pub(super) fn has(&mut self, words: &str) -> bool {
        loop {
            if self.sees(words) {
                return true;
            }
            if self.next().is_none() {
                return false;
            }
        }
    }

    /// Goes to after these words, if they come outside parentheses.
    pub(super) fn seek(&mut self, words: &str) -> bool {
        loop {
            if self.eat(words) {
                return true;
            }
            if !self.skip_parentheses() && self.next().is_none() {
                return false;
            }
        }
    }
}
