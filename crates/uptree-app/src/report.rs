//! Who is still there when the process ends all the same.

use std::{thread, time::Duration};

use uptree_supervisor::{Stopper, polling};

use crate::{Monitor, Signal, watchdog::seconds};

/// A call into the code of a child that lasts for so long at the very end blocks its thread.
const LONG: Duration = Duration::from_millis(50);

pub(crate) fn forced(signal: Signal, tree: &Stopper, monitor: &Monitor) -> String {
    let left = Left::of(tree, monitor);
    format!(
        "error: forced to end by a third {signal}{}{}",
        left.lines(),
        left.remedy().unwrap_or_default()
    )
}

pub(crate) fn overrun(budget: Duration, tree: &Stopper, monitor: &Monitor) -> String {
    let left = Left::of(tree, monitor);
    let help = "\n  help: raise STOP_BUDGET, or give these children less to do at a stop";
    format!(
        "error: the stop took longer than its budget of {budget:?}{}{}",
        left.lines(),
        left.remedy().unwrap_or(help)
    )
}

/// What keeps the tree from ending.
struct Left {
    /// Who is still up, in what state and for how long.
    up: Vec<(String, String)>,
    /// Who blocks a worker thread, and for how long if that is known.
    blocked: Vec<(String, Option<Duration>)>,
    /// For how long the runtime has not answered.
    silent: Option<Duration>,
}

impl Left {
    fn of(tree: &Stopper, monitor: &Monitor) -> Self {
        let up = tree.snapshot().up().into_iter();
        let up = up.map(|(path, state, age)| (path, format!("{state} for {}", seconds(age))));
        Self {
            up: up.collect(),
            blocked: blocked(tree, monitor),
            silent: monitor.watched().silent(),
        }
    }

    fn lines(&self) -> String {
        let up = self.up.iter().map(|(path, state)| {
            let blocks = self.blocked.iter().find(|(blocked, _)| blocked == path);
            let blocks =
                blocks.map(|(_, time)| format!("; it blocks a worker thread{}", ago(*time)));
            format!(
                "\n  still there: {path}, {state}{}",
                blocks.unwrap_or_default()
            )
        });
        let others = self.blocked.iter().filter_map(|(path, time)| {
            let is_up = self.up.iter().any(|(up, _)| up == path);
            (!is_up).then(|| format!("\n  blocks a worker thread: {path}{}", ago(*time)))
        });
        let silent = self.silent.filter(|_| self.blocked.is_empty());
        let outside = silent.map(|silent| {
            format!(
                "\n  the runtime does not answer, for {}, and no child blocks it",
                seconds(silent)
            )
        });
        up.chain(others).chain(outside).collect()
    }

    /// What to do, if code that blocks is to blame.
    fn remedy(&self) -> Option<&'static str> {
        let blocks = !self.blocked.is_empty() || self.silent.is_some();
        blocks.then_some(
            "\n  help: code that blocks its thread cannot be stopped: await, use \
             `spawn_blocking`, or a thread of its own",
        )
    }
}

fn ago(time: Option<Duration>) -> String {
    time.map(|time| format!(", for {}", seconds(time)))
        .unwrap_or_default()
}

/// Who blocks a thread now: also those whom the watchdog has not told of so far.
fn blocked(tree: &Stopper, monitor: &Monitor) -> Vec<(String, Option<Duration>)> {
    let calls = polling();
    if calls.is_empty() {
        return Vec::new();
    }
    thread::sleep(LONG);
    let known = monitor.blocked();
    let mut blocked: Vec<(String, Option<Duration>)> = Vec::new();
    for call in calls.iter().filter(|call| call.goes_on()) {
        let Some(path) = tree.path_of(call) else {
            continue;
        };
        if blocked.iter().all(|(other, _)| *other != path) {
            let ages = known.iter().filter(|it| it.path == path);
            let longest = ages.map(|it| it.age).max();
            blocked.push((path, longest));
        }
    }
    blocked
}
