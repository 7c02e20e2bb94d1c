//! A process as a supervision tree: signals, exit codes, the stop budget, settings and logs.
//!
//! [`main`] is all that a service's `main` needs; [`main_with`] adds [`Command`]s to its binary. [`App`] is the root of the tree; its
//! [`run_until`](App::run_until) is for tests and for a runtime of one's own. Everything of
//! [`uptree_supervisor`] is here too, so that a crate with children of its own depends on this one
//! alone.

mod app;
mod cli;
mod command;
mod exit;
mod facts;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod logs;
mod metrics;
mod monitor;
mod plan;
mod process;
mod report;
mod setting;
pub mod settings;
mod signals;
#[cfg_attr(not(unix), path = "systemd/nowhere.rs")]
mod systemd;
mod watchdog;

pub use app::App;
pub use command::{Built, Command, CommandContext, CommandFuture, run_command};
pub use exit::{Exit, chain};
pub use facts::{Drains, Listens, Migrates};
pub use health::{CheckState, HealthCheck, Missing, Readiness, ReadinessWatch};
pub use logs::{LogFormat, log_layer};
pub use monitor::{
    Happened, JournalEntry, Measuring, Monitor, ProgressRecord, Spans, StartOutcome, StartRecord,
    StepRecord, Timeline, TreeNode,
};
pub use plan::Plan;
pub use process::{main, main_with};
pub use setting::Setting;
pub use settings::{ProcessSettings, StallLimit};
pub use signals::Signal;
pub use uptree_supervisor::*;
pub use watchdog::{Accepting, Blocked, Guard, Stall, StallCause};
