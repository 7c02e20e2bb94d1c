//! Replicas of a pod, and the rolling update of them.

use std::time::Duration;

use super::{Endpoints, Pod, PodSpec};

/// Replicas behind a Service, updated with `maxSurge: 1` and `maxUnavailable: 0`.
pub struct Deployment {
    endpoints: Endpoints,
    pods: Vec<Pod>,
    /// How long a pod may take to be ready.
    patience: Duration,
}

impl Deployment {
    /// So many replicas; returns when all of them are ready.
    ///
    /// Fails the test when one takes longer than its patience for it.
    #[track_caller]
    pub fn start(
        endpoints: &Endpoints,
        replicas: usize,
        patience: Duration,
        template: impl Fn() -> PodSpec,
    ) -> Self {
        let start = |_| Pod::start_behind(endpoints, template());
        let pods: Vec<_> = (0..replicas).map(start).collect();
        for pod in &pods {
            pod.wait_until(patience, |status| status.ready);
        }
        Self {
            endpoints: endpoints.clone(),
            pods,
            patience,
        }
    }

    /// The replicas.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Replaces each replica: a new one is started, and when it is ready an old one is deleted. Returns
    /// the old ones when they are gone.
    ///
    /// Fails the test when one is not ready in time.
    #[track_caller]
    pub fn roll(&mut self, template: impl Fn() -> PodSpec) -> Vec<Pod> {
        let mut old = Vec::new();
        for pod in &mut self.pods {
            let new = Pod::start_behind(&self.endpoints, template());
            new.wait_until(self.patience, |status| status.ready);
            // Nobody waits for it to be gone: it has left the replicas when it is deleted.
            pod.delete();
            old.push(std::mem::replace(pod, new));
        }
        for pod in &old {
            let longest = pod.grace() + self.patience;
            pod.wait_until(longest, |status| status.gone);
        }
        old
    }
}
