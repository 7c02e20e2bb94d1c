//! The folder, as sqlx reads it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;

/// A folder of migrations.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// What leads forward, in order. Empty if sqlx cannot read the folder.
    pub(crate) files: Vec<File>,
    /// sqlx's reading of it, or what sqlx has against it.
    pub(crate) sqlx: Result<Migrator, String>,
}

/// A migration that leads forward.
pub(crate) struct File {
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) in_transaction: bool,
    pub(crate) sql: String,
}

impl Folder {
    pub(crate) async fn read(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("there is no folder {}", path.display()))?;
        let sqlx = Migrator::new(path.as_path()).await;
        let mut files = Vec::new();
        if let Ok(migrator) = &sqlx {
            let names = names(&path)?;
            let forward = |it: &&sqlx::migrate::Migration| it.migration_type.is_up_migration();
            for migration in migrator.iter().filter(forward) {
                let version = migration.version;
                let mut names = names.iter().filter(|(of, _)| *of == version);
                let taken = files.iter().filter(|it: &&File| it.version == version);
                let name = names.nth(taken.count()).map(|(_, name)| name.clone());
                files.push(File {
                    version,
                    name: name.unwrap_or_else(|| version.to_string()),
                    in_transaction: !migration.no_tx,
                    sql: migration.sql.as_str().to_owned(),
                });
            }
        }
        Ok(Self {
            path,
            files,
            sqlx: sqlx.map_err(|error| chain(&error)),
        })
    }

    pub(crate) fn file(&self, version: i64) -> Option<&File> {
        self.files.iter().find(|file| file.version == version)
    }
}

#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "sqlx takes no others"
)]
/// The names that can be those of migrations, with their versions, sorted.
fn names(path: &Path) -> Result<Vec<(i64, String)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.split_once('_').and_then(|(it, _)| it.parse().ok());
        if let Some(version) = version
            && name.ends_with(".sql")
            && !name.ends_with(".down.sql")
        {
            names.push((version, name));
        }
    }
    names.sort();
    Ok(names)
}

/// An error with its causes, none of them twice: sqlx's errors have them in their own message.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
