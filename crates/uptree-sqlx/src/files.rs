//! The migrations that a program brings: embedded, in a folder, or written in Rust.

pub(crate) mod check;
mod directives;
mod error;
mod folder;
mod foreign_keys;

use std::{borrow::Cow, collections::HashMap, fmt, path::PathBuf, sync::Arc};

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

pub(crate) use self::directives::Directives;
pub use self::error::FileError;
pub(crate) use self::error::Warning;
use crate::{MigrateError, code::Code};

/// One migration.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The file's name.
    name: Arc<str>,
    migration: Arc<Migration>,
    /// What it runs instead of SQL.
    code: Option<Code>,
    directives: Directives,
    down: Option<Down>,
}

impl File {
    /// A migration that is written in Rust: its checksum is of its description alone.
    pub(crate) fn from_code(version: i64, description: Cow<'static, str>, code: Code) -> Self {
        let text = AssertSqlSafe(format!("-- code {description}")).into_sql_str();
        let migration = Migration::new(version, description, MigrationType::Simple, text, false);
        let name = embedded_name(&migration);
        Self {
            name: name.trim_end_matches(".sql").into(),
            migration: migration.into(),
            code: Some(code),
            directives: Directives::default(),
            down: None,
        }
    }

    /// A file of a folder.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn from_bytes(
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<(Self, Vec<Warning>), FileError> {
        let sql = folder::text(name.as_ref(), bytes)?;
        let (directives, warnings) = directives::read(name, &sql)?;
        let no_tx = sql.starts_with(directives::NO_TRANSACTION);
        let sql = AssertSqlSafe(sql).into_sql_str();
        let migration = Migration::new(1, "".into(), MigrationType::Simple, sql, no_tx);
        let file = Self {
            name: name.into(),
            migration: migration.into(),
            code: None,
            directives,
            down: None,
        };
        Ok((file, warnings))
    }

    pub(crate) fn version(&self) -> i64 {
        self.migration.version
    }

    pub(crate) fn description(&self) -> &str {
        &self.migration.description
    }

    /// sqlx's: of the file as it is, a byte order mark included.
    pub(crate) fn checksum(&self) -> &[u8] {
        &self.migration.checksum
    }

    /// Whether it runs in a transaction of its own, with its row of the ledger.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.migration.no_tx
    }

    /// What is sent to the database: the file without its byte order mark, which is no SQL.
    /// Of a migration in Rust a comment.
    pub(crate) fn sql(&self) -> &str {
        sql_of(&self.migration)
    }

    /// What it runs instead of SQL, if it is written in Rust.
    pub(crate) fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// The newest migration that a program must know once this one is applied.
    pub(crate) fn requires(&self) -> Option<i64> {
        self.directives.requires
    }

    #[cfg(test)]
    pub(crate) fn directives(&self) -> &Directives {
        &self.directives
    }

    /// The file that leads back, if there is one.
    pub(crate) fn down(&self) -> Option<&Down> {
        self.down.as_ref()
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A file that leads back from a migration.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    name: Arc<str>,
    migration: Arc<Migration>,
}

impl Down {
    /// It as a file that is applied, to be looked at in the same way.
    pub(crate) fn as_file(&self) -> File {
        File {
            name: self.name.clone(),
            migration: self.migration.clone(),
            code: None,
            directives: Directives::default(),
            down: None,
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        !self.migration.no_tx
    }

    /// What is sent to the database.
    pub(crate) fn sql(&self) -> &str {
        sql_of(&self.migration)
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn sql_of(migration: &Migration) -> &str {
    let sql = migration.sql.as_str();
    sql.strip_prefix('\u{feff}').unwrap_or(sql)
}

/// Where the migrations are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Embedded(Arc<[Migration]>),
    Folder(PathBuf),
}

/// What a source has.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// In the order of their versions. What leads back is kept beside what it leads back from.
    pub(crate) files: Vec<File>,
    /// What is odd.
    pub(crate) warnings: Vec<Warning>,
}

impl Source {
    pub(crate) fn embedded(migrations: &[Migration]) -> Self {
        Self::Embedded(migrations.into())
    }

    /// Reads the migrations. A folder is read anew each time.
    ///
    /// # Errors
    ///
    /// A folder or a file that cannot be read, a name without a version, and what [`FileError`]
    /// says of a file itself. Two files with one version are no error here, unless both lead back.
    pub(crate) fn load(&self) -> Result<Loaded, MigrateError> {
        match self {
            Self::Embedded(migrations) => {
                let named = migrations.iter().map(|migration| Named {
                    name: embedded_name(migration),
                    migration: migration.clone(),
                });
                assemble(named.collect(), Vec::new())
            }
            Self::Folder(path) => {
                let (named, warnings) = folder::read(path)?;
                assemble(named, warnings)
            }
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

/// A migration of sqlx's, with its file's name.
struct Named {
    name: String,
    migration: Migration,
}

/// The name of an embedded file. `migrate!()` forgets it: it is made up again, with the four digits
/// that are the custom for small numbers.
fn embedded_name(migration: &Migration) -> String {
    let Migration {
        version,
        description,
        migration_type,
        ..
    } = migration;
    let description = description.replace(' ', "_");
    let suffix = migration_type.suffix();
    format!("{version:04}_{description}{suffix}")
}

/// Puts files in order, and beside each the one that leads back from it.
fn assemble(mut named: Vec<Named>, mut warnings: Vec<Warning>) -> Result<Loaded, MigrateError> {
    named.sort_by(|a, b| (a.migration.version, &a.name).cmp(&(b.migration.version, &b.name)));
    let (down, up): (Vec<_>, Vec<_>) = named
        .into_iter()
        .partition(|named| named.migration.migration_type.is_down_migration());
    let mut downs: HashMap<i64, Down> = HashMap::new();
    for Named { name, migration } in down {
        let version = migration.version;
        let (name, migration) = (name.into(), migration.into());
        let second = Down { name, migration };
        if let Some(first) = downs.get(&version) {
            return Err(MigrateError::Duplicate {
                first: first.to_string(),
                second: second.to_string(),
            });
        }
        downs.insert(version, second);
    }
    let mut files = Vec::new();
    for Named { name, migration } in up {
        let (directives, odd) = directives::read(&name, migration.sql.as_str())?;
        warnings.extend(odd);
        files.push(File {
            name: name.into(),
            down: downs.remove(&migration.version),
            migration: migration.into(),
            code: None,
            directives,
        });
    }
    let mut lonely: Vec<_> = downs.into_values().collect();
    lonely.sort_by_key(|down| down.migration.version);
    warnings.extend(lonely.iter().map(|down| Warning {
        file: down.to_string(),
        line: None,
        message: "there is no file that it leads back from: it is left out".to_owned(),
    }));
    Ok(Loaded { files, warnings })
}

#[cfg(test)]
impl File {
    /// A file for tests: its description and text are made of its version.
    pub(crate) fn for_tests(version: i64) -> Self {
        Self::with_sql(
            version,
            &format!("file {version}"),
            &format!("SELECT {version}"),
        )
    }

    /// A file for tests.
    pub(crate) fn with_sql(version: i64, description: &str, sql: &str) -> Self {
        let no_tx = sql.starts_with(directives::NO_TRANSACTION);
        let sql = AssertSqlSafe(sql).into_sql_str();
        let description = description.to_owned().into();
        let migration = Migration::new(version, description, MigrationType::Simple, sql, no_tx);
        let name = embedded_name(&migration);
        let loaded = assemble(vec![Named { name, migration }], Vec::new()).unwrap();
        loaded.files.into_iter().next().unwrap()
    }
}

#[cfg(test)]
mod tests;
