//! One message to the server, put together of ours and of files; and the way back from what the
//! server says of it to the file. Pure.

use crate::{
    files::File,
    place::{self, Place},
    split::{Dialect, is_sure},
    statement::{self, Kind, Pace, Statement},
};

/// Statements that go to the server together.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    sql: String,
    /// What each statement is, in their order: the server answers each with one completion.
    units: Vec<Unit<'a>>,
    /// The pieces that are a file's, in their order.
    pieces: Vec<Piece<'a>>,
    /// Whether `units` may be relied on: not, if a file's statements cannot be told apart.
    counted: bool,
}

/// What a statement of a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit<'a> {
    /// Ours: what for.
    Own(Own),
    /// A file's.
    File {
        file: &'a File,
        /// Where it begins in the file, in bytes.
        at: usize,
        /// Counted from 1.
        number: usize,
        total: usize,
    },
}

/// What a statement of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Transactions and settings.
    Frame,
    /// Sets what has the server look after its client; it returns the process.
    Keep,
    /// Fails with a division by zero if another has the lock.
    Lock,
    /// The first that is written of a file: fails with a duplicate key if another has applied it.
    Entry,
    /// The last that is written of a file.
    Done,
    /// Other writing of ours.
    Ledger,
}

#[derive(Debug)]
struct Piece<'a> {
    file: &'a File,
    /// Where it begins in the message and in the file, in bytes.
    in_message: usize,
    in_file: usize,
    length: usize,
}

/// How long the statements of a file wait for locks, as a setting's value.
pub(super) struct Timeouts {
    /// Of those that hold up others while they wait.
    pub(super) hurried: String,
    pub(super) ordinary: &'static str,
    pub(super) patient: &'static str,
}

impl Timeouts {
    pub(super) fn of(&self, pace: Pace) -> &str {
        match pace {
            Pace::Hurried => &self.hurried,
            Pace::Ordinary | Pace::Unset => self.ordinary,
            Pace::Patient => self.patient,
        }
    }
}

/// What is to be set before each statement: nothing where it does not matter, and nothing more once
/// the file has set it itself.
fn limits<'s>(statements: &'s [Statement<'_>]) -> impl Iterator<Item = Option<Pace>> + Clone + 's {
    statements.iter().scan(false, |its_own, statement| {
        *its_own |= matches!(statement.kind, Kind::Settings { lock_timeout: true });
        let pace = statement.pace();
        Some((!*its_own && pace != Pace::Unset).then_some(pace))
    })
}

impl<'a> Message<'a> {
    pub(super) fn new() -> Self {
        Self {
            counted: true,
            ..Self::default()
        }
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// How many completions it is answered with, if that is known.
    pub(super) fn completions(&self) -> Option<usize> {
        self.counted.then_some(self.units.len())
    }

    /// The statement that is under way when so many are completed.
    pub(super) fn unit(&self, completed: usize) -> Option<Unit<'a>> {
        let unit = self.units.get(completed).copied();
        unit.filter(|_| self.counted || matches!(unit, Some(Unit::Own(_))))
    }

    /// Adds a statement of ours.
    pub(super) fn own(&mut self, what: Own, sql: &str) {
        self.sql.push_str(sql);
        self.sql.push_str(";\n");
        self.units.push(Unit::Own(what));
    }

    /// Adds the statements of a file; before each the time that it may wait for a lock, where it is
    /// another than before, until the file sets one itself.
    ///
    /// A file whose statements are all of one pace goes as it is.
    pub(super) fn file(&mut self, file: &'a File, timeouts: &Timeouts) {
        let sql = file.sql();
        let statements = statement::parse(sql, Dialect::Postgres);
        let sure = is_sure(sql, Dialect::Postgres);
        let total = statements.len();
        let units = statements.iter().enumerate();
        let units = units.map(|(index, statement)| Unit::File {
            file,
            at: statement.at,
            number: index + 1,
            total,
        });
        let mut limits = limits(&statements).peekable();
        let first = limits.peek().copied().flatten();
        if !sure
            || limits
                .clone()
                .all(|limit| limit.is_none() || limit == first)
        {
            self.limit(timeouts, first.unwrap_or(Pace::Ordinary));
            self.counted &= sure;
            self.piece(file, 0, sql);
            self.units.extend(units);
            return;
        }
        let mut now = None;
        for ((statement, unit), limit) in statements.iter().zip(units).zip(limits) {
            if let Some(pace) = limit.filter(|_| limit != now) {
                self.limit(timeouts, pace);
                now = limit;
            }
            self.piece(file, statement.at, statement.sql);
            self.units.push(unit);
        }
    }

    /// Adds one statement of a file.
    pub(super) fn statement(&mut self, file: &'a File, statement: &Statement<'_>) {
        self.piece(file, statement.at, statement.sql);
        self.units.push(Unit::File {
            file,
            at: statement.at,
            number: 1,
            total: 1,
        });
    }

    /// Says how long what comes after it may wait for a lock.
    pub(super) fn limit(&mut self, timeouts: &Timeouts, pace: Pace) {
        let timeout = timeouts.of(pace);
        let sql = format!("SET LOCAL lock_timeout = '{timeout}'");
        self.own(Own::Frame, &sql);
    }

    fn piece(&mut self, file: &'a File, in_file: usize, text: &str) {
        self.pieces.push(Piece {
            file,
            in_message: self.sql.len(),
            in_file,
            length: text.len(),
        });
        self.sql.push_str(text);
        // It may end in a comment, or without its semicolon.
        self.sql.push_str("\n;\n");
    }

    /// The file and the place of an error: by the server's position, counted in characters from 1,
    /// if it has given one; else by the statement that was under way.
    pub(super) fn place(
        &self,
        completed: usize,
        position: Option<usize>,
    ) -> (Option<&'a File>, Option<Place>) {
        let offset = position
            .and_then(|position| self.sql.char_indices().nth(position.checked_sub(1)?))
            .map(|(offset, _)| offset);
        let piece = offset.and_then(|offset| {
            let holds = |piece: &&Piece<'_>| {
                (piece.in_message..=piece.in_message + piece.length).contains(&offset)
            };
            Some((offset, self.pieces.iter().find(holds)?))
        });
        if let Some((offset, piece)) = piece {
            let at = piece.in_file + offset - piece.in_message;
            let place = place::of_offset(piece.file.sql(), at);
            return (Some(piece.file), Some(place));
        }
        match self.unit(completed) {
            Some(Unit::File { file, at, .. }) => {
                let line = place::of_offset(file.sql(), at).line;
                (Some(file), Some(Place { line, column: None }))
            }
            _ => (None, None),
        }
    }
}
