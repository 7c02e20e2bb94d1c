//! Gauges for a program whose global allocator is [`ALLOCATOR`].

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::program::Gauge;

/// The system's allocator, counting.
pub static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is read for the work of this name.
pub fn gauge(work: &str) -> Gauge {
    match work.starts_with("allocations") {
        true => calls,
        false => live,
    }
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
