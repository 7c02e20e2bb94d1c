//! `cargo xtask migrate-folder`: a folder of migrations, applied with Uptree and with sqlx.
//!
//! Databases are no part of xtask: this builds and becomes the program that does it.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::step::{cargo, target};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of migrations, as `sqlx migrate run` takes it
    dir: PathBuf,
    /// A server on which databases may be created: `postgres://…`, `mysql://…` or `sqlite://FOLDER`
    url: String,
}

/// Does not return if all is well: the process becomes the program, so that its exit code is the
/// command's, and a signal reaches the one that has databases to drop.
pub(crate) fn run(args: &Args) -> Result<()> {
    let package = ["build", "--quiet", "-p", "uptree-migrate-folder"];
    let built = cargo(package)?.status().context("cargo cannot be run")?;
    ensure!(built.success(), "uptree-migrate-folder cannot be built");
    let program = target()?.join("debug/migrate-folder");
    let error = Command::new(&program).arg(&args.dir).arg(&args.url).exec();
    Err(error).with_context(|| format!("{} cannot be run", program.display()))
}
