//! Other supervisors for tokio, each doing what [`bench::measure()`] asks as its documentation says
//! to do it, with restart limits that are never reached.
//!
//! What one of them cannot do is left out here, and said in the runner's list of peers.

mod kameo;
mod ractor;
mod supervised;
mod task_supervisor;
mod tokio_graceful_shutdown;

use bench::{Cannot, Peers, measure};

/// The peers of the program `peers`.
pub const PEERS: Peers = &[
    ("ractor", measure::<ractor::List, ractor::Dynamic>),
    ("kameo", measure::<kameo::Kameo, kameo::Kameo>),
    (
        "task-supervisor",
        measure::<task_supervisor::Tasks, task_supervisor::Tasks>,
    ),
    ("supervised", measure::<supervised::Supervised, Cannot>),
    (
        "tokio-graceful-shutdown",
        measure::<tokio_graceful_shutdown::Subsystems, tokio_graceful_shutdown::Subsystems>,
    ),
];
