//! A pod: a container that is run again whenever it ends.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::container::{Container, LOOK};
use super::endpoints::Endpoints;
use super::probe::Probe;
use super::status::{Event, Shared, Status};
use crate::Service;

/// The first restart is at once, the second after this, each further one after twice as long.
const BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// What a pod is to be: as much of it as a container can tell.
pub struct PodSpec {
    /// Where its container listens.
    pub addr: SocketAddr,
    /// Runs the container.
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Until it succeeds nothing else is asked.
    pub startup: Option<Probe>,
    /// Whether the container is to be killed.
    pub liveness: Option<Probe>,
    /// Whether the pod gets connections.
    pub readiness: Option<Probe>,
    /// Run before SIGTERM, in the time that the container has to end.
    pub pre_stop: Option<PreStop>,
    /// `terminationGracePeriodSeconds`. Defaults to 30 s.
    pub grace: Duration,
}

/// A `preStop` hook.
#[derive(Clone, Debug)]
pub enum PreStop {
    /// It waits.
    Sleep(Duration),
    /// It asks the container for this path.
    Get(String),
}

impl PodSpec {
    /// A container without probes.
    pub fn new(addr: SocketAddr, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self {
            addr,
            command: Box::new(command),
            startup: None,
            liveness: None,
            readiness: None,
            pre_stop: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// A pod, and the kubelet's part that cares for it.
///
/// Dropped, its container is killed.
pub struct Pod {
    own: Arc<Own>,
    worker: Option<JoinHandle<()>>,
}

/// What the pod's threads share.
pub(super) struct Own {
    pub(super) spec: PodSpec,
    pub(super) shared: Shared,
    endpoints: Option<Endpoints>,
    /// All that were run, in order.
    processes: Mutex<Vec<Arc<Mutex<Service>>>>,
}

impl Own {
    pub(super) fn keep(&self, process: Service) -> Arc<Mutex<Service>> {
        let process = Arc::new(Mutex::new(process));
        self.all().push(Arc::clone(&process));
        process
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Mutex<Service>>>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        if self.shared.get().ready == ready {
            return;
        }
        self.shared.note(Event::Ready(ready), |status| {
            status.ready = ready;
            self.tell(ready && !status.deleted);
        });
    }

    /// Tells the endpoints, while nothing else can change.
    fn tell(&self, ready: bool) {
        if let Some(endpoints) = &self.endpoints {
            endpoints.tell(self.spec.addr, ready);
        }
    }

    fn run(self: &Arc<Self>) {
        let is_over = |status: &Status| status.deleted || status.abandoned;
        let mut backoff = Duration::ZERO;
        for number in 0.. {
            Container::run(self, number);
            if self.shared.wait(backoff, is_over) {
                break;
            }
            backoff = (backoff * 2).clamp(BACKOFF, LONGEST_BACKOFF);
        }
        self.shared.change(|status| status.gone = true);
    }
}

impl Pod {
    /// Runs it.
    pub fn start(spec: PodSpec) -> Self {
        Self::of(spec, None)
    }

    /// Runs it as one of a Service's.
    pub fn start_behind(endpoints: &Endpoints, spec: PodSpec) -> Self {
        Self::of(spec, Some(endpoints.clone()))
    }

    fn of(spec: PodSpec, endpoints: Option<Endpoints>) -> Self {
        let own = Arc::new(Own {
            spec,
            shared: Shared::default(),
            endpoints,
            processes: Mutex::default(),
        });
        let worker = thread::spawn({
            let own = Arc::clone(&own);
            move || own.run()
        });
        Self {
            own,
            worker: Some(worker),
        }
    }

    /// Where its container listens.
    pub fn addr(&self) -> SocketAddr {
        self.own.spec.addr
    }

    /// How long its container has to end.
    pub(super) fn grace(&self) -> Duration {
        self.own.spec.grace
    }

    /// What is known of it now.
    pub fn status(&self) -> Status {
        self.own.shared.get().clone()
    }

    /// Waits until its status `is_it`, and returns that.
    ///
    /// Fails the test when the time is up, and at once when the kubelet itself has failed.
    #[track_caller]
    pub fn wait_until(&self, timeout: Duration, is_it: impl Fn(&Status) -> bool) -> Status {
        let shared = &self.own.shared;
        let deadline = Instant::now() + timeout;
        // What is looked at beside the status may change without it.
        while !shared.wait(LOOK, &is_it) {
            let status = self.status();
            let worker = self.worker.as_ref();
            let panicked = !status.gone && worker.is_none_or(JoinHandle::is_finished);
            assert!(!panicked, "its worker panicked: {status:#?}");
            assert!(
                Instant::now() < deadline,
                "not after {timeout:?}: {status:#?}"
            );
        }
        self.status()
    }

    /// Has it leave its endpoints and its container end, and returns at once.
    pub fn delete(&self) {
        self.own.shared.note(Event::Deleted, |status| {
            status.deleted = true;
            self.own.tell(false);
        });
    }

    /// What its container, or the last one, has written to stdout.
    pub fn log(&self) -> String {
        self.of_last(|process| process.stdout_lines().join("\n"))
    }

    /// What its containers have written to stderr, one after the other.
    pub fn stderr(&self) -> Vec<String> {
        let processes = self.own.all().clone();
        let stderr = |process: &Arc<Mutex<Service>>| {
            let process = process.lock().unwrap_or_else(PoisonError::into_inner);
            process.stderr()
        };
        processes.iter().map(stderr).collect()
    }

    fn of_last<T: Default>(&self, read: impl FnOnce(&Service) -> T) -> T {
        let last = self.own.all().last().cloned();
        let read = |process: Arc<Mutex<Service>>| {
            read(&process.lock().unwrap_or_else(PoisonError::into_inner))
        };
        last.map(read).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.own.shared.change(|status| status.abandoned = true);
        if let Some(worker) = self.worker.take() {
            let ended = worker.join();
            assert!(ended.is_ok() || thread::panicking(), "its worker panicked");
        }
    }
}
