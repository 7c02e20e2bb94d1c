//! What a measurement took: time, processor time, memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What one process found out.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// In the work's unit.
    pub value: f64,
    /// By how much the wall time was stretched because somebody else had the processor, while the
    /// clock ran: 1 is not at all. `None` where the work is not one of time.
    pub stretch: Option<f64>,
}

impl Measured {
    /// A figure that is no time.
    pub fn of(value: f64) -> Self {
        let stretch = None;
        Self { value, stretch }
    }
}

/// A clock that runs.
pub(crate) struct Meter {
    began: Instant,
    before: Before,
}

/// What is held against the wall time.
enum Before {
    /// The processor time of a process with one thread that is always busy.
    Used(Duration),
    /// The time that so many threads waited for a processor, where they may also rest.
    Waited(Duration, usize),
}

impl Meter {
    /// `busy`: whether one thread does the work and never rests. Else so many threads do it.
    pub(crate) fn start(busy: bool, threads: usize) -> Self {
        let before = match busy {
            true => Before::Used(processor_time()),
            false => Before::Waited(waiting_time(), threads),
        };
        let began = Instant::now();
        Self { began, before }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Microseconds for each of `n`.
    pub(crate) fn each(&self, n: usize) -> Measured {
        let wall = self.began.elapsed();
        self.worth(micros(wall) / n as f64)
    }

    /// `value`, found out while the clock ran.
    pub(crate) fn worth(&self, value: f64) -> Measured {
        let wall = self.began.elapsed().as_secs_f64();
        let stretch = match self.before {
            Before::Used(before) => wall / processor_time().saturating_sub(before).as_secs_f64(),
            Before::Waited(before, threads) => {
                let waited = waiting_time().saturating_sub(before).as_secs_f64();
                1.0 + waited / (wall * threads as f64)
            }
        };
        let stretch = Some(stretch).filter(|it| it.is_finite());
        Measured { value, stretch }
    }
}

/// As a fraction of microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

/// How long the threads of this process were ready to run and did not, together. Nothing, if the
/// kernel does not count it.
fn waiting_time() -> Duration {
    let waited = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    Duration::from_nanos(tasks.flatten().filter_map(waited).sum())
}

/// The memory of this process that is resident, in bytes.
pub fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("its second field is a number of pages");
    pages * rustix::param::page_size() as u64
}

/// The middle one.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
