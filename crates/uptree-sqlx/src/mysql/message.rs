//! One message to the server, put together of ours and of a file's statements; and the way back
//! from what the server says of it to the file. Pure.

use crate::{
    files::File,
    place::{self, Place},
    statement::{Pace, Statement},
};

/// Statements that go to the server together.
#[derive(Debug)]
pub(super) struct Message<'a> {
    file: &'a File,
    sql: String,
    /// What each statement is, in their order: the server answers each with one completion. And the
    /// statement of the file that is next if this one fails and what can be is rolled back.
    units: Vec<(Unit, usize)>,
    resume: usize,
    /// The pieces that are the file's, in their order.
    pieces: Vec<Piece>,
    is_whole: bool,
}

/// What a statement of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Ours: what for.
    Own(Own),
    /// The file's, by its index.
    Statement(usize),
}

/// What a statement of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Transactions and settings.
    Frame,
    /// The first that is written of a file: fails with a duplicate key if another has begun it.
    Entry,
    /// Other writing of ours.
    Ledger,
}

#[derive(Debug)]
struct Piece {
    statement: usize,
    /// Where it begins in the message and in the file, in bytes.
    in_message: usize,
    in_file: usize,
    length: usize,
}

impl<'a> Message<'a> {
    /// `resume`: the statement of the file that is next if the first of these fails.
    pub(super) fn new(file: &'a File, resume: usize) -> Self {
        Self {
            file,
            resume,
            sql: String::new(),
            units: Vec::new(),
            pieces: Vec::new(),
            is_whole: false,
        }
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn file(&self) -> &'a File {
        self.file
    }

    /// The statement that is under way when so many are completed.
    pub(super) fn unit(&self, completed: usize) -> Option<Unit> {
        self.under_way(completed).map(|(unit, _)| unit)
    }

    /// The statement of the file that is next, if so many were completed and then one failed.
    pub(super) fn resume(&self, completed: usize) -> usize {
        self.under_way(completed).map_or(0, |(_, resume)| resume)
    }

    /// The last one may have any number of completions.
    fn under_way(&self, completed: usize) -> Option<(Unit, usize)> {
        self.units.get(completed).or(self.units.last()).copied()
    }

    /// All before this statement of the file will have been committed here.
    pub(super) fn resume_at(&mut self, statement: usize) {
        self.resume = statement;
    }

    /// Adds a statement of ours.
    pub(super) fn own(&mut self, what: Own, sql: &str) {
        self.separate();
        self.sql.push_str(sql);
        self.units.push((Unit::Own(what), self.resume));
    }

    /// Adds a statement of the file, with something put in at an offset of it.
    pub(super) fn statement(
        &mut self,
        index: usize,
        statement: &Statement<'_>,
        put_in: Option<(usize, String)>,
    ) {
        self.separate();
        let (offset, more) = put_in.unwrap_or_default();
        let (head, tail) = statement.sql.split_at(offset);
        self.sql.push_str(head);
        self.sql.push_str(&more);
        self.piece(index, statement.at + offset, tail);
    }

    /// Adds the whole of the file, whose statements cannot be told apart: nothing may follow.
    pub(super) fn whole(&mut self) {
        self.separate();
        self.is_whole = true;
        self.piece(0, 0, self.file.sql());
    }

    fn piece(&mut self, statement: usize, in_file: usize, text: &str) {
        self.pieces.push(Piece {
            statement,
            in_message: self.sql.len(),
            in_file,
            length: text.len(),
        });
        self.sql.push_str(text);
        self.units.push((Unit::Statement(statement), self.resume));
    }

    /// Only between statements: to the server a semicolon after a comment that it skips is an error.
    fn separate(&mut self) {
        if !self.sql.is_empty() {
            // What comes before it may end in a comment.
            self.sql.push_str("\n;\n");
        }
    }

    /// Says how long what comes after it may wait for a lock.
    pub(super) fn limit(&mut self, pace: Pace) {
        let sql = format!("SET SESSION {}", limit(pace));
        self.own(Own::Frame, &sql);
    }

    /// The place of an error: where the text stands that the server has cited from the place on,
    /// if it stands there once; else the statement that was under way.
    pub(super) fn place(&self, completed: usize, cited: Option<&str>) -> Option<Place> {
        let Unit::Statement(index) = self.unit(completed)? else {
            return None;
        };
        let piece = self.pieces.iter().find(|piece| piece.statement == index)?;
        let sql = self.file.sql();
        let text = &self.sql[piece.in_message..][..piece.length];
        if let Some(at) = cited.and_then(|cited| only(text, cited)) {
            return Some(place::of_offset(sql, piece.in_file + at));
        }
        if self.is_whole {
            return None;
        }
        let line = place::of_offset(sql, piece.in_file).line;
        Some(Place { line, column: None })
    }
}

/// Where a text stands in another, if it stands there once.
fn only(text: &str, cited: &str) -> Option<usize> {
    // MariaDB shows by dots that it has not cited all.
    [cited, cited.trim_end_matches('.')]
        .into_iter()
        .find_map(|cited| {
            let mut found = text.match_indices(cited).filter(|_| !cited.is_empty());
            let (at, _) = found.next()?;
            found.next().is_none().then_some(at)
        })
}

/// How long a statement waits for a lock, as settings: a second is the least that MySQL has.
pub(super) fn limit(pace: Pace) -> String {
    let seconds = match pace {
        Pace::Hurried => 1,
        Pace::Ordinary | Pace::Unset => 30,
        Pace::Patient => 31_536_000,
    };
    format!("lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}")
}
