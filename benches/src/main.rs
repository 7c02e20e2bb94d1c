//! `cargo xtask bench`: interleaved rounds, tables, and a file of figures.
//!
//! Every measurement is a process of its own, this program with a hidden subcommand or one like it,
//! so that no peer runs in a heap that another has left behind. To look at one of them:
//! `valgrind --tool=callgrind target/bench-build/release/bench measure uptree start 10000`.

mod contenders;
mod instructions;
mod process;
mod report;
mod rounds;
mod supervision;

use std::path::PathBuf;

use anyhow::Result;
use bench::{Ask, PEERS, meter::resident, program};
use clap::{Parser, Subcommand};

/// Measures Uptree against bare tokio, OTP and other supervisors doing the same work
///
/// Every measurement is a process of its own. Every round runs every peer once for each work, in
/// rotating order; a measurement during which somebody else had the processor is dropped and made
/// again. Without a command, `supervision` is measured.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    supervision: supervision::Options,
    /// The project's target folder
    #[arg(long, global = true, hide = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))]
    target: PathBuf,
    /// Print what must be built first, and end
    #[arg(long, global = true, hide = true)]
    needs: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Starts, stops, restarts, calls and memory: tables and target/bench/supervision.json
    Supervision(supervision::Options),
    /// Do one work once, with one peer, and print what was measured
    #[command(hide = true)]
    Measure(Ask),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Supervision(cli.supervision));
    let needs = match &command {
        Command::Supervision(options) => options.needs(),
        Command::Measure(_) => Vec::new(),
    };
    if cli.needs {
        for need in needs {
            println!("{need}");
        }
        return Ok(());
    }
    match command {
        Command::Supervision(options) => options.run(&cli.target),
        Command::Measure(ask) => program::answer(&ask, PEERS, resident),
    }
}
