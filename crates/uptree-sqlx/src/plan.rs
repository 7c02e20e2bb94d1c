//! What to do, given what the ledger says and the files that there are. Pure.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use crate::{
    MigrateError,
    files::File,
    ledger::{Ledger, Mark, Row},
};

/// What is left to do.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// How many of the files are applied.
    pub(crate) applied: usize,
    /// The files to apply, in this order.
    pub(crate) steps: Vec<&'a File>,
    /// Those of the files that were begun, and how far they have come.
    pub(crate) marks: Vec<(i64, Mark)>,
    /// What is odd, and does not keep the program from running.
    pub(crate) notes: Vec<Note>,
}

impl Plan<'_> {
    /// How far a file has come, if it was begun.
    pub(crate) fn mark(&self, file: &File) -> Option<&Mark> {
        let found = self.marks.iter().find(|mark| mark.0 == file.version());
        found.map(|(_, mark)| mark)
    }
}

/// Something odd that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The database is ahead of this program: it was migrated by a newer release.
    Newer { version: i64, description: String },
    /// It was applied, and is not among the files: it is gone, or another program's.
    Gone { version: i64, description: String },
    /// It comes to be applied after files with higher versions.
    Late { file: String },
    /// Another release has begun it, and is at it, or was.
    Unfinished { version: i64, description: String },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer {
                version,
                description,
            } => write!(
                f,
                "the schema is newer than this program: migration {version} ({description}) is \
                 unknown to it"
            ),
            Self::Gone {
                version,
                description,
            } => write!(
                f,
                "migration {version} ({description}) has been applied, and is not among this \
                 program's files: its file is gone, or it is another program's"
            ),
            Self::Late { file } => write!(
                f,
                "{file} is applied late: files with higher versions have been applied before it"
            ),
            Self::Unfinished {
                version,
                description,
            } => write!(
                f,
                "migration {version} ({description}), which is not among this program's files, \
                 was begun by another release and is not finished"
            ),
        }
    }
}

