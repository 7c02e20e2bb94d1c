//! One message to the server, put together of ours and of files; and the way back from what the
//! server says of it to the file. Pure.

use crate::{
    files::File,
    place::{self, Place},
    split::{Dialect, is_sure},
    statement::{self, Kind, Pace, Statement},
};

/// Makes the server send what it has said so far: it keeps answers back until it has 8 KiB of them
/// or all of them. Without it nobody would hear how far a message has come.
const FLUSH: &str = "SELECT pg_catalog.repeat(' ', 8192)";

/// Up to how many statements of a file are told of one by one.
const TOLD: usize = 50;

/// Statements that go to the server together.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    sql: String,
    /// What each statement is, in their order: the server answers each with one completion.
    units: Vec<Unit<'a>>,
    /// The pieces that are a file's, in their order.
    pieces: Vec<Piece<'a>>,
    /// From which of the units on it is not known which is which, because a file's statements
    /// cannot be told apart.
    unsure_from: Option<usize>,
    /// Whether something was put between the statements of a file.
    cut: bool,
}

/// How a file is put into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// As it stands.
    Whole,
    /// With what sets the time to wait for a lock between its statements, where it changes.
    ByPace,
    /// Also with what makes the server tell how far it has come.
    ByStatement,
}

/// What a statement of a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit<'a> {
    /// Ours: what for.
    Own(Own),
    /// A file's.
    File {
        file: &'a File,
        /// Where it begins in the file, and how long it is, in bytes.
        at: usize,
        length: usize,
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
    /// Sets what has the server look after its client.
    Keep,
    /// Makes the server send its answers.
    Flush,
    /// Fails with a division by zero if another has the lock.
    Lock,
    /// The first that is written of a file: fails with a duplicate key if another has applied it.
    Entry,
    /// The last that is written of a file.
    Done,
    /// Ends a file's transaction.
    Commit,
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

/// Whether a statement sets something, and reads nothing: it may stand before `SET TRANSACTION`.
fn is_setting(statement: &Statement<'_>) -> bool {
    let is_set = |word: &str| word.eq_ignore_ascii_case("SET");
    statement.sql.split_whitespace().next().is_some_and(is_set)
}

/// Whether what was set for it may be gone after a statement.
fn resets(statement: &Statement<'_>) -> bool {
    let is_reset = |word: &str| word.eq_ignore_ascii_case("RESET");
    statement
        .sql
        .split_whitespace()
        .next()
        .is_some_and(is_reset)
}

fn is_set_transaction(statement: &Statement<'_>) -> bool {
    let mut words = statement.sql.split_whitespace();
    let mut is = |word| {
        words
            .next()
            .is_some_and(|next| next.eq_ignore_ascii_case(word))
    };
    is("SET") && is("TRANSACTION")
}

fn unit<'a>(file: &'a File, statement: &Statement<'_>, index: usize, total: usize) -> Unit<'a> {
    Unit::File {
        file,
        at: statement.at,
        length: statement.sql.len(),
        number: index + 1,
        total,
    }
}

impl<'a> Message<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether something can be put after it.
    pub(super) fn is_sure(&self) -> bool {
        self.unsure_from.is_none()
    }

    /// Whether something was put between the statements of a file.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether a file of it speaks of a transaction that may only read.
    pub(super) fn says_read_only(&self) -> bool {
        let says = |piece: &Piece<'_>| {
            let text = piece.file.sql().to_ascii_lowercase();
            text.contains("read only") || text.contains("read_only")
        };
        self.pieces.iter().any(says)
    }

    /// How many completions it is answered with, if that is known.
    #[cfg(test)]
    fn completions(&self) -> Option<usize> {
        self.unsure_from.is_none().then_some(self.units.len())
    }

    /// The statement that is under way when so many are completed, if that is known.
    pub(super) fn unit(&self, completed: usize) -> Option<Unit<'a>> {
        let is_known = self.unsure_from.is_none_or(|from| completed < from);
        self.units.get(completed).copied().filter(|_| is_known)
    }

    /// How many files are committed when so many statements are completed.
    pub(super) fn commits(&self, completed: usize) -> usize {
        let done = self.units.iter().take(completed);
        done.filter(|unit| matches!(unit, Unit::Own(Own::Commit)))
            .count()
    }

    /// The next statement that is not ours.
    pub(super) fn next_of_a_file(&self, completed: usize) -> Option<Unit<'a>> {
        let rest = self.units.get(completed..)?;
        let ours = |unit: &&Unit<'_>| matches!(unit, Unit::Own(_));
        self.unit(completed + rest.iter().take_while(ours).count())
    }

    /// Adds a statement of ours.
    pub(super) fn own(&mut self, what: Own, sql: &str) {
        self.sql.push_str(sql);
        self.sql.push_str(";\n");
        self.units.push(Unit::Own(what));
    }

    /// Has the server send its answers up to here.
    pub(super) fn flush(&mut self) {
        self.own(Own::Flush, FLUSH);
    }

    /// Adds what has to be the first in its transaction: `SET TRANSACTION` comes before any query.
    /// Returns how many statements of the file that are, and their text.
    pub(super) fn opening(&mut self, file: &'a File) -> (usize, &'a str) {
        let sql = file.sql();
        let statements = statement::parse(sql, Dialect::Postgres);
        let settings = statements.iter().take_while(|next| is_setting(next));
        let last = settings
            .enumerate()
            .filter(|(_, next)| is_set_transaction(next))
            .last();
        let Some((last, _)) = last.filter(|_| is_sure(sql, Dialect::Postgres)) else {
            return (0, "");
        };
        let total = statements.len();
        for (index, statement) in statements[..=last].iter().enumerate() {
            self.piece(file, statement.at, statement.sql);
            self.units.push(unit(file, statement, index, total));
        }
        let end = statements[last].at + statements[last].sql.len();
        (last + 1, &sql[..end])
    }

    /// Adds the statements of a file, but for the first ones, which are sent already; before each the
    /// time that it may wait for a lock, where it is another than before, until the file sets one
    /// itself.
    ///
    /// A file whose statements are all of one pace goes as it is, unless it is to be told of.
    pub(super) fn file(&mut self, file: &'a File, sent: usize, timeouts: &Timeouts, cut: Cut) {
        let sql = file.sql();
        let statements = statement::parse(sql, Dialect::Postgres);
        let total = statements.len();
        let limits = limits(&statements).skip(sent);
        let first = limits.clone().next().flatten();
        let sure = is_sure(sql, Dialect::Postgres);
        let told = cut == Cut::ByStatement && (2..=TOLD).contains(&total);
        let one_pace = !statements.iter().any(resets)
            && limits
                .clone()
                .all(|limit| limit.is_none() || limit == first);
        if sent == 0 && (!sure || cut == Cut::Whole || (one_pace && !told)) {
            self.limit(timeouts, first.unwrap_or(Pace::Ordinary));
            if sure {
                self.piece(file, 0, sql);
            } else {
                self.unsure_from.get_or_insert(self.units.len());
                self.open_piece(file, 0, sql);
            }
            let units = statements.iter().enumerate();
            let units = units.map(|(index, statement)| unit(file, statement, index, total));
            self.units.extend(units);
            return;
        }
        self.cut = true;
        let mut now = None;
        for ((index, statement), limit) in statements.iter().enumerate().skip(sent).zip(limits) {
            if told && index > sent {
                self.flush();
            }
            if let Some(pace) = limit.filter(|_| limit != now) {
                self.limit(timeouts, pace);
                now = limit;
            }
            self.piece(file, statement.at, statement.sql);
            self.units.push(unit(file, statement, index, total));
            if resets(statement) {
                now = None;
            }
        }
    }

    /// Adds one statement of a file.
    pub(super) fn statement(&mut self, file: &'a File, statement: &Statement<'_>) {
        self.piece(file, statement.at, statement.sql);
        self.units.push(unit(file, statement, 0, 1));
    }

    /// Says how long what comes after it may wait for a lock.
    pub(super) fn limit(&mut self, timeouts: &Timeouts, pace: Pace) {
        let timeout = timeouts.of(pace);
        let sql = format!("SET LOCAL lock_timeout = '{timeout}'");
        self.own(Own::Frame, &sql);
    }

    fn piece(&mut self, file: &'a File, in_file: usize, text: &str) {
        self.open_piece(file, in_file, text);
        // It may end in a comment, or without its semicolon.
        self.sql.push_str("\n;\n");
    }

    /// The last one of its message.
    fn open_piece(&mut self, file: &'a File, in_file: usize, text: &str) {
        self.pieces.push(Piece {
            file,
            in_message: self.sql.len(),
            in_file,
            length: text.len(),
        });
        self.sql.push_str(text);
    }

    /// The file and the place of an error: by the server's position, counted in characters from 1,
    /// if it has given one; else by the statement that was under way.
    ///
    /// Where the position is not in that statement, the server counts otherwise, or means another
    /// text: then only the file is named.
    pub(super) fn place(
        &self,
        completed: usize,
        position: Option<usize>,
    ) -> (Option<&'a File>, Option<Place>) {
        let under_way = match self.unit(completed) {
            Some(Unit::File {
                file, at, length, ..
            }) => Some((file, at, length)),
            _ => None,
        };
        let by_statement = || match under_way {
            Some((file, at, _)) => {
                let line = place::of_offset(file.sql(), at).line;
                (Some(file), Some(Place { line, column: None }))
            }
            None => (None, None),
        };
        let Some(position) = position else {
            return by_statement();
        };
        let Some((file, at)) = self.in_a_file(position) else {
            return by_statement();
        };
        // The whole message is read before any of it runs.
        let is_there = |(running, begin, length): (&File, usize, usize)| {
            std::ptr::eq(running, file) && (begin..=begin + length).contains(&at)
        };
        if completed == 0 || self.unsure_from.is_some() || under_way.is_some_and(is_there) {
            return (Some(file), Some(place::of_offset(file.sql(), at)));
        }
        (under_way.map(|(file, ..)| file), None)
    }

    /// The file that a character is of, and where it is there.
    fn in_a_file(&self, position: usize) -> Option<(&'a File, usize)> {
        let (offset, _) = self.sql.char_indices().nth(position.checked_sub(1)?)?;
        let holds = |piece: &&Piece<'_>| {
            (piece.in_message..=piece.in_message + piece.length).contains(&offset)
        };
        let piece = self.pieces.iter().find(holds)?;
        Some((piece.file, piece.in_file + offset - piece.in_message))
    }
}

#[cfg(test)]
mod tests;
