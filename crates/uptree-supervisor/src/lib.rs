//! OTP-style supervision of tokio tasks.
//!
//! A [`Supervisor`] is an ordered list of children. They start one after the other, each when the
//! one before is ready; they are restarted by OTP's strategies; they stop in reverse. What to do
//! next is decided by [`uptree_core`]; this crate owns the tasks and does it.
//!
//! Other supervisors are children in such a list: [`parallel`] starts a group together, a
//! [`DynamicSupervisor`] begins empty and is given children by calls, a [`TaskSupervisor`] is given
//! futures, and a [`PartitionSupervisor`] has copies of one child and leads a key to one of them.
//!
//! # Examples
//!
//! ```
//! use uptree_supervisor::{Context, Result, StopCause, Strategy, Supervisor, worker};
//!
//! async fn pump(name: &'static str, cx: Context) -> Result {
//!     println!("{name} runs as {}", cx.path());
//!     cx.shutdown().await;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result {
//! let mut tree = Supervisor::new("plant")
//!     .strategy(Strategy::RestForOne)
//!     .child(worker("intake", "first", pump))
//!     .child(worker("outlet", "second", pump))
//!     .start()
//!     .await?;
//! tree.stop(StopCause::Shutdown);
//! tree.wait().await?;
//! # Ok(())
//! # }
//! ```

mod budget;
mod call;
mod child;
mod control;
mod driver;
mod dynamic;
mod error;
mod event;
mod exit;
mod flight;
mod function;
mod inbox;
mod incarnation;
mod log;
mod machine;
mod parallel;
mod partition;
#[cfg(any(test, feature = "test-util"))]
mod pause;
mod scope;
mod slot;
mod span;
mod spec;
mod state;
mod supervision;
mod supervisor;
mod task;
mod tasks;
mod tree;
mod worker;

pub use child::{Child, Context, Fact, Starting};
pub use control::{ChildInfo, ChildRef, ControlError, Started};
pub use dynamic::DynamicSupervisor;
pub use error::{Fault, Help, ListError, StartError, TreeError, help};
pub use event::{Event, EventKind, Observer};
pub use exit::{ExitReason, ExitWith, Lost, Stop};
pub use function::{FnChild, once, service, worker};
pub use incarnation::StopCause;
pub use log::Log;
pub use parallel::{Parallel, parallel};
pub use partition::PartitionSupervisor;
#[cfg(any(test, feature = "test-util"))]
pub use pause::Pause;
pub use scope::{ChildState, Snapshot};
pub use slot::{AlreadyPublished, Published, Slot, Unavailable};
pub use spec::{ChildSpec, IntoChild, Options};
pub use state::TreeOptions;
pub use supervision::Supervision;
pub use supervisor::Supervisor;
pub use tasks::{Task, TaskError, TaskSupervisor};
pub use tree::{Stopper, Tree};
pub use uptree_core::{
    AutoShutdown, Backoff, ChildType, Counts, Restart, Shutdown, Status, Strategy,
};
pub use worker::{ChildPath, Polling, current, polling};

/// Any error: what a child may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a child returns.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;