/// Compares the ledger with the files, which are in the order of their versions. Files after `to`
/// are known, and left alone.
///
/// # Errors
///
/// What only a person can decide: two files with one version, a file that was changed after it had
/// been applied, a migration that sqlx has begun and not finished; and a schema that requires a
/// newer program.
pub(crate) fn plan<'a>(
    ledger: &Ledger,
    files: &'a [File],
    to: Option<i64>,
    table: &str,
) -> Result<Plan<'a>, MigrateError> {
    for pair in files.windows(2) {
        if pair[0].version() == pair[1].version() {
            return Err(MigrateError::Duplicate {
                first: pair[0].to_string(),
                second: pair[1].to_string(),
            });
        }
    }
    let rows = &ledger.rows;
    let codes: HashSet<i64> = files
        .iter()
        .filter(|file| file.code().is_some())
        .map(File::version)
        .collect();
    // Of what is written in Rust no part can be told from another.
    let is_dirty =
        |row: &&Row| !row.success && (row.mark.is_none() || codes.contains(&row.version));
    if let Some(dirty) = rows.iter().find(is_dirty) {
        return Err(MigrateError::Dirty {
            version: dirty.version,
            description: dirty.description.clone(),
            ledger: table.to_owned(),
        });
    }
    let newest_file = files.last().map(File::version);
    ledger.admits(newest_file.unwrap_or(i64::MAX))?;

    let mut unknown: HashMap<i64, &Row> = rows.iter().map(|row| (row.version, row)).collect();
    let newest_applied = rows.iter().filter(|row| row.success);
    let newest_applied = newest_applied.map(|row| row.version).max();
    let mut plan = Plan {
        applied: 0,
        steps: Vec::new(),
        marks: Vec::new(),
        notes: Vec::new(),
    };
    for file in files {
        let row = unknown.remove(&file.version());
        let mark = row.filter(|row| !row.success);
        match row.filter(|row| row.success) {
            Some(row) if row.checksum == file.checksum() => plan.applied += 1,
            Some(_) => {
                return Err(MigrateError::Changed {
                    file: file.to_string(),
                });
            }
            None if to.is_some_and(|to| to < file.version()) => {}
            None => {
                if newest_applied > Some(file.version()) && mark.is_none() {
                    let file = file.to_string();
                    plan.notes.push(Note::Late { file });
                }
                plan.marks.extend(mark.map(|row| {
                    let mark = row.mark.clone().unwrap_or_default();
                    (row.version, mark)
                }));
                plan.steps.push(file);
            }
        }
    }
    let mut unknown: Vec<_> = unknown.into_values().collect();
    unknown.sort_by_key(|row| row.version);
    plan.notes.extend(unknown.into_iter().map(|row| {
        let (version, description) = (row.version, row.description.clone());
        if !row.success {
            Note::Unfinished {
                version,
                description,
            }
        } else if Some(version) > newest_file {
            Note::Newer {
                version,
                description,
            }
        } else {
            Note::Gone {
                version,
                description,
            }
        }
    }));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(versions: &[i64]) -> Vec<File> {
        versions.iter().copied().map(File::for_tests).collect()
    }

    fn row(version: i64) -> Row {
        Row {
            version,
            description: format!("file {version}"),
            checksum: File::for_tests(version).checksum().to_owned(),
            success: true,
            requires: None,
            mark: None,
        }
    }

    fn ledger(rows: &[Row]) -> Ledger {
        Ledger {
            rows: rows.to_vec(),
            tables: crate::ledger::Tables::All,
        }
    }

    #[test]
    fn what_is_not_in_the_ledger_is_applied_in_the_order_of_the_versions() {
        for (ledger_, files_, applied, steps) in [
            (&[][..], &[][..], 0, &[][..]),
            (&[], &[1, 2], 0, &[1, 2]),
            (&[1], &[1, 2], 1, &[2]),
            (&[1, 2], &[1, 2], 2, &[]),
            (&[2], &[1, 2, 3], 1, &[1, 3]),
            (&[1, 2, 9], &[1, 2], 2, &[]),
            (&[9], &[1], 0, &[1]),
        ] {
            let rows: Vec<_> = ledger_.iter().copied().map(row).collect();
            let files = files(files_);
            let plan = plan(&ledger(&rows), &files, None, "ledger").unwrap();
            let found: Vec<_> = plan.steps.iter().map(|file| file.version()).collect();
            assert_eq!(
                (plan.applied, &*found),
                (applied, steps),
                "{ledger_:?} {files_:?}"
            );
        }
    }

    #[test]
    fn what_is_odd_is_noted_and_does_not_refuse() {
        let newer = |version| Note::Newer {
            version,
            description: format!("file {version}"),
        };
        let gone = |version| Note::Gone {
            version,
            description: format!("file {version}"),
        };
        let late = |file: &str| Note::Late { file: file.into() };
        for (ledger_, files_, notes) in [
            (&[1, 2][..], &[1, 2][..], vec![]),
            (&[1, 3, 2], &[1], vec![newer(2), newer(3)]),
            (&[1, 2], &[2], vec![gone(1)]),
            (&[1], &[], vec![newer(1)]),
            (&[2], &[1, 2], vec![late("0001_file_1.sql")]),
            (
                &[3],
                &[1, 2],
                vec![late("0001_file_1.sql"), late("0002_file_2.sql"), newer(3)],
            ),
        ] {
            let rows: Vec<_> = ledger_.iter().copied().map(row).collect();
            let found = plan(&ledger(&rows), &files(files_), None, "ledger")
                .unwrap()
                .notes;
            assert_eq!(found, notes, "{ledger_:?} {files_:?}");
        }
    }

    #[test]
    fn what_only_a_person_can_decide_is_refused() {
        let dirty = Row {
            success: false,
            ..row(2)
        };
        let changed = Row {
            checksum: vec![0],
            ..row(2)
        };
        for (rows, files_, message) in [
            (
                vec![],
                &[1, 2, 2][..],
                "0002_file_2.sql and 0002_file_2.sql have the same version",
            ),
            (
                vec![row(1), dirty.clone()],
                &[1, 2],
                "migration 2 (file 2) was begun, and did not finish",
            ),
            // Also one that no file has.
            (
                vec![row(1), dirty],
                &[1],
                "migration 2 (file 2) was begun, and did not finish",
            ),
            (
                vec![row(1), changed],
                &[1, 2, 3],
                "0002_file_2.sql has been changed since it was applied",
            ),
        ] {
            let error = plan(&ledger(&rows), &files(files_), None, "ledger").unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn what_was_begun_goes_on_and_no_later_file_is_touched_that_was_not_asked_for() {
        let mark = Mark {
            done: 1,
            digest: "abc".into(),
            ..Mark::default()
        };
        let begun = Row {
            success: false,
            mark: Some(mark.clone()),
            ..row(2)
        };
        let files = files(&[1, 2, 3]);
        let ledger = ledger(&[row(1), begun]);
        for (to, steps) in [(None, &[2, 3][..]), (Some(2), &[2]), (Some(1), &[])] {
            let plan = plan(&ledger, &files, to, "ledger").unwrap();
            let found: Vec<_> = plan.steps.iter().map(|file| file.version()).collect();
            assert_eq!(found, steps, "{to:?}");
            assert!(plan.notes.is_empty(), "{:?}", plan.notes);
            if !steps.is_empty() {
                assert_eq!(plan.mark(&files[1]), Some(&mark));
                assert_eq!(plan.mark(&files[2]), None);
            }
        }
        // An older release leaves it to the one that knows it.
        let plan = plan(&ledger, &files[..1], None, "ledger").unwrap();
        assert_eq!(
            plan.notes,
            [Note::Unfinished {
                version: 2,
                description: "file 2".into()
            }]
        );
    }

    #[test]
    fn a_row_may_require_a_newer_program() {
        let needs = |requires| Row {
            requires: Some(requires),
            ..row(9)
        };
        for (known, requires, admitted) in [
            (&[1, 2][..], 2, true),
            (&[1, 2], 3, false),
            (&[1, 2, 9], 9, true),
            // Who has no files makes no claim.
            (&[], 9, true),
        ] {
            let files = files(known);
            let outcome = plan(&ledger(&[needs(requires)]), &files, None, "ledger");
            assert_eq!(outcome.is_ok(), admitted, "{known:?} {requires}");
            if let Err(error) = outcome {
                assert_eq!(
                    error.to_string(),
                    "migration 9 (file 9) requires a program that knows migration 3; this one \
                     knows 2"
                );
            }
        }
    }
}
