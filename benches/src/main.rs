//! `cargo xtask bench`: interleaved rounds, a table, and `target/bench/supervision.json`.
//!
//! Every measurement is a process of its own, this program with a hidden subcommand, so that no
//! peer runs in a heap that another has left behind. To look at one of them:
//! `valgrind --tool=callgrind target/bench-build/release/bench measure uptree start 10000`.

mod first_200;
mod report;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use bench::{
    PEERS, WORKS, Work,
    meter::{Measured, resident},
};
use clap::{Parser, Subcommand, builder::PossibleValuesParser};

use crate::{first_200::FIRST_200, report::Row};

/// Wall time over processor time from which on somebody else had the processor.
const PREEMPTED: f64 = 1.25;
/// How often a measurement is made again at once when it was preempted.
const ATTEMPTS: usize = 20;

/// Measures Uptree against bare tokio doing the same work, in the same rounds
///
/// Every round runs every peer once for each work, in rotating order. Prints medians, minima and
/// the median of each round's ratio to bare, and writes bench/supervision.json.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Cli {
    /// How many rounds; `first_200` has at least 30
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Measure only these
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    work: Vec<String>,
    /// The project's target folder: has release/minimal, gets bench/supervision.json
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))]
    target: PathBuf,
    #[command(subcommand)]
    measure: Option<Measure>,
}

#[derive(Subcommand)]
enum Measure {
    /// Do one work once, with one peer, and print what was measured
    #[command(hide = true)]
    Measure {
        peer: String,
        work: String,
        n: usize,
    },
}

fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = all_works().map(|work| work.name).collect();
    names.dedup();
    names
}

fn all_works() -> impl Iterator<Item = &'static Work> {
    WORKS.iter().chain([&FIRST_200])
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Measure::Measure { peer, work, n }) = &cli.measure {
        return bench::measure(peer, work, *n, resident);
    }
    let wanted = |work: &&Work| cli.work.is_empty() || cli.work.iter().any(|it| it == work.name);
    let mut rows: Vec<Row> = all_works().filter(wanted).map(Row::new).collect();
    let mut dropped = 0;
    let rounds = |work: &Work| match work.name {
        "first_200" => cli.rounds.max(first_200::ROUNDS),
        _ => cli.rounds,
    };
    let most = rows.iter().map(|row| rounds(row.work)).max();
    for round in 0..most.unwrap_or_default() {
        eprint!("\rround {}", round + 1);
        for row in rows.iter_mut().filter(|row| round < rounds(row.work)) {
            // Nobody is always the one who comes after a certain other.
            for i in 0..PEERS.len() {
                let peer = (i + round) % PEERS.len();
                let (value, again) = measure(PEERS[peer].0, row.work, &cli.target)?;
                row.values[peer].push(value);
                dropped += again;
            }
        }
    }
    eprintln!();
    report::print(&rows, dropped);
    report::write(&rows, &cli.target.join("bench"))
}

/// One peer's figure for a round, if there is one that was not preempted; and how many were.
fn measure(peer: &str, work: &Work, target: &Path) -> Result<(Option<f64>, usize)> {
    for dropped in 0..ATTEMPTS {
        let measured = measure_once(peer, work, target)
            .with_context(|| format!("{peer} failed to {} {}", work.name, work.n))?;
        if measured.stretch.is_none_or(|stretch| stretch <= PREEMPTED) {
            return Ok((Some(measured.value), dropped));
        }
    }
    Ok((None, ATTEMPTS))
}

fn measure_once(peer: &str, work: &Work, target: &Path) -> Result<Measured> {
    let this = env::current_exe()?;
    let n = work.n.to_string();
    let mut command = match work.name {
        "first_200" => {
            let server = match peer {
                "bare" => this.with_file_name("bare_axum"),
                _ => target.join("release/minimal"),
            };
            return first_200::measure(&server);
        }
        "heap" | "allocations" => Command::new(this.with_file_name("counted")),
        _ => {
            let mut command = Command::new(this);
            command.arg("measure");
            command
        }
    };
    let output = command.args([peer, work.name, &n]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
