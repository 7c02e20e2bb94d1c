//! How each work is measured.
//!
//! Nothing is ended afterwards: what was started goes with the process.

mod dynamic;
mod list;

use std::{mem, panic, time::Duration};

use tokio::runtime;

use crate::{
    Dynamic, Measured, Static, child,
    meter::{Meter, median, micros},
    program::{Ask, Gauge},
    work::DYNAMIC,
};

/// Restarts that are in the window before `crash_window` is measured.
const WINDOW: usize = 10_000;
/// For how long a call is repeated.
const CALLS: Duration = Duration::from_millis(20);

/// Has a peer do one work once: `L` if the children are listed, `D` if they are dynamic.
///
/// # Panics
/// If the peer cannot do the work, or there is no such work.
pub fn measure<L: Static, D: Dynamic>(ask: &Ask, gauge: Gauge) -> Measured {
    panic::set_hook(Box::new(|panic| match panic.payload_as_str() {
        // A child's, which is measured.
        Some(child::CRASH) => (),
        _ => eprintln!("{panic}"),
    }));
    let threads = ask.threads;
    let ask = ask.clone();
    match DYNAMIC.iter().any(|work| work.name == ask.work) {
        true => run(
            threads,
            async move { dynamic::measure::<D>(&ask, gauge).await },
        ),
        false => run(
            threads,
            async move { list::measure::<L>(&ask, gauge).await },
        ),
    }
}

/// Runs `work` as a task, as a supervisor is one, on so many worker threads.
fn run<T: Send + 'static>(threads: usize, work: impl Future<Output = T> + Send + 'static) -> T {
    let mut builder = match threads {
        1 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let done = runtime.block_on(async { tokio::spawn(work).await });
    // Tearing thousands of children down is nobody's figure.
    mem::forget(runtime);
    done.expect("the work does not panic")
}

/// Repeats a call for as long as it takes to time it.
macro_rules! per_call {
    ($ask:expr, $meter:expr, $call:expr) => {{
        let mut calls = $ask.ops.unwrap_or(1);
        loop {
            let meter = $meter;
            for _ in 0..calls {
                let listed = $call.await;
                assert_eq!(listed, $ask.n, "all children are there");
            }
            if $ask.ops.is_some() || meter.elapsed() >= $crate::measure::CALLS {
                break meter.each(calls);
            }
            calls *= 2;
        }
    }};
}
use per_call;

/// The median of the times between single crashes, after `before` that do not count.
fn between_marks(meter: &Meter, before: usize) -> Measured {
    let marks = child::marks();
    let times = marks.windows(2).map(|of| of[1] - of[0]).skip(before);
    meter.worth(median_micros(times))
}

fn median_micros(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.map(micros).collect();
    median(&mut times).expect("there were crashes")
}
