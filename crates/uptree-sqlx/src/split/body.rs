//! The bodies of routines, triggers and events, whose semicolons do not end the statement.

use super::{Dialect, scanner::Token};

/// Follows a statement, token by token, through its body.
#[derive(Debug)]
pub(super) enum Body {
    Short(Short),
    Compound(Compound),
}

impl Body {
    pub(super) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres | Dialect::Sqlite => Self::Short(Short::new(dialect)),
            Dialect::MySql => Self::Compound(Compound::default()),
        }
    }

    /// Takes the next token that is in no parentheses.
    pub(super) fn take(&mut self, token: &Token<'_>) {
        match self {
            Self::Short(body) => body.take(token),
            Self::Compound(body) => body.take(token),
        }
    }

    /// Whether a semicolon here is the body's.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Short(body) => body.state == State::Open,
            Self::Compound(body) => !body.blocks.is_empty(),
        }
    }
}

/// The body of a trigger on SQLite, and that which begins with `BEGIN ATOMIC` on Postgres: a list
/// of statements, each with its semicolon, none of which has a body. It ends at the `END` that
/// stands where a statement could begin; any other is a `CASE`'s, or a name.
#[derive(Debug)]
pub(super) struct Short {
    dialect: Dialect,
    state: State,
    /// Whether a statement of the body could begin.
    fresh: bool,
    words: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may still turn out to have a body.
    Unclear,
    /// It has one that has not begun.
    Has,
    Begun,
    Open,
    /// It has none, or it is over.
    HasNot,
}

impl Short {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            state: State::Unclear,
            fresh: false,
            words: 0,
        }
    }

    fn take(&mut self, token: &Token<'_>) {
        let fresh = std::mem::take(&mut self.fresh);
        let postgres = self.dialect == Dialect::Postgres;
        self.state = match self.state {
            State::Unclear => self.unclear(token),
            State::Has if token.is("begin") && postgres => State::Begun,
            State::Begun if !token.is("atomic") => State::Has,
            State::Has if !token.is("begin") => State::Has,
            State::Has | State::Begun => {
                self.fresh = true;
                State::Open
            }
            State::Open if fresh && token.is("end") => State::HasNot,
            State::Open => {
                self.fresh = token.is_sign(';');
                State::Open
            }
            State::HasNot => State::HasNot,
        };
    }

    fn unclear(&mut self, token: &Token<'_>) -> State {
        self.words += 1;
        let has = |words: &[&str]| words.iter().any(|word| token.is(word));
        match self.dialect {
            // To be explained, with or without its plan.
            Dialect::Sqlite if has(&["explain", "query", "plan"]) => State::Unclear,
            _ if has(&["create"]) => State::Unclear,
            _ if self.words == 1 => State::HasNot,
            Dialect::Sqlite if has(&["temp", "temporary"]) => State::Unclear,
            Dialect::Sqlite if has(&["trigger"]) => State::Has,
            Dialect::Postgres if has(&["or", "replace"]) => State::Unclear,
            Dialect::Postgres if has(&["function", "procedure"]) => State::Has,
            _ => State::HasNot,
        }
    }
}

/// The body of a routine, trigger or event of MySQL: blocks in blocks.
#[derive(Debug, Default)]
pub(super) struct Compound {
    part: Part,
    blocks: Vec<Block>,
    /// Whether a statement of the body could begin here.
    fresh: bool,
    /// Whether an operand must follow, which is why `end` is a name.
    operand: bool,
    handler: Handler,
    /// The last word, in lower case, at which something may turn.
    last: Last,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Unclear,
    /// Before the body of a routine.
    Routine,
    /// Before `ROW`, after which a trigger's body comes.
    Trigger,
    /// After `FOLLOWS` or `PRECEDES`: the name of another trigger.
    Order,
    /// Before `DO`, after which an event's body comes.
    Event,
    Body,
    /// It has none.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Begin,
    /// `CASE` as a statement, `IF`, `LOOP`, `REPEAT`, `WHILE`, `FOR`.
    Flow,
    /// `REPEAT` from its `UNTIL` on.
    Until,
    /// `CASE` in an expression.
    Case,
}

/// Where it is in `DECLARE .. HANDLER FOR 1062, SQLSTATE '42000', NOT FOUND`, after which a statement
/// begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Handler {
    #[default]
    None,
    /// After the word.
    Declared,
    /// Before a condition.
    Before,
    /// After one.
    After,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    /// A statement's first word, which may be a label.
    First,
    /// The `END` of a block, after which it says of which.
    End,
    /// The first word of the statement: `BEGIN` may begin a block of MariaDB's, without a routine.
    Begin,
    /// `IF` in the header of a routine, which may be `IF NOT EXISTS`.
    If,
    /// `CHARACTER`, `RETURNS`, `.`: what follows is no statement.
    NoStatement,
}

impl Compound {
    fn take(&mut self, token: &Token<'_>) {
        match self.part {
            Part::Unclear => self.unclear(token),
            Part::Routine => self.routine(token),
            Part::Trigger => {
                if token.is("row") {
                    self.body();
                }
            }
            Part::Order => self.body(),
            Part::Event => {
                if token.is("do") {
                    self.body();
                }
            }
            Part::Body => self.within(token),
            Part::None => {}
        }
    }

