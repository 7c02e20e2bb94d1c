//! The decisions of an OTP-style supervisor: no tasks, no clock, no I/O.
//!
//! [`Supervisor`], whose children are ordered, and [`DynamicSupervisor`], whose children are not,
//! are told what happened and when ([`Event`]) and answer with at most one thing to do next
//! ([`Action`]). Whoever owns the tasks does that thing and reports back with the next event;
//! [`Event::Done`] asks whether there is more to do at once. When a call has its turn
//! ([`Action::Serve`]) it is served by the machine's own methods. This crate knows neither what a
//! child is nor how it is stopped: a child is a slot, and an exit is one of five kinds.
//!
//! # Examples
//!
//! A pool and a worker under `rest_for_one`; the pool crashes:
//!
//! ```
//! use std::time::Duration;
//! use uptree_core::{Action, Event, Exit, Incarnation, Intensity, Spec, Strategy, Supervisor};
//!
//! let intensity = Intensity::new(3, Duration::from_secs(5));
//! let specs = [Spec::default(); 2];
//! let mut supervisor = Supervisor::new(Strategy::RestForOne, intensity, specs);
//! let mut step = |event, secs| supervisor.step(event, Duration::from_secs(secs), &mut |_note| ());
//!
//! let [pool, worker] = [Incarnation::first(0), Incarnation::first(1)];
//! assert_eq!(step(Event::Boot, 0), Some(Action::Start(pool)));
//! assert_eq!(step(Event::Started(pool), 1), Some(Action::Start(worker)));
//! assert_eq!(step(Event::Started(worker), 2), None);
//! // What was started after the pool goes down before the pool is started again.
//! assert_eq!(step(Event::Exited(pool, Exit::Abnormal), 9), Some(Action::Stop(worker)));
//! assert_eq!(step(Event::Exited(worker, Exit::Shutdown), 9), Some(Action::Start(pool.next())));
//! ```

mod backoff;
mod child;
mod dynamic;
mod intensity;
mod order;
mod restart;
mod spec;
mod step;
mod strategy;
mod supervisor;
#[cfg(test)]
mod testing;

pub use backoff::Backoff;
pub use dynamic::DynamicSupervisor;
pub use intensity::Intensity;
pub use restart::{Exit, Restart};
pub use spec::{AutoShutdown, ChildType, Shutdown, Spec};
pub use step::{Action, Counts, Event, Incarnation, Index, Note, Outcome, Refusal, Status};
pub use strategy::{Affected, Strategy};
pub use supervisor::Supervisor;
