//! How a file is run, as messages. Pure.
//!
//! MySQL commits before and after each statement that changes the schema. So the session commits by
//! hand (`autocommit = 0`), and before each such statement goes a mark that says that it is begun:
//! the statement itself commits it, with the rows that were written before. What does not commit
//! after all leaves no mark behind. Statements that change rows alone go in one transaction, with
//! the mark that they are done.

use std::ops::Range;

use super::{
    kind::{commits, ends_message, is_atomic, leaves_something, locked_too, sets_limit},
    message::{Message, Own, Unit, limit},
    picture::{Recovery, recovery},
    sql::Tables,
};
use crate::{
    files::File,
    ledger::{self, Mark},
    split::{Dialect, is_sure},
    statement::{Kind, Pace, Statement},
    steps::digests,
};

/// How much goes into one message, if it can be parted: the server takes 16 MiB at least.
const LIMIT: usize = 512 << 10;

/// A file, and the steps that it is run in.
pub(super) struct Script<'a> {
    file: &'a File,
    statements: Vec<Statement<'a>>,
    digests: Vec<String>,
    /// The steps, by the indexes of their statements.
    steps: Vec<(Range<usize>, Step)>,
    careful: bool,
}

enum Step {
    /// Committed together with the mark.
    Together,
    /// A statement that commits by itself, or may do so.
    Alone(Recovery),
    /// All of the file, whose statements cannot be told apart.
    Whole,
}

impl Step {
    /// Whether its last statement has committed it, and what was written before it.
    fn is_committed(&self) -> bool {
        matches!(self, Self::Alone(Recovery::Compare(_) | Recovery::Repeat))
    }
}

/// A message, and where it goes on.
pub(super) struct Part<'a> {
    pub(super) message: Message<'a>,
    /// The statement that the next message begins with; none if all is done.
    pub(super) next: Option<usize>,
}

impl<'a> Script<'a> {
    /// `careful` is for a database with tables that know no transactions.
    pub(super) fn new(file: &'a File, statements: Vec<Statement<'a>>, careful: bool) -> Self {
        let mut steps: Vec<(Range<usize>, Step)> = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            let step = match is_atomic(statement, careful) {
                true => Step::Together,
                false => Step::Alone(recovery(statement)),
            };
            match (steps.last_mut(), &step) {
                (Some((range, Step::Together)), Step::Together) => range.end = index + 1,
                _ => steps.push((index..index + 1, step)),
            }
        }
        if !is_sure(file.sql(), Dialect::MySql) {
            steps = vec![(0..statements.len(), Step::Whole)];
        }
        Self {
            file,
            digests: digests(&statements),
            statements,
            steps,
            careful,
        }
    }

    /// Whether something of the file stays in the session.
    pub(super) fn leaves_something(&self) -> bool {
        self.statements.iter().any(leaves_something)
    }

    /// The file's statement, if it is one.
    pub(super) fn statement(&self, unit: Unit) -> Option<&Statement<'a>> {
        match unit {
            Unit::Statement(index) => self.statements.get(index),
            Unit::Own(_) => None,
        }
    }

    /// How many statements there are.
    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    /// The statement to go on with if nothing more than what is before this one was sent, and what
    /// can be is rolled back.
    fn resume(&self, next: usize) -> usize {
        let step = self.steps.iter().rfind(|(range, _)| range.start < next);
        match step {
            Some((range, step)) if range.end > next || !step.is_committed() => range.start,
            _ => next,
        }
    }

    /// The message that begins with this statement.
    pub(super) fn part(&self, from: usize, tables: &Tables, there: ledger::Tables) -> Part<'a> {
        let mut writer = Writer {
            script: self,
            tables,
            message: Message::new(self.file, self.resume(from)),
            pace: (!self.statements[..from].iter().any(sets_limit)).then_some(Pace::Hurried),
        };
        writer.begin(from, there);
        let next = writer.steps(from);
        if next.is_none() {
            writer.finish();
        }
        Part {
            message: writer.message,
            next,
        }
    }

    /// The mark of a file that has come as far as this.
    ///
    /// Not finished: only what the message says in the end is.
    pub(super) fn mark(&self, done: usize, begun: bool) -> Mark {
        Mark {
            done,
            digest: self.digests[done].clone(),
            begun,
            before: None,
            finished: false,
        }
    }

    /// Whether a crash may leave something to know: not if all is one transaction.
    fn has_marks(&self) -> bool {
        self.file.requires().is_some() || !matches!(&self.steps[..], [] | [(_, Step::Together)])
    }
}

