//! A program that measures one thing and ends: the same command line for each of them.

use anyhow::{Context, Result};

use crate::meter::Measured;

/// What is to be measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Ask {
    /// With whom
    pub peer: String,
    /// What
    pub work: String,
    /// How many children; where one crashes, how many siblings it has
    pub n: usize,
    /// How many worker threads
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// How often, where the work can be done more or less often
    #[arg(long)]
    pub ops: Option<usize>,
}

/// Reads how much there is, of what the work is about.
pub type Gauge = fn() -> u64;

/// Peers by name, and how each is measured.
pub type Peers = &'static [(&'static str, fn(&Ask, Gauge) -> Measured)];

/// Measures, and prints the figure for the program that asked.
///
/// # Errors
/// If no such peer is here.
pub fn answer(ask: &Ask, peers: Peers, gauge: Gauge) -> Result<()> {
    let peer = peers.iter().find(|(name, _)| *name == ask.peer);
    let (_, measure) = peer.with_context(|| format!("no peer is called {}", ask.peer))?;
    println!("{}", serde_json::to_string(&measure(ask, gauge))?);
    Ok(())
}
