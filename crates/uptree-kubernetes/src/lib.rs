//! Manifests for Kubernetes: what they say of a service.
//!
//! [`workloads`] reads one as Kubernetes does, its defaults filled in.

mod pod;
mod yaml;

pub use pod::{Container, Handler, Port, PreStop, Probe, Share, Variable, Workload, workloads};
pub use yaml::ReadError;
