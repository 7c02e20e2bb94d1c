//! `migrate plan`: what `up` would do.

use std::fmt::Write;

use serde_json::{Value, json};
use uptree_app::{Exit, Result, help};

use super::{
    Chosen,
    output::{answer, count, object},
    state::is_stepwise,
};
use crate::{
    MigrateError,
    files::{
        File,
        check::{Findings, check},
    },
    ledger::Mark,
    place,
    plan::plan,
    split::{Dialect, Scanner, TokenKind},
    statement::{self, Kind, Pace, Statement},
};

pub(super) async fn run(chosen: &Chosen, offline: bool) -> Result<Exit> {
    let files = chosen.files()?;
    let dialect = chosen.dialect();
    let (mut applied, mut notes) = (None, Vec::new());
    let steps: Vec<Step<'_>> = match offline {
        true => files
            .iter()
            .map(|file| Step::new(file, None, dialect))
            .collect(),
        false => {
            let found = chosen.read().await.map_err(|error| {
                help(
                    error,
                    "`migrate plan --offline` lists the files without a database",
                )
            })?;
            let ledger = &chosen.migrator.names().ledger;
            let plan = plan(&found.ledger, &files, chosen.to, ledger);
            let plan = plan.map_err(MigrateError::with_help)?;
            applied = Some(plan.applied);
            notes.extend(plan.notes.iter().map(ToString::to_string));
            let steps = plan.steps.iter();
            steps
                .map(|file| Step::new(file, plan.mark(file), dialect))
                .collect()
        }
    };
    answer(
        chosen.json,
        || text(chosen, applied, &steps, &notes),
        || {
            let mut object = object("plan", chosen);
            object.insert("offline".into(), offline.into());
            object.insert("applied".into(), applied.into());
            let steps: Vec<_> = steps.iter().map(Step::json).collect();
            object.insert("migrations".into(), json!(steps));
            object.insert("notes".into(), json!(notes));
            object.into()
        },
    );
    let refusals = steps.into_iter().flat_map(|step| step.findings.refusals);
    match refusals.map(MigrateError::from).next() {
        Some(refusal) => Err(refusal.with_help()),
        None => Ok(Exit::clean()),
    }
}

fn texts(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// A file that is to be applied.
struct Step<'a> {
    file: &'a File,
    mode: Mode,
    /// How many of its statements are done.
    done: usize,
    statements: Vec<Statement<'a>>,
    findings: Findings,
    dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Transaction,
    Stepwise,
    Code,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Stepwise => "stepwise",
            Self::Code => "code",
        }
    }
}

impl<'a> Step<'a> {
    fn new(file: &'a File, mark: Option<&Mark>, dialect: Dialect) -> Self {
        let mode = match (file.code().is_some(), is_stepwise(file, dialect)) {
            (true, _) => Mode::Code,
            (false, true) => Mode::Stepwise,
            (false, false) => Mode::Transaction,
        };
        Self {
            file,
            mode,
            done: mark.map_or(0, |mark| mark.done),
            statements: match mode {
                Mode::Code => Vec::new(),
                _ => statement::parse(file.sql(), dialect),
            },
            findings: check(file, dialect),
            dialect,
        }
    }

    fn line(&self, statement: &Statement<'_>) -> usize {
        place::of_offset(self.file.sql(), statement.at).line
    }

    fn json(&self) -> Value {
        let statements = self.statements.iter().enumerate();
        let statements: Vec<_> = statements
            .map(|(index, statement)| {
                json!({
                    "number": index + 1,
                    "line": self.line(statement),
                    "kind": kind(statement),
                    "blocks": blocks(statement, self.dialect),
                    "sql": head(statement.sql, self.dialect),
                })
            })
            .collect();
        json!({
            "version": self.file.version(),
            "description": self.file.description(),
            "file": self.file.to_string(),
            "mode": self.mode.name(),
            "statements_done": self.done,
            "statements": statements,
            "warnings": texts(&self.findings.warnings),
            "refusals": texts(&self.findings.refusals),
        })
    }

