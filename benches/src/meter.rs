//! What a measurement took: time, processor time, memory.

use std::{fs, time::Duration, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What one process found out.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// In the work's unit.
    pub value: f64,
    /// Wall time over processor time of this process, while the clock ran; `None` where the
    /// work is not one of time. More than 1 means that somebody else had the processor.
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
    processor: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            processor: processor_time(),
            began: Instant::now(),
        }
    }

    /// Microseconds for each of `n`.
    pub(crate) fn each(&self, n: usize) -> Measured {
        let wall = self.began.elapsed();
        Measured {
            value: micros(wall) / n as f64,
            ..self.worth(micros(wall))
        }
    }

    /// `value`, found out while the clock ran.
    pub(crate) fn worth(&self, value: f64) -> Measured {
        let wall = self.began.elapsed();
        let processor = processor_time().saturating_sub(self.processor);
        let stretch = Some(wall.as_secs_f64() / processor.as_secs_f64());
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
