//! What the programs have in common that are measured: each migrates one database, once.
//!
//! It is called with the folder of migrations and the database's URL. It reads the folder, says
//! `ready`, waits for a line on its input, connects, migrates, and says `done`: what a process needs
//! to start is not measured. All have a runtime with one thread.

use std::{
    env,
    io::{Write, stdin, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A migration, as its file has it.
pub struct File {
    /// Its version.
    pub version: i32,
    /// What its name says.
    pub description: String,
    /// Its text.
    pub sql: String,
}

/// The migrations in the order of their versions.
pub fn files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let (version, description) = name.split_once('_').context("a version, a name")?;
        files.push(File {
            version: version.parse()?,
            description: description.to_owned(),
            sql: std::fs::read_to_string(&path)?,
        });
    }
    files.sort_by_key(|file| file.version);
    Ok(files)
}

/// The program: `load` what is in the folder, then `migrate` the database at the URL.
pub fn main<L>(
    load: impl AsyncFnOnce(PathBuf) -> Result<L>,
    migrate: impl AsyncFnOnce(L, String) -> Result<()>,
) -> Result<()> {
    let mut args = env::args().skip(1);
    let folder = args.next().context("a folder of migrations")?.into();
    let url = args.next().context("the URL of a database")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let loaded = runtime.block_on(load(folder))?;
    say("ready")?;
    stdin().read_line(&mut String::new())?;
    runtime.block_on(migrate(loaded, url))?;
    say("done")
}

fn say(word: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{word}")?;
    Ok(stdout.flush()?)
}
