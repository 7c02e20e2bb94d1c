//! What of a service's tree matters to Kubernetes, and the numbers that follow from it: the one
//! place that both a new manifest and the check of an old one take them from.

use std::time::Duration;

use uptree_app::{Built, ChildSpec, Drains, Listens, Migrates, Supervision};

/// Between the end of the stop budget and SIGKILL: for the container to end.
pub(crate) const AFTER_STOP: Duration = Duration::from_secs(2);

/// How often it is asked whether the process lives.
pub(crate) const LIVENESS_PERIOD: Duration = Duration::from_secs(10);

/// How often it is asked whether it is ready.
pub(crate) const READINESS_PERIOD: Duration = Duration::from_secs(5);

/// How often it is asked at its start.
pub(crate) const STARTUP_PERIOD: Duration = Duration::from_secs(1);

/// A rollout without progress for less than that is none of anybody's business: Kubernetes's
/// default.
const LEAST_DEADLINE: Duration = Duration::from_secs(600);

/// For a node to be found, and the image to be fetched.
const TO_SCHEDULE: Duration = Duration::from_secs(60);

/// The longest time that a new pod is watched before the next one is replaced.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);

/// A service, as Kubernetes deals with it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) listens: Option<Listens>,
    pub(crate) drains: Option<Drains>,
    pub(crate) migrator: Option<Migrator>,
    /// What the children's stops come to, in the order in which they stop.
    pub(crate) stops: Vec<(String, Option<Duration>)>,
    /// `STOP_BUDGET`.
    pub(crate) set_budget: Option<Duration>,
    /// The shortest budget with which every child has its time.
    pub(crate) needed_budget: Option<Duration>,
    pub(crate) stall_limit: Option<Duration>,
    /// What all starts may take, but for their progress.
    pub(crate) starts: Duration,
    /// What those may take that are before the listener.
    pub(crate) before_listening: Duration,
    /// What the listener's own may take.
    pub(crate) listening: Duration,
    /// The longest window in which restarts are counted.
    pub(crate) settling: Duration,
}

/// A migrator in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Migrator {
    pub(crate) path: String,
    pub(crate) migrates: Migrates,
    /// How long it has to clean up when it is called off.
    pub(crate) cancel_grace: Duration,
}

impl Service {
    pub(crate) fn of(built: &Built) -> Self {
        let root = &built.root;
        let all: Vec<_> = root.walk().collect();
        let start = |child: &ChildSpec| match child.children() {
            None => built.start_timeout(child).unwrap_or_default(),
            Some(_) => Duration::ZERO,
        };
        let sum = |children: &[(String, &ChildSpec)]| {
            let starts = children.iter().map(|(_, child)| start(child));
            starts.fold(Duration::ZERO, Duration::saturating_add)
        };
        let listener = all
            .iter()
            .position(|(_, child)| child.fact::<Listens>().is_some());
        let windows = all
            .iter()
            .filter_map(|(_, child)| child.fact::<Supervision>());
        let stops = root.children().unwrap_or_default().iter().rev();
        Self {
            listens: listener.and_then(|at| all[at].1.fact()),
            drains: all.iter().find_map(|(_, child)| child.fact()),
            migrator: all.iter().find_map(|(path, child)| {
                Some(Migrator {
                    path: path.clone(),
                    migrates: child.fact()?,
                    cancel_grace: child.options().grace(),
                })
            }),
            stops: stops
                .map(|child| (child.id().to_owned(), child.stop_budget()))
                .collect(),
            set_budget: built.process.stop_budget,
            needed_budget: built.needed_budget(),
            stall_limit: built.process.stall_limit.time(),
            starts: sum(&all),
            before_listening: sum(&all[..listener.unwrap_or_default()]),
            listening: listener.map(|at| start(all[at].1)).unwrap_or_default(),
            settling: windows.map(|it| it.max_seconds).max().unwrap_or_default(),
        }
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.listens.map(|listens| listens.addr.port())
    }

    pub(crate) fn tls(&self) -> bool {
        self.listens.is_some_and(|listens| listens.tls)
    }

    /// How long its stop may take, for the process to end by itself.
    pub(crate) fn stop_budget(&self) -> Option<Duration> {
        self.set_budget.or(self.needed_budget)
    }

    /// The shortest grace of a pod in which it stops by itself.
    pub(crate) fn grace(&self, pre_stop: Duration) -> Option<Duration> {
        let stop = self.stop_budget()?;
        Some(pre_stop.saturating_add(stop).saturating_add(AFTER_STOP))
    }

    /// How many liveness probes must fail in a row, so that the last of them comes when a stall has
    /// lasted for the limit: the first may come as soon as it begins.
    pub(crate) fn liveness_failures(&self, period: Duration) -> u32 {
        let limit = self.stall_limit.unwrap_or_default();
        let period = period.max(Duration::from_secs(1));
        let periods = limit.as_nanos().div_ceil(period.as_nanos());
        u32::try_from(periods)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
            .max(3)
    }

    /// How long it takes at the least from the begin of a stall to the last of these probes.
    pub(crate) fn tolerated(period: Duration, failures: u32) -> Duration {
        period.saturating_mul(failures.saturating_sub(1))
    }

    /// How long a pod of a rollout may take to become available, as far as that can be known.
    pub(crate) fn rollout(&self) -> Duration {
        let waits = self.migrator.as_ref().map(|it| it.migrates.longest_wait);
        let waits = waits.unwrap_or_default();
        let all = [
            TO_SCHEDULE,
            self.starts,
            waits,
            self.min_ready(),
            READINESS_PERIOD,
        ];
        all.into_iter()
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    pub(crate) fn progress_deadline(&self) -> Duration {
        self.rollout().max(LEAST_DEADLINE)
    }

    /// How long a pod must stay ready before the next one is replaced: who fails until it gives up
    /// does so within the window in which restarts are counted.
    pub(crate) fn min_ready(&self) -> Duration {
        self.settling.min(LONGEST_SETTLING)
    }

    /// The sum of the stops, in words.
    pub(crate) fn sum_of_stops(&self) -> String {
        let shown = |(id, stop): &(String, Option<Duration>)| match stop {
            Some(stop) => format!("{id} {}", seconds(*stop)),
            None => format!("{id} without a limit"),
        };
        let parts: Vec<_> = self
            .stops
            .iter()
            .filter(|(_, stop)| *stop != Some(Duration::ZERO))
            .map(shown)
            .collect();
        parts.join(" + ")
    }
}

/// A time in words: `5s`, `1.5s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

/// A time in whole seconds, not shorter.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more)
}
