//! What to do, given what the ledger says and the files that there are. Pure.

use std::{collections::HashMap, fmt};

use crate::{MigrateError, files::File, ledger::Row};

/// What is left to do.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// How many of the files are applied.
    pub(crate) applied: usize,
    /// The files to apply, in this order.
    pub(crate) steps: Vec<&'a File>,
    /// What is odd, and does not keep the program from running.
    pub(crate) notes: Vec<Note>,
}

/// Something odd that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The database is ahead of this program: it was migrated by a newer release.
    Newer { version: i64, description: String },
    /// It was applied, and is not among the files any more.
    Gone { version: i64, description: String },
    /// It comes to be applied after files with higher versions.
    Late { file: String },
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
                "migration {version} ({description}) has been applied, and its file is gone"
            ),
            Self::Late { file } => write!(
                f,
                "{file} is applied late: files with higher versions have been applied before it"
            ),
        }
    }
}

/// Compares the ledger with the files, which are in the order of their versions.
///
/// # Errors
///
/// What only a person can decide: two files with one version, a file that was changed after it had
/// been applied, a migration that was begun and not finished.
pub(crate) fn plan<'a>(
    rows: &[Row],
    files: &'a [File],
    ledger: &str,
) -> Result<Plan<'a>, MigrateError> {
    for pair in files.windows(2) {
        if pair[0].version() == pair[1].version() {
            return Err(MigrateError::Duplicate {
                first: pair[0].to_string(),
                second: pair[1].to_string(),
            });
        }
    }
    if let Some(dirty) = rows.iter().find(|row| !row.success) {
        return Err(MigrateError::Dirty {
            version: dirty.version,
            description: dirty.description.clone(),
            ledger: ledger.to_owned(),
        });
    }

    let mut unknown: HashMap<i64, &Row> = rows.iter().map(|row| (row.version, row)).collect();
    let newest_applied = rows.iter().map(|row| row.version).max();
    let newest_file = files.last().map(File::version);
    let mut plan = Plan {
        applied: 0,
        steps: Vec::new(),
        notes: Vec::new(),
    };
    for file in files {
        match unknown.remove(&file.version()) {
            Some(row) if row.checksum == file.checksum() => plan.applied += 1,
            Some(_) => {
                return Err(MigrateError::Changed {
                    file: file.to_string(),
                });
            }
            None => {
                if newest_applied > Some(file.version()) {
                    let file = file.to_string();
                    plan.notes.push(Note::Late { file });
                }
                plan.steps.push(file);
            }
        }
    }
    let mut unknown: Vec<_> = unknown.into_values().collect();
    unknown.sort_by_key(|row| row.version);
    plan.notes.extend(unknown.into_iter().map(|row| {
        let (version, description) = (row.version, row.description.clone());
        if Some(version) > newest_file {
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
        }
    }

    #[test]
    fn what_is_not_in_the_ledger_is_applied_in_the_order_of_the_versions() {
        for (ledger, files_, applied, steps) in [
            (&[][..], &[][..], 0, &[][..]),
            (&[], &[1, 2], 0, &[1, 2]),
            (&[1], &[1, 2], 1, &[2]),
            (&[1, 2], &[1, 2], 2, &[]),
            (&[2], &[1, 2, 3], 1, &[1, 3]),
            (&[1, 2, 9], &[1, 2], 2, &[]),
            (&[9], &[1], 0, &[1]),
        ] {
            let rows: Vec<_> = ledger.iter().copied().map(row).collect();
            let files = files(files_);
            let plan = plan(&rows, &files, "ledger").unwrap();
            let found: Vec<_> = plan.steps.iter().map(|file| file.version()).collect();
            assert_eq!(
                (plan.applied, &*found),
                (applied, steps),
                "{ledger:?} {files_:?}"
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
        for (ledger, files_, notes) in [
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
            let rows: Vec<_> = ledger.iter().copied().map(row).collect();
            let found = plan(&rows, &files(files_), "ledger").unwrap().notes;
            assert_eq!(found, notes, "{ledger:?} {files_:?}");
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
            let error = plan(&rows, &files(files_), "ledger").unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
