//! One run of a pod's container: its process, its probes, its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::pod::{Own, PreStop};
use super::probe::{Kind, Probe, Tally};
use super::status::{Event, Status};
use crate::http::Connection;
use crate::{Ended, Service, Signal};

/// How often it is looked whether a process has ended.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// However long a preStop hook took, a container has this long between SIGTERM and SIGKILL.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Longer than a process takes to be gone once it is killed.
const GONE: Duration = Duration::from_secs(10);

/// A process of a pod's, and those who ask it.
pub(super) struct Container {
    pod: Arc<Own>,
    /// How many there were before.
    number: u32,
    process: Arc<Mutex<Service>>,
    began: Instant,
}

impl Container {
    /// Runs it to its end, whatever that comes from.
    pub(super) fn run(pod: &Arc<Own>, number: u32) {
        let process = Service::start(&mut (pod.spec.command)());
        let process = pod.keep(process);
        pod.shared.note(Event::Runs, |status| {
            status.restarts = number;
            status.started = pod.spec.startup.is_none();
            status.condemned = None;
        });
        let container = Arc::new(Self {
            pod: Arc::clone(pod),
            number,
            process,
            began: Instant::now(),
        });
        let probes = container.probes();
        container.watch();
        // Its output to the last line.
        let ended = container.lock().wait(GONE);
        pod.set_ready(false);
        pod.shared.note(Event::Ended(ended), |status| {
            status.started = false;
            status.over = number + 1;
        });
        for probe in probes {
            probe.join().expect("a probe does not panic");
        }
    }

    fn probes(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let spec = &self.pod.spec;
        if spec.readiness.is_none() {
            self.pod.set_ready(true);
        }
        let probes = [
            (Kind::Startup, &spec.startup),
            (Kind::Liveness, &spec.liveness),
            (Kind::Readiness, &spec.readiness),
        ];
        let asked = probes.into_iter().filter_map(|(kind, probe)| {
            let (container, probe) = (Arc::clone(self), probe.clone()?);
            Some(thread::spawn(move || container.ask_on(kind, &probe)))
        });
        asked.collect()
    }

    /// Asks, every period, for as long as it matters.
    fn ask_on(&self, kind: Kind, probe: &Probe) {
        let shared = &self.pod.shared;
        let is_over = |status: &Status| self.is_over(status, kind);
        if kind != Kind::Startup {
            while !shared.wait(GONE, |status| is_over(status) || status.started) {}
        }
        let mut next = (self.began + probe.initial_delay).max(Instant::now());
        let mut tally = Tally::new(probe);
        loop {
            let pause = next.saturating_duration_since(Instant::now());
            if shared.wait(pause, is_over) {
                return;
            }
            let answer = probe.ask(self.pod.spec.addr);
            if is_over(&shared.get()) {
                return;
            }
            let good = answer.is_ok();
            if let Err(why) = answer {
                shared.note(Event::Failed(kind, why), |_| {});
            }
            match (kind, tally.note(good)) {
                (_, None) | (Kind::Liveness, Some(true)) => {}
                (Kind::Startup, Some(true)) => {
                    shared.note(Event::Started, |status| status.started = true);
                    return;
                }
                (Kind::Startup | Kind::Liveness, Some(false)) => {
                    shared.change(|status| status.condemned = Some(kind));
                    return;
                }
                (Kind::Readiness, Some(ready)) => self.pod.set_ready(ready),
            }
            // Questions that an answer was too slow for are left out.
            while next <= Instant::now() {
                next += probe.period;
            }
        }
    }

    /// Whether the container is not to be asked any more.
    fn is_over(&self, status: &Status, kind: Kind) -> bool {
        let going = status.deleted || status.condemned.is_some();
        status.over > self.number || status.abandoned || (going && kind != Kind::Readiness)
    }

    /// Watches over the process until it has ended.
    fn watch(&self) {
        let shared = &self.pod.shared;
        while self.ended().is_none() {
            let going =
                |status: &Status| status.condemned.is_some() || status.deleted || status.abandoned;
            if shared.wait(LOOK, going) {
                let condemned = shared.get().condemned;
                if let Some(kind) = condemned {
                    shared.note(Event::Killing(kind), |_| {});
                }
                return self.end();
            }
        }
    }

    /// The preStop hook, SIGTERM, what is left of the grace, SIGKILL.
    fn end(&self) {
        let shared = &self.pod.shared;
        let began = Instant::now();
        let mut left = self.pod.spec.grace;
        if let Some(hook) = &self.pod.spec.pre_stop {
            shared.note(Event::PreStop, |_| {});
            self.run_hook(hook);
            left = left.saturating_sub(began.elapsed()).max(LEAST_GRACE);
        }
        if self.ended().is_none() {
            shared.note(Event::Term, |_| {});
            self.lock().signal(Signal::TERM);
        }
        if !self.ends_within(left) {
            shared.note(Event::Kill, |_| {});
            self.lock().signal(Signal::KILL);
        }
    }

    fn run_hook(&self, hook: &PreStop) {
        let grace = self.pod.spec.grace;
        match hook {
            PreStop::Sleep(time) => drop(self.ends_within((*time).min(grace))),
            PreStop::Get(path) => {
                let asked = Connection::open_within(self.pod.spec.addr, grace)
                    .and_then(|mut connection| connection.get(path));
                if let Err(error) = asked {
                    println!("preStop: GET {path}: {error}");
                }
            }
        }
    }

    /// Waits for its end; `false` if the time is up before.
    fn ends_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while self.ended().is_none() {
            if Instant::now() >= deadline || self.pod.shared.get().abandoned {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    fn ended(&self) -> Option<Ended> {
        self.lock().ended()
    }

    fn lock(&self) -> MutexGuard<'_, Service> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
