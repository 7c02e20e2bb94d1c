//! Applies a folder of migrations with sqlx and with Uptree, and compares what came of it.
//!
//! `cargo xtask migrate-folder DIR URL` builds and runs it. Each of the two has a fresh database,
//! one after the other and under the same name: what a migration can do to the whole server, such as
//! `CREATE ROLE`, is undone between them, and names that are kept in a definition are the same.

mod compare;
mod folder;
mod mysql;
mod postgres;
mod report;
mod run;
mod server;
mod sqlite;
mod state;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    compare::compare,
    folder::{Folder, chain},
    report::{Report, Verdict},
    run::{Outcome, Tool},
    server::Server,
    state::State,
};

/// Applies a folder of migrations with sqlx and with Uptree, and compares schema, data and ledger
///
/// Exits 0 if they are the same, or if both fail in the same file with the same error; 1 if
/// something differs; 2 if they cannot be compared.
#[derive(Parser)]
#[command(name = "cargo xtask migrate-folder")]
struct Cli {
    /// The folder of migrations, as `sqlx migrate run` takes it
    dir: PathBuf,
    /// A server on which databases may be created: `postgres://…`, `mysql://…` or `sqlite://FOLDER`
    url: String,
}

/// A time in whole seconds, as SQLite and MySQL have it, is another one by then.
const ANOTHER_TIME: Duration = Duration::from_millis(1100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli).await {
        Ok(Verdict::Same) => ExitCode::SUCCESS,
        Ok(Verdict::Different) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", chain(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

async fn run(cli: &Cli) -> Result<Verdict> {
    let folder = Folder::read(&cli.dir).await?;
    let mut server = Server::connect(&cli.url).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = both(&folder, &mut server) => report,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    // Also after an error, and after a signal.
    let removed = server.remove().await;
    let report = report?;
    print!("{report}");
    removed?;
    Ok(report.verdict())
}

async fn both<'a>(folder: &'a Folder, server: &mut Server) -> Result<Report<'a>> {
    let began = Instant::now();
    let (sqlx, theirs) = one(Tool::Sqlx, folder, server).await?;
    let (uptree, ours) = one(Tool::Uptree, folder, server).await?;
    let mut report = Report::new(folder, sqlx, uptree);
    // After a failure outside a transaction each leaves what it leaves.
    if !report.is_comparable(server) {
        return Ok(report);
    }
    report.comparison = compare(&theirs, &ours, None);
    if !report.comparison.differences.is_empty() {
        tokio::time::sleep(ANOTHER_TIME.saturating_sub(began.elapsed())).await;
        // What is not even the same when sqlx does it twice says nothing about Uptree.
        let (_, again) = one(Tool::Sqlx, folder, server).await?;
        report.comparison = compare(&theirs, &ours, Some(&again));
    }
    Ok(report)
}

/// Has one of them migrate a fresh database, and keeps what it is like then.
async fn one(tool: Tool, folder: &Folder, server: &mut Server) -> Result<(Outcome, State)> {
    let url = server.create().await?;
    let began = Instant::now();
    let outcome = tool.run(folder, &url).await?;
    eprintln!("{tool}: {:.1?}", began.elapsed());
    let state = server.state(&url, folder).await?;
    server.remove().await?;
    Ok((outcome.place(folder, &state), state))
}
