//! What children say of themselves to those who plan where the service runs: types that crates of
//! children and crates of commands share, so that they need not know each other.

use std::{net::SocketAddr, time::Duration};

/// A [fact](crate::Child::facts): the child listens, and answers the probes there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listens {
    /// At this address.
    pub addr: SocketAddr,
    /// Whether by TLS.
    pub tls: bool,
}

/// A [fact](crate::Child::facts): at a stop the child lets requests come to their end, first of
/// all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drains {
    /// For how long requests are served as always, while the probes say that there shall be no more.
    pub delay: Duration,
    /// What the delay is in Kubernetes, if it is not set.
    pub delay_in_kubernetes: Duration,
    /// How long requests in flight have after that.
    pub limit: Duration,
}

/// A [fact](crate::Child::facts): the child's start changes a schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Migrates {
    /// Whether it does so itself, rather than wait for another.
    pub applies: bool,
    /// How long it may be without progress while others hold a lock that it needs.
    pub longest_wait: Duration,
}
