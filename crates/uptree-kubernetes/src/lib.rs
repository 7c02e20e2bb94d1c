//! Kubernetes manifests: made from a service's tree, and held against it.
//!
//! [`Manifest`] and [`Check`] are commands of a service's binary. Both take their numbers from the
//! tree, by the same formulas: so what the one prints the other accepts. [`workloads`] reads a
//! manifest as Kubernetes does, its defaults filled in.
//!
//! This crate does not know the kinds of children. It knows what they say of themselves:
//! [`Listens`](uptree_app::Listens), [`Drains`](uptree_app::Drains),
//! [`Migrates`](uptree_app::Migrates).

mod check;
mod commands;
mod draft;
mod objects;
mod pod;
mod service;
mod sheet;
mod yaml;

pub use commands::{Check, Manifest};
pub use pod::{Container, Handler, Port, PreStop, Probe, Share, Variable, Workload, workloads};
pub use yaml::ReadError;