    fn text(&self) -> String {
        let number = count(self.statements.len(), "statement");
        let how = match self.mode {
            Mode::Transaction => format!("{number} in one transaction"),
            Mode::Stepwise if self.done > 0 => {
                format!("{number}, one by one, {} of them done", self.done)
            }
            Mode::Stepwise => format!("{number}, one by one"),
            Mode::Code => "written in Rust".to_owned(),
        };
        let mut text = format!("{}: {how}\n", self.file);
        for statement in self.statements.iter().skip(self.done) {
            let (line, head) = (self.line(statement), head(statement.sql, self.dialect));
            let lock = match (kind(statement), blocks(statement, self.dialect)) {
                ("patient", _) => "  [waits as long as it takes, and holds up nobody]",
                (_, true) => "  [reads or writes of the table may have to wait]",
                _ => "",
            };
            _ = writeln!(text, "  line {line}: {head}{lock}");
        }
        for warning in &self.findings.warnings {
            _ = writeln!(text, "  warning: {warning}");
        }
        for refusal in &self.findings.refusals {
            _ = writeln!(text, "  refused: {refusal}");
        }
        text
    }
}

/// The kind of a statement in JSON, which does not change.
fn kind(statement: &Statement<'_>) -> &'static str {
    match &statement.kind {
        Kind::Ddl(_) => "ddl",
        Kind::Dml => "dml",
        Kind::Patient(_) => "patient",
        Kind::Settings { .. } => "settings",
        Kind::Transaction(_) => "transaction",
    }
}

/// Whether others' reads or writes may have to wait for it. On SQLite there is one writer at any
/// time, whatever it does.
fn blocks(statement: &Statement<'_>, dialect: Dialect) -> bool {
    dialect != Dialect::Sqlite && statement.pace() == Pace::Hurried
}

/// The beginning of a statement, in one line, without its literals: they may be secret.
fn head(sql: &str, dialect: Dialect) -> String {
    const LENGTH: usize = 80;
    let mut shown = String::new();
    let mut rest = 0;
    for token in Scanner::new(sql, dialect).filter(|token| token.kind == TokenKind::Text) {
        shown.push_str(&sql[rest..token.at]);
        shown.push_str("'…'");
        rest = token.at + token.text.len();
    }
    shown.push_str(&sql[rest..]);
    let words: Vec<_> = shown.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LENGTH {
        return line;
    }
    let head: String = line.chars().take(LENGTH - 1).collect();
    format!("{head}…")
}

fn text(chosen: &Chosen, applied: Option<usize>, steps: &[Step<'_>], notes: &[String]) -> String {
    let mut text = String::new();
    let number = count(steps.len(), "migration");
    _ = match applied {
        None => writeln!(
            text,
            "All migrations, without a look at the database: {number}"
        ),
        Some(applied) if steps.is_empty() => {
            writeln!(
                text,
                "{}: nothing to do, {applied} applied",
                chosen.target()
            )
        }
        Some(applied) => {
            writeln!(
                text,
                "{}: {number} to apply, {applied} applied",
                chosen.target()
            )
        }
    };
    for step in steps {
        _ = write!(text, "\n{}", step.text());
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        _ = writeln!(text, "note: {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_shown_in_a_line_and_without_its_literals() {
        for (sql, dialect, shown) in [
            (
                "CREATE TABLE a (\n  id INT\n)",
                Dialect::Sqlite,
                "CREATE TABLE a ( id INT )",
            ),
            (
                "CREATE ROLE app PASSWORD 'hunter2' LOGIN",
                Dialect::Postgres,
                "CREATE ROLE app PASSWORD '…' LOGIN",
            ),
            (
                "SELECT E'it\\'s', $a$hunter2$a$, \"name\"",
                Dialect::Postgres,
                "SELECT '…', '…', \"name\"",
            ),
        ] {
            assert_eq!(head(sql, dialect), shown);
        }
        let long = head(&"word ".repeat(99), Dialect::MySql);
        assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
    }
}
