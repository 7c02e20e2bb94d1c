//! The decisions of an OTP-style supervisor: no tasks, no clock, no I/O.
//!
//! [`Supervisor`] is told what happened and when ([`Event`]) and answers with at most one thing to
//! do next ([`Action`]). Whoever owns the tasks does that thing and reports back with the next
//! event. This crate knows neither what a child is nor how it is stopped: a child is an index in
//! the start order, and an exit is one of five kinds.
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

mod intensity;
mod restart;
mod spec;
mod strategy;
mod supervisor;

pub use intensity::Intensity;
pub use restart::{Exit, Restart};
pub use spec::{ChildType, Shutdown, Spec};
pub use strategy::Strategy;
pub use supervisor::{Action, Event, Incarnation, Index, Note, Outcome, Supervisor};