    fn body(&mut self) {
        self.part = Part::Body;
        self.fresh = true;
        self.last = Last::Other;
    }

    fn unclear(&mut self, token: &Token<'_>) {
        let Some(word) = token.word() else {
            // `CREATE DEFINER = 'a'@'b' PROCEDURE`
            return;
        };
        match (self.last, word.to_ascii_lowercase().as_str()) {
            (Last::Begin, "not") => {
                self.body();
                self.blocks.push(Block::Begin);
                // After `ATOMIC`.
                self.fresh = true;
            }
            (Last::Begin, _) => self.part = Part::None,
            (Last::Other, "begin") => self.last = Last::Begin,
            (Last::Other, "create" | "alter") => self.last = Last::First,
            (Last::Other, _) => self.part = Part::None,
            (_, "procedure" | "function") => {
                self.part = Part::Routine;
                self.last = Last::NoStatement;
            }
            (_, "trigger") => self.part = Part::Trigger,
            (_, "event") => self.part = Part::Event,
            (
                _,
                "table" | "temporary" | "index" | "unique" | "fulltext" | "spatial" | "view"
                | "database" | "schema" | "user" | "role" | "server" | "tablespace" | "sequence"
                | "logfile" | "resource" | "spatial_reference" | "instance" | "undo",
            ) => self.part = Part::None,
            _ => {}
        }
    }

    /// Before a routine's body: its name, parameters (which are in parentheses), characteristics.
    fn routine(&mut self, token: &Token<'_>) {
        let last = std::mem::take(&mut self.last);
        let Some(word) = token.word() else {
            match token.text {
                "." => self.last = Last::NoStatement,
                // What came before it was a label.
                ":" if last == Last::First => self.body(),
                _ => {}
            }
            return;
        };
        match (last, word.to_ascii_lowercase().as_str()) {
            (Last::NoStatement, "if") => self.last = Last::If,
            (Last::If, "not") => self.last = Last::If,
            (Last::If, "exists") => self.last = Last::NoStatement,
            (Last::NoStatement, _) => {}
            (_, "returns" | "character" | "language" | "comment") => self.last = Last::NoStatement,
            (
                _,
                "begin" | "if" | "case" | "loop" | "repeat" | "while" | "for" | "return" | "select"
                | "insert" | "update" | "delete" | "replace" | "call" | "with" | "set" | "do"
                | "signal" | "create" | "alter" | "drop",
            ) => {
                self.body();
                self.within(token);
            }
            // The rest of a type, a characteristic, a label.
            _ => self.last = Last::First,
        }
    }

    /// Goes on with the conditions of a handler; whether a statement begins after them.
    fn handler(&mut self, token: &Token<'_>) -> bool {
        let is_word = token.word().is_some();
        self.handler = match self.handler {
            Handler::None if token.is("handler") => Handler::Declared,
            Handler::Declared if token.is("for") => Handler::Before,
            Handler::Before
                if ["not", "sqlstate", "value"]
                    .iter()
                    .any(|word| token.is(word)) =>
            {
                Handler::Before
            }
            Handler::Before => Handler::After,
            Handler::After if token.text == "," => Handler::Before,
            Handler::After if is_word => {
                self.handler = Handler::None;
                return true;
            }
            _ => Handler::None,
        };
        false
    }

    fn within(&mut self, token: &Token<'_>) {
        let begins = self.handler(token);
        let fresh = std::mem::take(&mut self.fresh) || begins;
        let operand = std::mem::take(&mut self.operand);
        let last = std::mem::take(&mut self.last);
        let case = self.blocks.last() == Some(&Block::Case);
        let until = self.blocks.last() == Some(&Block::Until);
        let Some(word) = token.word() else {
            match token.text {
                ";" => self.fresh = true,
                // After a label.
                ":" if last == Last::First => self.fresh = true,
                ")" => {}
                _ => self.operand = token.kind == super::TokenKind::Sign,
            }
            return;
        };
        match word.to_ascii_lowercase().as_str() {
            "atomic" if fresh => self.fresh = true,
            "begin" | "if" | "case" | "loop" | "repeat" | "while" | "for" if last == Last::End => {}
            "begin" if fresh => self.open(Block::Begin, true),
            "loop" | "repeat" if fresh => self.open(Block::Flow, true),
            "if" | "while" | "for" if fresh => self.open(Block::Flow, false),
            "case" if fresh => {
                self.open(Block::Flow, false);
                self.operand = true;
            }
            "case" => {
                self.open(Block::Case, false);
                self.operand = true;
            }
            "end" if (fresh || case || until) && !operand => {
                self.blocks.pop();
                self.last = Last::End;
            }
            "when" | "then" | "else" if case => self.operand = true,
            "then" | "else" | "do" => self.fresh = true,
            "until" if fresh => {
                if let Some(block) = self.blocks.last_mut() {
                    *block = Block::Until;
                }
                self.operand = true;
            }
            "follows" | "precedes" if fresh && self.blocks.is_empty() => self.part = Part::Order,
            _ if fresh => self.last = Last::First,
            _ => {}
        }
    }

    fn open(&mut self, block: Block, fresh: bool) {
        self.blocks.push(block);
        self.fresh = fresh;
    }
}
