//! A kubelet, and what else of Kubernetes a pod has to do with.
//!
//! | | |
//! |---|---|
//! | [`Pod`] | one container: run, probed, killed and run again as a kubelet does it |
//! | [`PodSpec`] | what it is to be, in words or as a manifest has it |
//! | [`Probe`] | what is asked, how often, and how many answers make a verdict |
//! | [`Endpoints`] | which pods a Service's connections go to; whoever connects learns of a change with a lag |
//! | [`Deployment`] | replicas, and the rolling update of them |
//!
//! The timing is that of a real kubelet, as it was seen and as its source has it: the startup probe
//! holds back the others; each probe is a new connection, the first at once, then one every period; a
//! bad verdict on liveness runs the preStop hook, sends SIGTERM, waits for what is left of the grace
//! and sends SIGKILL; meanwhile readiness is asked on, and liveness is not; the first restart is at
//! once, later ones wait. A pod that is deleted leaves the endpoints while it gets its SIGTERM, not
//! before.
//!
//! Differences: there is no random delay before a probe's first question, and a probe's timeout is for
//! each wait on its connection.

mod container;
mod deployment;
mod endpoints;
mod manifest;
mod pod;
mod probe;
mod status;

pub use self::deployment::Deployment;
pub use self::endpoints::Endpoints;
pub use self::pod::{Pod, PodSpec, PreStop};
pub use self::probe::{Kind, Probe};
pub use self::status::{Event, Status};
