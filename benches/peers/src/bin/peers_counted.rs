//! Measures like `peers`, with an allocator that counts.

use std::alloc::System;

use anyhow::Result;
use bench::{Ask, counting, program};
use bench_peers::PEERS;
use clap::Parser;
use stats_alloc::StatsAlloc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = counting::ALLOCATOR;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    ask: Ask,
}

fn main() -> Result<()> {
    let Cli { ask } = Cli::parse();
    program::answer(&ask, PEERS, counting::gauge(&ask.work))
}
