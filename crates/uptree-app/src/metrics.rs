//! Metrics of the process: who keeps them, and how they are shown.
//!
//! Everything is measured through the `metrics` facade. [`main`](crate::main) installs the recorder
//! that `/metrics` shows, unless the program has installed one of its own before.

mod histogram;
mod recorder;

use std::{sync::OnceLock, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use self::recorder::Recorder;
use crate::Monitor;

/// The facade's recorder is one for the whole process, and so is this.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// How often measures are taken for a recorder that does not say when it is asked.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// Installs the recorder, if the program has none.
pub(crate) fn install() {
    let recorder = Recorder::default();
    if metrics::set_global_recorder(recorder.clone()).is_ok() {
        _ = RECORDER.set(recorder);
    }
}

/// Everything measured so far, in Prometheus's text format; `None` if the program has a recorder of
/// its own.
pub(crate) fn render() -> Option<String> {
    RECORDER.get().map(Recorder::render)
}

/// Takes the monitor's measures from time to time, where the program has a recorder of its own.
pub(crate) fn keep_measuring(monitor: Monitor) -> Option<Measurer> {
    if RECORDER.get().is_some() {
        return None;
    }
    Some(Measurer(tokio::spawn(async move {
        loop {
            monitor.measure();
            sleep(MEASURE_EVERY).await;
        }
    })))
}

/// Ends with this.
pub(crate) struct Measurer(JoinHandle<()>);

impl Drop for Measurer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
