//! Which pods the connections to a Service go to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::load::Target;

/// A Service's endpoints, as they are known where connections are made.
///
/// Kubernetes tells every node's kube-proxy of a change, which takes it time. A connection goes to
/// the pod that it was opened to for as long as it lasts, as with kube-proxy: nobody stands between.
#[derive(Clone, Debug)]
pub struct Endpoints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lag: Duration,
    /// What has been told of each, and when.
    told: Mutex<HashMap<SocketAddr, Vec<(Instant, bool)>>>,
    next: AtomicUsize,
}

impl Endpoints {
    /// No endpoint yet; of a change, who connects knows so much later.
    pub fn new(lag: Duration) -> Self {
        let shared = Shared {
            lag,
            told: Mutex::default(),
            next: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Tells that an address is to get connections from now on, or is not.
    pub(super) fn tell(&self, addr: SocketAddr, ready: bool) {
        let told = self.shared.told.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        let changes = told.entry(addr).or_default();
        if changes.last().is_none_or(|(_, last)| *last != ready) {
            changes.push((Instant::now(), ready));
        }
    }

    /// The addresses that connections go to now.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        let told = self.shared.told.lock();
        let told = told.unwrap_or_else(PoisonError::into_inner);
        let known = |changes: &Vec<(Instant, bool)>| {
            let mut changes = changes.iter().rev();
            let last = changes.find(|(at, _)| at.elapsed() >= self.shared.lag);
            last.is_some_and(|(_, ready)| *ready)
        };
        let mut addrs: Vec<_> = told
            .iter()
            .filter(|(_, changes)| known(changes))
            .map(|(addr, _)| *addr)
            .collect();
        addrs.sort();
        addrs
    }
}

/// One after the other.
impl Target for Endpoints {
    fn addr(&self) -> Option<SocketAddr> {
        let addrs = self.addrs();
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed);
        addrs.get(next.checked_rem(addrs.len())?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eventually, free_addr};

    #[test]
    fn connections_go_to_all_that_are_ready_in_turn() {
        let endpoints = Endpoints::new(Duration::ZERO);
        assert_eq!(endpoints.addr(), None);
        let [one, other, third] = [(); 3].map(|()| free_addr());
        for (addr, ready) in [(one, true), (other, true), (third, true), (third, false)] {
            endpoints.tell(addr, ready);
        }
        let mut got = [(); 4].map(|()| endpoints.addr().expect("there are two"));
        assert_eq!(got[..2], got[2..]);
        got[..2].sort();
        let mut both = [one, other];
        both.sort();
        assert_eq!(got[..2], both);
    }

    #[test]
    fn a_change_is_known_after_the_lag_and_not_before() {
        let lag = Duration::from_millis(200);
        let endpoints = Endpoints::new(lag);
        let addr = free_addr();
        let told = Instant::now();
        endpoints.tell(addr, true);
        eventually(Duration::from_secs(10), || endpoints.addr());
        assert!(told.elapsed() >= lag);
        let told = Instant::now();
        endpoints.tell(addr, false);
        eventually(Duration::from_secs(10), || {
            endpoints.addr().is_none().then_some(())
        });
        assert!(told.elapsed() >= lag);
    }
}
