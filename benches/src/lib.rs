//! Uptree's figures, against bare tokio, OTP and other supervisors doing the same work.
//!
//! A peer starts, restarts and stops children that are listed ([`Static`]) or started one by one
//! ([`Dynamic`]); [`measure()`] has it do one [`Work`] and says what that took. The program `bench`
//! runs each such measurement in a process of its own, in interleaved rounds; `counted` does the
//! same with an allocator that counts.
//!
//! Bare tokio and Uptree are the modules [`bare`] and [`uptree`]. The peers with dependencies of
//! their own are in the package `bench-peers`, OTP is in `otp/supervision.erl`.

pub mod bare;
pub mod child;
pub mod counting;
pub mod measure;
pub mod meter;
pub mod peer;
pub mod program;
pub mod uptree;
pub mod work;

pub use measure::measure;
pub use meter::Measured;
pub use peer::{Cannot, Dynamic, List, Static, Strategy};
pub use program::{Ask, Peers};
pub use work::{Work, works};

/// The peers of the program `bench`.
pub const PEERS: Peers = &[
    ("bare", measure::<bare::List, bare::Dynamic>),
    ("uptree", measure::<uptree::List, uptree::Dynamic>),
];
