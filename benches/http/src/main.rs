//! `cargo xtask bench http`: interleaved rounds of Uptree's endpoint, bare axum and bare hyper.

mod first_200;
mod instructions;
mod load;
mod report;
mod server;

use std::{
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Result;
use bench::meter::micros;
use clap::Parser;

use crate::{
    load::Load,
    report::Row,
    server::{PEERS, Peer, Server},
};

/// Measures Uptree's endpoint against bare axum and bare hyper
///
/// Every round starts the servers anew, each a process of its own, and loads them one after the
/// other, in rotating order, for every work and number of connections. The client keeps its
/// connections and asks again on each as soon as it is answered. Processor time is the server's
/// alone, the kernel's part included. From exec to the first 200, `examples/minimal` is measured.
#[derive(Parser)]
#[command(name = "cargo xtask bench http")]
struct Cli {
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 15)]
    rounds: usize,
    /// Only these works
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = [FIRST_200].into_iter().chain(WORKS.map(|it| it.name)).collect::<Vec<_>>())]
    work: Vec<String>,
    /// Only with so many connections
    #[arg(long, num_args = 1.., value_name = "N", default_values_t = [1, 32, 256])]
    connections: Vec<usize>,
    /// For how long each server is loaded, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 250)]
    stretch: u64,
    /// How many worker threads a server has. By default as many as there are processors, less one
    /// for the client
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Count instructions for each request instead, by valgrind
    #[arg(long)]
    instructions: bool,
    /// The project's target folder
    #[arg(long, hide = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))]
    target: PathBuf,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq)]
struct Work {
    name: &'static str,
    path: &'static str,
}

const WORKS: [Work; 3] = [
    Work {
        name: "alive",
        path: "/alive",
    },
    Work {
        name: "ready",
        path: "/ready",
    },
    Work {
        name: "route",
        path: "/hello",
    },
];

const FIRST_200: &str = "first_200";

/// How long a server is loaded before it is measured.
const WARM: Duration = Duration::from_millis(40);

/// How many starts a round has: one takes milliseconds.
const STARTS: usize = 5;

/// What is measured of a loaded server, and of a start.
const LOADED: [&str; 3] = [
    "requests/s",
    "us of processor time a request",
    "us at the 99th percentile",
];
const STARTED: [&str; 2] = ["ms", "ms of processor time"];

/// One work with so many connections, and what came of it.
struct Case {
    work: Work,
    connections: usize,
    rows: [Row; 3],
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let works = WORKS.into_iter().filter(|it| cli.wants(it.name));
    if cli.instructions {
        return instructions::run(works);
    }
    let sizes = |work| cli.connections.iter().map(move |n| Case::new(work, *n));
    let mut cases: Vec<_> = works.flat_map(sizes).collect();
    let mut starts = STARTED.map(|unit| Row::new(FIRST_200, 1, unit));
    for round in 0..cli.rounds {
        if !cases.is_empty() {
            cli.round(round, &mut cases)?;
        }
        if cli.wants(FIRST_200) {
            cli.starts(round, &mut starts)?;
        }
    }
    clear();
    let rows = cases.into_iter().flat_map(|case| case.rows);
    let rows: Vec<_> = rows.chain(starts).collect();
    report::print(&rows);
    report::write(&rows, &cli.target.join("bench/http.json"))
}

impl Cli {
    fn wants(&self, work: &str) -> bool {
        self.work.is_empty() || self.work.iter().any(|it| it == work)
    }

    fn threads(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, Into::into);
        self.threads.unwrap_or(processors.saturating_sub(1).max(1))
    }

    fn round(&self, round: usize, cases: &mut [Case]) -> Result<()> {
        let start = |peer: Peer| {
            let mut command = Command::new(peer.program()?);
            Server::ready(command.stderr(Stdio::null()), self.threads())
        };
        let servers = PEERS.map(start).into_iter().collect::<Result<Vec<_>>>()?;
        for (i, case) in cases.iter_mut().enumerate() {
            // Nobody is always the one who comes after a certain other.
            for at in (0..PEERS.len()).map(|at| (at + i + round) % PEERS.len()) {
                self.say(round, case.work.name, PEERS[at]);
                case.measure(at, &servers[at], Duration::from_millis(self.stretch))?;
            }
        }
        Ok(())
    }

    /// Some starts of each.
    fn starts(&self, round: usize, rows: &mut [Row]) -> Result<()> {
        let minimal = self.target.join("release/minimal");
        let programs = [(PEERS[0], PEERS[0].program()?), (PEERS[2], minimal)];
        for start in 0..STARTS {
            for at in (0..programs.len()).map(|at| (at + start) % programs.len()) {
                let (peer, program) = &programs[at];
                self.say(round, FIRST_200, *peer);
                for (row, value) in rows.iter_mut().zip(first_200::measure(program)?) {
                    row.push(*peer, value);
                }
            }
        }
        Ok(())
    }

    /// Where it is, on a terminal.
    fn say(&self, round: usize, work: &str, peer: Peer) {
        if stderr().is_terminal() {
            let (round, rounds) = (round + 1, self.rounds);
            eprint!("\r\x1b[Kround {round}/{rounds}: {work} {}", peer.name);
            _ = stderr().flush();
        }
    }
}

impl Case {
    fn new(work: Work, connections: usize) -> Self {
        let rows = LOADED.map(|unit| Row::new(work.name, connections, unit));
        Self {
            work,
            connections,
            rows,
        }
    }

    fn measure(&mut self, peer: usize, server: &Server, time: Duration) -> Result<()> {
        let mut load = Load::open(server.addr, self.work.path, self.connections)?;
        load.run(WARM)?;
        let before = server.processor_time()?;
        let mut stretch = load.run(time)?;
        let used = server.processor_time()?.saturating_sub(before);
        let processor = micros(used) / stretch.requests as f64;
        let values = [stretch.per_second(), processor, stretch.p99()];
        for (row, value) in self.rows.iter_mut().zip(values) {
            row.push(PEERS[peer], value);
        }
        Ok(())
    }
}

fn clear() {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
