//! Uptree's figures, against bare tokio doing the same work in the same run.
//!
//! A [`Peer`] starts, restarts and stops a list of children; [`work::measure`] has it do one
//! [`Work`] and says what that took. The program `bench` runs each such measurement in a process
//! of its own, in interleaved rounds; `counted` does the same with an allocator that counts.
//!
//! A peer in Rust is a module beside [`bare`] and [`uptree`], named in [`PEERS`].

pub mod bare;
pub mod child;
pub mod meter;
pub mod peer;
pub mod uptree;
pub mod work;

pub use peer::{List, PEERS, Peer, Strategy, measure};
pub use work::{WORKS, Work};
