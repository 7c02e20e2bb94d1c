//! What a peer is asked to do.

use anyhow::Context;

use crate::{child::Role, meter::Measured, work};

/// Does a work by its name, with so many children, and reads a gauge if it is about memory.
pub type Measure = fn(&str, usize, fn() -> u64) -> Measured;

/// The peers by name; the first is what the others are held against.
pub const PEERS: &[(&str, Measure)] = &[
    ("bare", work::measure::<crate::bare::Bare>),
    ("uptree", work::measure::<crate::uptree::Uptree>),
];

/// Has the peer called `name` do the work called `work`, and prints what it measured for the
/// program that asked.
pub fn measure(name: &str, work: &str, n: usize, gauge: fn() -> u64) -> anyhow::Result<()> {
    let peer = PEERS.iter().find(|(peer, _)| *peer == name);
    let (_, measure) = peer.with_context(|| format!("no peer is called {name}"))?;
    println!("{}", serde_json::to_string(&measure(work, n, gauge))?);
    Ok(())
}

/// A way to supervise children.
pub trait Peer: Sized + Send + 'static {
    /// The children as a user of it would list them.
    type Specs: Send;

    /// Writes the list down: before the clock runs.
    fn specs(list: List) -> Self::Specs;

    /// Starts the children in order, each when the one before is ready.
    fn start(specs: Self::Specs) -> impl Future<Output = Self> + Send;

    /// Restarts what crashes, `crashes` times.
    fn supervise(&mut self, crashes: usize) -> impl Future<Output = ()> + Send;

    /// Stops the children, last started first, each when the one after is gone.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// An ordered list of children, and how they are supervised.
pub struct List {
    /// What each of them does, in start order.
    pub roles: Vec<Role>,
    /// Who is restarted with a child that crashes.
    pub strategy: Strategy,
    /// Whether the restart limit looks back on the whole run, rather than on a second.
    pub long_window: bool,
}

/// Who is restarted with a child that crashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strategy {
    /// It alone.
    OneForOne,
    /// All of them.
    OneForAll,
    /// It and those after it.
    RestForOne,
}
