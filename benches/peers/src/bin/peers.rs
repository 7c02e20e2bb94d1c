//! Measures like `bench measure`, with peers that have dependencies of their own.

use anyhow::Result;
use bench::{Ask, meter::resident, program};
use bench_peers::PEERS;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    ask: Ask,
}

fn main() -> Result<()> {
    program::answer(&Cli::parse().ask, PEERS, resident)
}
