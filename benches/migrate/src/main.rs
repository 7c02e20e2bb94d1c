//! `cargo xtask bench migrate`: rounds of every migrator on a Postgres of our own, through a proxy
//! that counts round trips and makes them long.

mod chart;
mod databases;
mod herd;
mod peers;
mod report;
mod works;

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::{
    databases::Databases,
    herd::Run,
    peers::Ask,
    works::{SYSTEMS, System, WORKS, Work},
};

/// Measures Uptree's migrator against sqlx's and refinery
///
/// Every migrator is a process of its own, and a herd is many. The round trips are those through a
/// proxy before the server: what a client says until the server says something counts as one, the
/// login excluded. The time is from the first message after the login to the end of the migrator;
/// a herd's is from a common start, logins included, to the last one's end. Every round runs every
/// migrator once for each work, in rotating order. `bare` is no migrator: it reads the ledger.
#[derive(Parser)]
#[command(
    name = "cargo xtask bench migrate",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only the small sizes, 0 and 5 ms, and two rounds
    #[arg(long)]
    quick: bool,
    /// Only these works
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = WORKS.map(|it| it.name))]
    work: Vec<String>,
    /// Only these migrators
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = SYSTEMS.map(|it| it.name))]
    system: Vec<String>,
    /// Only so many migrations, or processes
    #[arg(long, num_args = 1.., value_name = "N")]
    n: Vec<usize>,
    /// Only with so many milliseconds added to a round trip
    #[arg(long, num_args = 1.., value_name = "MS", default_values_t = [0, 1, 5])]
    rtt: Vec<u64>,
    /// The project's target folder
    #[arg(long, hide = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))]
    target: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Migrate one database, when the input ends
    #[command(hide = true)]
    Peer(Ask),
}

/// A migrator that has used this much time for a row takes no part in its further rounds.
const SHARE: Duration = Duration::from_secs(30);

/// One work in one size and one distance.
struct Row {
    work: &'static Work,
    n: usize,
    rtt: u64,
    cells: Vec<Cell>,
}

/// One migrator's runs.
struct Cell {
    system: &'static System,
    runs: Vec<Run>,
    spent: Duration,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Peer(ask)) = cli.command {
        return ask.run();
    }
    let mut rows = cli.rows();
    anyhow::ensure!(!rows.is_empty(), "no work is measured like that");
    let databases = Databases::start().context("a server of Postgres is needed")?;
    let rounds = if cli.quick { 2 } else { cli.rounds };
    for round in 0..rounds {
        let all = rows.len();
        for (i, row) in rows.iter_mut().enumerate() {
            let systems = row.cells.len();
            for cell in (0..systems).map(|cell| (cell + round) % systems) {
                row.say(round, rounds, (i, all), cell);
                row.measure(cell, &databases)?;
            }
        }
    }
    clear();
    report::print(&rows);
    let folder = cli.target.join("bench");
    report::write(&rows, &folder.join("migrate.json"))?;
    chart::write(&rows, &folder.join("migrate.svg"))
}

impl Cli {
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for work in &WORKS {
            for &rtt in &self.rtt {
                for &n in work.sizes {
                    let wanted = within(&self.work, &work.name.to_owned()) && within(&self.n, &n);
                    if !wanted || self.quick && (rtt == 1 || n > work.quick) {
                        continue;
                    }
                    let systems = SYSTEMS.iter().filter(|it| it.does(work));
                    let systems = systems.filter(|it| within(&self.system, &it.name.to_owned()));
                    let cells = systems.map(Cell::new).collect();
                    rows.push(Row {
                        work,
                        n,
                        rtt,
                        cells,
                    });
                }
            }
        }
        rows
    }
}

/// Whether it is wanted; everything is, if nothing was said.
fn within<T: PartialEq>(wanted: &[T], it: &T) -> bool {
    wanted.is_empty() || wanted.contains(it)
}

impl Cell {
    fn new(system: &'static System) -> Self {
        Self {
            system,
            runs: Vec::new(),
            spent: Duration::ZERO,
        }
    }
}

impl Row {
    fn measure(&mut self, cell: usize, databases: &Databases) -> Result<()> {
        let cell = &mut self.cells[cell];
        if cell.spent > SHARE {
            return Ok(());
        }
        let job = databases.prepare(cell.system, self.work, self.n)?;
        let began = Instant::now();
        let run = herd::run(&job, databases.addr(), Duration::from_millis(self.rtt))?;
        cell.spent += began.elapsed();
        cell.runs.push(run);
        Ok(())
    }

    /// Where it is, on a terminal.
    fn say(&self, round: usize, rounds: usize, (i, all): (usize, usize), cell: usize) {
        if stderr().is_terminal() {
            let Self { work, n, rtt, .. } = self;
            let (name, system) = (work.name, self.cells[cell].system.name);
            let (round, i) = (round + 1, i + 1);
            eprint!("\r\x1b[Kround {round}/{rounds}, {i}/{all}: {name} {n} at {rtt} ms, {system}");
            _ = stderr().flush();
        }
    }
}

fn clear() {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// The rows of a work at a distance, by what the table is about.
fn tables(rows: &[Row]) -> BTreeMap<(usize, u64), Vec<&Row>> {
    let mut tables: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        let work = WORKS.iter().position(|it| it.name == row.work.name);
        let key = (work.unwrap_or_default(), row.rtt);
        tables.entry(key).or_default().push(row);
    }
    tables
}
