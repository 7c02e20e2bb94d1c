//! The oracle: scenarios that were recorded on Erlang/OTP, replayed on the supervisors of Uptree.
//!
//! `SCENARIO.md` has the format. [`Rule`] has the deliberate differences.

mod compare;
mod diff;
mod player;
mod replay;
mod rules;
pub mod scenario;
pub mod trace;

pub use replay::{Difference, files, replay, scenarios};
pub use rules::Rule;
