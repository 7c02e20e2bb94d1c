//! The migrations that a program brings, embedded or in a folder.

use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

use crate::{MigrateError, code::Code};

/// One migration.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The file's name.
    name: String,
    migration: Migration,
    /// What it does, if it is written in Rust.
    code: Option<Code>,
}

impl File {
    /// A migration that is written in Rust: its checksum is of its description alone.
    pub(crate) fn from_code(version: i64, description: Cow<'static, str>, code: Code) -> Self {
        let text = AssertSqlSafe(format!("-- code {description}")).into_sql_str();
        let migration =
            Migration::new(version, description, MigrationType::Simple, text, false);
        Self {
            code: Some(code),
            ..Self::embedded(&migration)
        }
    }

    /// What it does, if it is written in Rust.
    pub(crate) fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// The newest migration that a program must know once this one is applied.
    #[allow(clippy::unused_self)]
    pub(crate) fn requires(&self) -> Option<i64> {
        None
    }

    pub(crate) fn version(&self) -> i64 {
        self.migration.version
    }

    pub(crate) fn description(&self) -> &str {
        &self.migration.description
    }

    pub(crate) fn checksum(&self) -> &[u8] {
        &self.migration.checksum
    }

    /// Whether it runs in a transaction of its own, with its row of the ledger.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.migration.no_tx
    }

    pub(crate) fn sql(&self) -> &str {
        self.migration.sql.as_str()
    }

    /// An embedded file. `migrate!()` forgets its name: it is made up again, with the four digits
    /// that are the custom for small numbers.
    fn embedded(migration: &Migration) -> Self {
        let Migration {
            version,
            description,
            migration_type,
            ..
        } = migration;
        let description = description.replace(' ', "_");
        let suffix = migration_type.suffix();
        Self {
            name: format!("{version:04}_{description}{suffix}"),
            migration: migration.clone(),
            code: None,
        }
    }

    /// Reads a file by sqlx's rules; `None` if its name says that it is no migration.
    fn read(path: PathBuf) -> Result<Option<Self>, MigrateError> {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let Some((version, rest)) = name.split_once('_') else {
            return Ok(None);
        };
        #[expect(
            clippy::case_sensitive_file_extension_comparisons,
            reason = "sqlx takes no others"
        )]
        if !rest.ends_with(".sql") || !path.is_file() {
            return Ok(None);
        }
        let Ok(version) = version.parse() else {
            return Err(MigrateError::FileName { path });
        };
        let kind = MigrationType::from_filename(rest);
        let description = rest.trim_end_matches(kind.suffix()).replace('_', " ");
        let sql = match fs::read_to_string(&path) {
            Ok(sql) => sql,
            Err(source) => return Err(MigrateError::Folder { path, source }),
        };
        let no_tx = sql.starts_with("-- no-transaction");
        let sql = AssertSqlSafe(sql).into_sql_str();
        Ok(Some(Self {
            migration: Migration::new(version, description.into(), kind, sql, no_tx),
            name,
            code: None,
        }))
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Where the migrations are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Embedded(Arc<[File]>),
    Folder(PathBuf),
}

impl Source {
    pub(crate) fn embedded(migrations: &[Migration]) -> Self {
        Self::Embedded(forward(migrations.iter().map(File::embedded).collect()).into())
    }

    /// The migrations in the order of their versions; those that lead back are left out.
    ///
    /// A folder is read anew each time.
    pub(crate) fn load(&self) -> Result<Arc<[File]>, MigrateError> {
        match self {
            Self::Embedded(files) => Ok(files.clone()),
            Self::Folder(path) => read_folder(path).map(|files| forward(files).into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(_) => f.write_str("the program"),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

fn read_folder(path: &Path) -> Result<Vec<File>, MigrateError> {
    let failed = |source| MigrateError::Folder {
        path: path.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        files.extend(File::read(entry.map_err(failed)?.path())?);
    }
    Ok(files)
}

fn forward(mut files: Vec<File>) -> Vec<File> {
    files.retain(|file| file.migration.migration_type.is_up_migration());
    files.sort_by(|a, b| (a.version(), &a.name).cmp(&(b.version(), &b.name)));
    files
}

#[cfg(test)]
impl File {
    /// A file for tests: its description and text are made of its version.
    pub(crate) fn for_tests(version: i64) -> Self {
        let sql = AssertSqlSafe(format!("SELECT {version}")).into_sql_str();
        let description = format!("file {version}").into();
        let kind = MigrationType::Simple;
        Self::embedded(&Migration::new(version, description, kind, sql, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            fs::write(folder.path().join(name), sql).unwrap();
        }
        let source = Source::Folder(folder.path().to_owned());
        (folder, source)
    }

    #[tokio::test]
    async fn a_folder_is_read_as_sqlx_reads_it() {
        let (folder, source) = folder(&[
            ("0010_last.sql", "SELECT 10"),
            ("2_no_tx.sql", "-- no-transaction\nSELECT 2"),
            ("0001_two_words.up.sql", "SELECT 1"),
            ("0001_two_words.down.sql", "SELECT -1"),
            ("README.md", "not a migration"),
            ("notes_for_me.txt", "not a migration"),
            ("0003.sql", "not a migration: it has no description"),
        ]);
        fs::create_dir(folder.path().join("0004_folder.sql")).unwrap();

        let ours = source.load().unwrap();
        let theirs = sqlx::migrate::Migrator::new(folder.path()).await.unwrap();
        let theirs: Vec<_> = theirs
            .iter()
            .filter(|theirs| theirs.migration_type.is_up_migration())
            .collect();

        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            let ours = &ours.migration;
            assert_eq!(ours.version, theirs.version);
            assert_eq!(ours.description, theirs.description);
            assert_eq!(ours.checksum, theirs.checksum);
            assert_eq!(ours.migration_type, theirs.migration_type);
            assert_eq!(ours.no_tx, theirs.no_tx);
            assert_eq!(ours.sql.as_str(), theirs.sql.as_str());
        }
        let names: Vec<_> = ours.iter().map(ToString::to_string).collect();
        let expected = ["0001_two_words.up.sql", "2_no_tx.sql", "0010_last.sql"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_told_with_its_path() {
        let missing = Source::Folder("/nowhere/at/all".into()).load();
        let message = missing.unwrap_err().to_string();
        assert_eq!(message, "cannot read the migrations in /nowhere/at/all");

        let (_folder, source) = folder(&[("first_table.sql", "SELECT 1")]);
        let message = source.load().unwrap_err().to_string();
        assert!(message.contains("first_table.sql"), "{message}");
    }
}
