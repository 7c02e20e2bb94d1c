//! What is printed.

use std::fmt;

use crate::{
    compare::Comparison,
    folder::Folder,
    run::{Failure, Outcome},
    server::Server,
};

/// What became of a folder.
pub(crate) struct Report<'a> {
    folder: &'a Folder,
    sqlx: Outcome,
    uptree: Outcome,
    /// Whether both fail in one file.
    in_one: bool,
    pub(crate) comparison: Comparison,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Verdict {
    Same,
    Different,
}

impl<'a> Report<'a> {
    pub(crate) fn new(folder: &'a Folder, sqlx: Outcome, uptree: Outcome) -> Self {
        let version = |outcome: &Outcome| outcome.failure().and_then(|it| it.version);
        Self {
            folder,
            in_one: version(&sqlx).is_some() && version(&sqlx) == version(&uptree),
            sqlx,
            uptree,
            comparison: Comparison::default(),
        }
    }

    /// Whether both have left a database that must be the same.
    pub(crate) fn is_comparable(&self, server: &Server) -> bool {
        match (&self.sqlx, &self.uptree) {
            // With nothing to do sqlx makes a ledger, Uptree does not.
            (Outcome::Applied, Outcome::Applied) => !self.folder.files.is_empty(),
            (Outcome::Failed(theirs), Outcome::Failed(_)) if self.in_one && server.rolls_back() => {
                let file = theirs.version.and_then(|version| self.folder.file(version));
                // Nothing at all is left of the first: no ledger either.
                let first = self.folder.files.first().map(|file| file.version);
                first != theirs.version && file.is_some_and(|file| file.in_transaction)
            }
            _ => false,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let same = match (&self.sqlx, &self.uptree) {
            (Outcome::Applied, Outcome::Applied) => true,
            (Outcome::Refused(_), Outcome::Refused(_)) => true,
            (Outcome::Failed(_), Outcome::Refused(_)) => self.in_one,
            (Outcome::Failed(theirs), Outcome::Failed(ours)) => {
                self.in_one && same_error(theirs, ours)
            }
            _ => false,
        };
        match same && self.comparison.differences.is_empty() {
            true => Verdict::Same,
            false => Verdict::Different,
        }
    }

    /// Where it failed, as well as that is known.
    fn place(&self, failure: &Failure) -> &str {
        let file = failure
            .version
            .and_then(|version| self.folder.file(version));
        file.map_or("the folder", |file| &file.name)
    }
}

/// Whether the database said the same. It may be of the ledger, whose name is not written alike.
fn same_error(theirs: &Failure, ours: &Failure) -> bool {
    let same = theirs.message.is_some() && theirs.message == ours.message;
    let code = theirs.code.as_ref().filter(|code| code.len() == 5);
    same || code.is_some() && code == ours.code.as_ref()
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Same => "same",
            Verdict::Different => "different",
        };
        writeln!(f, "{} migrations, {verdict}", self.folder.files.len())?;
        match (&self.sqlx, &self.uptree) {
            (Outcome::Applied, Outcome::Applied) => {}
            (Outcome::Failed(theirs), Outcome::Failed(ours))
                if self.in_one && same_error(theirs, ours) =>
            {
                let message = theirs.message.as_deref().unwrap_or(&theirs.text);
                writeln!(f, "fails in {} with both: {message}", self.place(theirs))?;
            }
            // What sqlx stumbles over, Uptree has seen in time.
            (Outcome::Failed(theirs), Outcome::Refused(ours)) if self.in_one => {
                let message = theirs.message.as_deref().unwrap_or(&theirs.text);
                writeln!(f, "fails in {} with both: {message}", self.place(theirs))?;
                writeln!(f, "Uptree says so before it begins:")?;
                indented(f, &ours.text)?;
            }
            (sqlx, uptree) => {
                for (name, outcome) in [("sqlx", sqlx), ("Uptree", uptree)] {
                    match outcome {
                        Outcome::Applied => writeln!(f, "{name} applies them all")?,
                        Outcome::Refused(failure) => {
                            let place = self.place(failure);
                            writeln!(f, "{name} refuses {place} before it begins:")?;
                            indented(f, &failure.text)?;
                        }
                        Outcome::Failed(failure) => {
                            writeln!(f, "{name} fails in {}:", self.place(failure))?;
                            indented(f, &failure.text)?;
                        }
                    }
                }
            }
        }
        for difference in &self.comparison.differences {
            writeln!(f, "{difference}")?;
        }
        if !self.comparison.erratic.is_empty() {
            let erratic = self.comparison.erratic.join(", ");
            writeln!(
                f,
                "not compared, because sqlx itself does not do it twice alike (times, chance): {erratic}"
            )?;
        }
        Ok(())
    }
}

fn indented(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "  {line}"))
}
