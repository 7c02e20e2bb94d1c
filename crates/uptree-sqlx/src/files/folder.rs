//! A folder of migrations, read by sqlx's rules.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

use super::{FileError, Named, Warning, directives::NO_TRANSACTION, error::LIMIT_MIB};
use crate::MigrateError;

/// Reads all migrations of a folder, in no order.
pub(super) fn read(path: &Path) -> Result<(Vec<Named>, Vec<Warning>), MigrateError> {
    let mut files = Vec::new();
    let mut warnings = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| unreadable(path, source))? {
        let path = entry.map_err(|source| unreadable(path, source))?.path();
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        match Parsed::of(&name) {
            Parsed::Other => {}
            Parsed::Odd(message) => warnings.push(Warning {
                file: name,
                line: None,
                message: message.to_owned(),
            }),
            Parsed::NoVersion => {
                if is_file(&path)? {
                    return Err(MigrateError::FileName { path });
                }
            }
            Parsed::Migration(version, rest) => {
                if is_file(&path)? {
                    let migration = migration(&path, version, rest)?;
                    files.push(Named { name, migration });
                }
            }
        }
    }
    Ok((files, warnings))
}

/// What a file's name says.
#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    /// Its version, and what comes after the first underscore.
    Migration(i64, &'a str),
    /// It would be one, had it a version.
    NoVersion,
    /// It is none for sqlx, but may be meant as one.
    Odd(&'static str),
    Other,
}

impl<'a> Parsed<'a> {
    #[expect(
        clippy::case_sensitive_file_extension_comparisons,
        reason = "sqlx takes no others"
    )]
    fn of(name: &'a str) -> Self {
        if !name.ends_with(".sql") {
            let is_sql = name.to_ascii_lowercase().ends_with(".sql");
            return match is_sql && name.starts_with(|c: char| c.is_ascii_digit()) {
                true => Self::Odd("it is not taken for a migration: its name must end in `.sql`"),
                false => Self::Other,
            };
        }
        let Some((version, rest)) = name.split_once('_') else {
            return match name.starts_with(|c: char| c.is_ascii_digit()) {
                true => Self::Odd(
                    "it is not taken for a migration: its name must go on with an underscore and \
                     a description, as in 0001_readings.sql",
                ),
                false => Self::Other,
            };
        };
        match version.parse() {
            Ok(version) => Self::Migration(version, rest),
            Err(_) => Self::NoVersion,
        }
    }
}

/// Whether it is no folder. A link that leads nowhere is an error.
fn is_file(path: &Path) -> Result<bool, MigrateError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    if metadata.is_file() && metadata.len() > LIMIT_MIB << 20 {
        return Err(MigrateError::File(FileError::TooLarge {
            path: path.to_owned(),
            bytes: metadata.len(),
        }));
    }
    Ok(metadata.is_file())
}

fn migration(path: &Path, version: i64, rest: &str) -> Result<Migration, MigrateError> {
    let kind = MigrationType::from_filename(rest);
    let description = rest.trim_end_matches(kind.suffix()).replace('_', " ");
    let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
    let sql = text(path, bytes)?;
    let no_tx = sql.starts_with(NO_TRANSACTION);
    let sql = AssertSqlSafe(sql).into_sql_str();
    Ok(Migration::new(
        version,
        description.into(),
        kind,
        sql,
        no_tx,
    ))
}

pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let lines = bytes[..byte].split(|byte| *byte == b'\n');
        FileError::Encoding {
            path: path.to_owned(),
            byte,
            line: lines.count(),
            utf16: bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]),
        }
    })
}

fn unreadable(path: &Path, source: io::Error) -> MigrateError {
    let path = PathBuf::from(path);
    MigrateError::Folder { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_it_is_a_migration() {
        for (name, is_migration) in [
            ("0001_a.sql", Some(true)),
            ("1_a.up.sql", Some(true)),
            ("20260101120000_a_b.sql", Some(true)),
            ("-1_a.sql", Some(true)),
            ("1_.sql", Some(true)),
            ("V1__a.sql", Some(false)),
            ("readings_a.sql", Some(false)),
            ("99999999999999999999_a.sql", Some(false)),
            ("README.md", None),
            ("0001_a.sql.bak", None),
            ("schema.sql", None),
        ] {
            let found = match Parsed::of(name) {
                Parsed::Migration(..) => Some(true),
                Parsed::NoVersion => Some(false),
                Parsed::Other => None,
                odd @ Parsed::Odd(_) => panic!("{odd:?}"),
            };
            assert_eq!(found, is_migration, "{name}");
        }
        for name in ["0001_a.SQL", "0001.sql", "1.up.sql"] {
            assert!(matches!(Parsed::of(name), Parsed::Odd(_)), "{name}");
        }
    }
}
