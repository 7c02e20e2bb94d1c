//! The watchdog: sees from outside the runtime what keeps it from working.

mod calls;
mod guard;
mod pulse;
mod watched;

pub use self::{
    guard::{Accepting, Guard},
    watched::{Blocked, Stall, StallCause},
};
pub(crate) use self::{pulse::Pulse, watched::Watched};
