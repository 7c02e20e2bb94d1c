//! Those that are measured: each migrates one database, once, in a process of its own.
//!
//! It reads the folder of migrations, says `ready`, waits until its input ends, connects, migrates,
//! and says `done`: what a process needs to start is not measured. All have a runtime with one
//! thread.

mod bare;
mod refinery;
mod sqlx;
mod uptree;

use std::{
    fs,
    io::{Write, stdin, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// What a process is asked to do.
#[derive(clap::Args)]
pub(crate) struct Ask {
    /// By whom
    peer: String,
    /// The migrations
    folder: PathBuf,
    /// The database
    url: String,
}

impl Ask {
    pub(crate) fn run(&self) -> Result<()> {
        match self.peer.as_str() {
            "uptree" => uptree::run(self),
            "sqlx" => sqlx::run(self),
            "refinery" => refinery::run(self),
            "bare" => bare::run(self),
            peer => bail!("nobody is called {peer}"),
        }
    }

    /// Has it `load` what is in the folder, then `migrate` the database at the URL.
    fn answer<L>(
        &self,
        load: impl AsyncFnOnce(&Path) -> Result<L>,
        migrate: impl AsyncFnOnce(L, &str) -> Result<()>,
    ) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let loaded = runtime.block_on(load(&self.folder))?;
        say("ready")?;
        stdin().read_line(&mut String::new())?;
        runtime.block_on(migrate(loaded, &self.url))?;
        say("done")
    }
}

fn say(word: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{word}")?;
    Ok(stdout.flush()?)
}

/// A migration, as its file has it.
struct File {
    version: i32,
    description: String,
    sql: String,
}

/// The migrations in the order of their versions.
fn files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let (version, description) = name.split_once('_').context("a version, a name")?;
        files.push(File {
            version: version.parse()?,
            description: description.to_owned(),
            sql: fs::read_to_string(&path)?,
        });
    }
    files.sort_by_key(|file| file.version);
    Ok(files)
}
