//! What is printed.

use std::fmt;

use crate::{
    compare::Comparison,
    folder::Folder,
    run::{Failure, Outcome},
    server::Server,
};

/// What became of a folder.
pub(crate) struct Report {
    migrations: usize,
    sqlx: Outcome,
    uptree: Outcome,
    /// The name of the file in which both fail.
    both_in: Option<String>,
    pub(crate) comparison: Comparison,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Verdict {
    Same,
    Different,
}

impl Report {
    pub(crate) fn new(folder: &Folder, sqlx: Outcome, uptree: Outcome) -> Self {
        let version = |outcome: &Outcome| outcome.failure().and_then(|it| it.version);
        let both = version(&sqlx).filter(|it| Some(*it) == version(&uptree));
        let both_in = both.and_then(|version| folder.file(version));
        Self {
            migrations: folder.files.len(),
            both_in: both_in.map(|file| file.name.clone()),
            sqlx,
            uptree,
            comparison: Comparison::default(),
        }
    }

    /// Whether both have left a database that must be the same.
    pub(crate) fn is_comparable(&self, folder: &Folder, server: &Server) -> bool {
        match (&self.sqlx, &self.uptree) {
            (Outcome::Applied, Outcome::Applied) => true,
            (Outcome::Failed(theirs), Outcome::Failed(_))
                if self.both_in.is_some() && server.rolls_back() =>
            {
                let file = theirs.version.and_then(|version| folder.file(version));
                file.is_some_and(|file| file.in_transaction)
            }
            _ => false,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let same = match (&self.sqlx, &self.uptree) {
            (Outcome::Applied, Outcome::Applied) => true,
            (Outcome::Refused(_), Outcome::Refused(_)) => true,
            // What sqlx stumbles over, Uptree has seen in time.
            (Outcome::Failed(_), Outcome::Refused(_)) => self.both_in.is_some(),
            (Outcome::Failed(theirs), Outcome::Failed(ours)) => {
                self.both_in.is_some() && same_error(theirs, ours)
            }
            _ => false,
        };
        match same && self.comparison.differences.is_empty() {
            true => Verdict::Same,
            false => Verdict::Different,
        }
    }

    fn name(failure: &Failure, folder: &str) -> String {
        let version = failure.version.map(|it| format!("migration {it}"));
        version.unwrap_or_else(|| folder.to_owned())
    }
}

/// Uptree's own words are around what the database said.
fn same_error(theirs: &Failure, ours: &Failure) -> bool {
    let message = theirs.message.as_deref();
    message.is_some_and(|message| ours.text.contains(message))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Same => "same",
            Verdict::Different => "different",
        };
        writeln!(f, "{} migrations, {verdict}", self.migrations)?;
        let place = |failure: &Failure| match &self.both_in {
            Some(file) => file.clone(),
            None => Self::name(failure, "the folder"),
        };
        match (&self.sqlx, &self.uptree) {
            (Outcome::Applied, Outcome::Applied) => {}
            (Outcome::Failed(theirs), Outcome::Failed(ours))
                if self.both_in.is_some() && same_error(theirs, ours) =>
            {
                let message = theirs.message.as_deref().unwrap_or(&theirs.text);
                writeln!(f, "fails in {} with both: {message}", place(theirs))?;
            }
            (sqlx, uptree) => {
                for (name, outcome) in [("sqlx", sqlx), ("Uptree", uptree)] {
                    match outcome {
                        Outcome::Applied => writeln!(f, "{name} applies them all")?,
                        Outcome::Refused(failure) => {
                            let place = place(failure);
                            writeln!(f, "{name} refuses {place} before it begins:")?;
                            indented(f, &failure.text)?;
                        }
                        Outcome::Failed(failure) => {
                            writeln!(f, "{name} fails in {}:", place(failure))?;
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
