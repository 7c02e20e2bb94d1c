//! What can be seen of a file before anything of it runs: what no server can run, and what is
//! likely to be other than it was meant. Pure.

mod client;
mod locks;

use super::{File, FileError, Warning};
use crate::{
    place,
    split::{Dialect, is_sure},
    statement::{self, Control, Kind, Statement},
};

/// What was found in files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// What cannot be run. It is of no matter in a file that has been applied.
    pub(crate) refusals: Vec<FileError>,
    /// What is odd, and is run.
    pub(crate) warnings: Vec<Warning>,
}

/// How many of a kind are told of a file.
const MANY: usize = 10;

/// Looks at what a file says.
///
/// Not at more than can be known without a database: what has been applied already, by whomever,
/// need not be refused any more.
pub(crate) fn check(file: &File, dialect: Dialect) -> Findings {
    let mut findings = Findings::default();
    let sql = file.sql();
    let statements = statement::parse(sql, dialect);
    let mut refuse = |at: usize, reason: String, remedy: &'static str| {
        findings.refusals.push(FileError::Refused {
            file: file.to_string(),
            place: place::of_offset(sql, at),
            reason,
            remedy,
        });
    };
    if let Some(at) = sql.find('\0') {
        refuse(at, "a NUL byte ends what a server reads".to_owned(), NUL);
        return findings;
    }
    // What comes after it is no SQL, so that nothing more can be said of it.
    if let Some(client) = client::find(sql, &statements, dialect) {
        refuse(client.at, client.reason, client.remedy);
        return findings;
    }
    if is_sure(sql, dialect) {
        let is_own = |statement: &&Statement<'_>| match statement.kind {
            Kind::Transaction(control) => ends_or_begins(control),
            _ => false,
        };
        for statement in statements.iter().filter(is_own).take(MANY) {
            let words = first_words(statement.sql);
            let reason = format!("{words}: {OWN_TRANSACTION}");
            refuse(statement.at, reason, remedy_for_transaction(file));
        }
    }
    let statements = &statements;
    findings.warnings = needless_transactions(file, statements, dialect)
        .chain(locks::long_before_strong(file, statements, dialect))
        .collect();
    findings
}

/// Looks at the files together: whether what they require is there.
pub(crate) fn check_requires(files: &[File]) -> Vec<FileError> {
    let newest = files.iter().map(File::version).max().unwrap_or_default();
    let too_much = |file: &File| {
        file.requires()
            .filter(|requires| *requires > newest)
            .map(|requires| FileError::Requires {
                file: file.to_string(),
                requires,
                newest,
            })
    };
    files.iter().filter_map(too_much).collect()
}

const NUL: &str = "take it out of the file; a value is written with the database's own escape";

const OWN_TRANSACTION: &str = "a file's transaction is not its own to begin or end, because its \
                               row of the ledger is committed with it";

fn remedy_for_transaction(file: &File) -> &'static str {
    if file.in_transaction() {
        "leave it out: the whole file is run in a transaction, and is done or not done as a whole"
    } else {
        "leave it out, or put what belongs together into a file of its own without \
         `-- no-transaction`, which is run in a transaction"
    }
}

fn ends_or_begins(control: Control) -> bool {
    match control {
        Control::Begin | Control::Commit | Control::Rollback | Control::Prepared => true,
        Control::Savepoint | Control::Release | Control::RollbackTo | Control::Set => false,
    }
}

/// Statements that the server will refuse in the file's transaction. It is the server that says
/// so, because newer ones refuse less.
fn needless_transactions(
    file: &File,
    statements: &[Statement<'_>],
    dialect: Dialect,
) -> impl Iterator<Item = Warning> {
    let refused = statements.iter().filter(move |statement| {
        file.in_transaction()
            && statement.needs_no_transaction()
            && !statement.adds_enum_value()
            // SQLite does not refuse it, and what it does is looked at elsewhere.
            && !(dialect == Dialect::Sqlite && matches!(statement.kind, Kind::Settings { .. }))
    });
    refused.take(MANY).map(move |statement| Warning {
        file: file.to_string(),
        line: Some(place::of_offset(file.sql(), statement.at).line),
        message: format!(
            "{} cannot run in a transaction: give it a file of its own that begins with \
             `-- no-transaction`",
            first_words(statement.sql)
        ),
    })
}

/// What a statement begins with, for a message.
fn first_words(sql: &str) -> String {
    let words: Vec<_> = sql.split_whitespace().take(3).collect();
    let words = words.join(" ");
    match words.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", &words[..end]),
        None => format!("`{words}`"),
    }
}

#[cfg(test)]
mod tests;