struct Writer<'s, 'a> {
    script: &'s Script<'a>,
    tables: &'s Tables,
    message: Message<'a>,
    /// How long statements wait for locks at this point; none if the file says it itself.
    pace: Option<Pace>,
}

impl Writer<'_, '_> {
    fn begin(&mut self, from: usize, there: ledger::Tables) {
        let script = self.script;
        let limits = self.pace.map(|pace| format!(", {}", limit(pace)));
        let frame = format!("{BY_HAND}{}", limits.unwrap_or_default());
        self.message.own(Own::Frame, &frame);
        if from > 0 {
            return;
        }
        match there {
            ledger::Tables::All => self.ledger(&self.tables.forget_old()),
            _ => self.tables.create().iter().for_each(|sql| self.ledger(sql)),
        }
        self.message
            .own(Own::Entry, &self.tables.enter(script.file));
        if script.has_marks() {
            self.ledger(&self.tables.enter_mark(script.file));
        }
    }

    /// Adds steps until the message is full. Returns where the next one begins.
    fn steps(&mut self, from: usize) -> Option<usize> {
        let script = self.script;
        for (range, step) in script.steps.iter().filter(|(range, _)| range.end > from) {
            if range.start >= from {
                self.begin_step(range.start, step);
            }
            if let Step::Whole = step {
                self.message.whole();
                return Some(range.end);
            }
            for index in range.start.max(from)..range.end {
                self.statement(index);
                if step.is_committed() {
                    self.message.resume_at(index + 1);
                }
                let is_full = self.message.sql().len() > LIMIT;
                if is_full || ends_message(&script.statements[index]) {
                    return Some(index + 1);
                }
            }
        }
        None
    }

    fn begin_step(&mut self, start: usize, step: &Step) {
        let earlier = self
            .script
            .steps
            .iter()
            .rfind(|(range, _)| range.start < start);
        let is_committed = earlier.is_none_or(|(_, earlier)| earlier.is_committed());
        match step {
            Step::Together if start == 0 => {}
            Step::Together => {
                self.mark(start, false, "NULL");
                self.commit(start);
            }
            Step::Alone(recovery) if step.is_committed() => {
                self.mark(start, true, recovery.picture());
                if !is_committed {
                    self.commit(start);
                }
            }
            Step::Alone(_) | Step::Whole => {
                if !is_committed {
                    self.mark(start, false, "NULL");
                    self.commit(start);
                }
                // If it does not commit, neither is this.
                self.mark(start, true, "''");
                let commits = self.script.statements.get(start).is_none_or(commits);
                if !commits || self.script.careful {
                    self.commit(start);
                }
            }
        }
    }

    fn statement(&mut self, index: usize) {
        let statement = &self.script.statements[index];
        if sets_limit(statement) {
            self.pace = None;
        }
        let pace = statement.pace();
        if pace != Pace::Unset && self.pace.is_some_and(|now| now != pace) {
            self.message.limit(pace);
            self.pace = Some(pace);
        }
        let put_in = locked_too(statement, self.tables);
        self.message.statement(index, statement, put_in);
        if matches!(statement.kind, Kind::Settings { .. }) && statement.commits_implicitly() {
            // It was `SET autocommit`.
            self.message.own(Own::Frame, BY_HAND);
        }
    }

    fn finish(&mut self) {
        let script = self.script;
        if script.has_marks() {
            self.mark(script.statements.len(), false, "NULL");
        }
        self.ledger(&self.tables.finish(script.file));
        self.commit(script.statements.len());
    }

    fn commit(&mut self, done: usize) {
        self.message.own(Own::Ledger, "COMMIT");
        self.message.resume_at(done);
    }

    fn mark(&mut self, done: usize, begun: bool, before: &str) {
        let mark = self.script.mark(done, begun);
        self.ledger(&self.tables.mark(self.script.file, &mark, before));
    }

    fn ledger(&mut self, sql: &str) {
        self.message.own(Own::Ledger, sql);
    }
}

/// Nothing is committed but by a `COMMIT`, or by a statement that cannot do otherwise. Unlike
/// `START TRANSACTION`, it leaves `LOCK TABLES` in force.
pub(super) const BY_HAND: &str = "SET SESSION autocommit = 0";

#[cfg(test)]
mod tests;
