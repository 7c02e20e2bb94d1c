//! Measures like `bench measure`, with an allocator that counts: `counted PEER WORK N`.

use std::{alloc::System, env};

use anyhow::{Context, Result};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let mut next = || args.next().context("usage: counted PEER WORK N");
    let (peer, work, n) = (next()?, next()?, next()?);
    let gauge = if work == "allocations" { calls } else { live };
    bench::measure(&peer, &work, n.parse()?, gauge)
}

/// How often memory was asked for.
fn calls() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

/// The bytes that are in use.
fn live() -> u64 {
    let stats = ALLOCATOR.stats();
    // A reallocation is counted with the others here, by how much it grew or shrank.
    (stats.bytes_allocated - stats.bytes_deallocated) as u64
}
