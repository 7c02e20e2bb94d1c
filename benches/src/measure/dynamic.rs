//! Works with children that are started one by one.

use std::mem;

use super::{WINDOW, between_marks, per_call};
use crate::{
    Ask, Dynamic, Measured,
    child::{self, How, Role},
    meter::Meter,
    program::Gauge,
};

/// Pairs of a start and a termination.
const PAIRS: usize = 10_000;

pub(super) async fn measure<P: Dynamic>(ask: &Ask, gauge: Gauge) -> Measured {
    match ask.work.as_str() {
        "start_dynamic" => start::<P>(ask).await,
        "start_terminate" => start_terminate::<P>(ask).await,
        "stop_dynamic" => stop::<P>(ask).await,
        "crash_dynamic" => crash::<P>(ask, How::Error, 0).await,
        "crash_panic_dynamic" => crash::<P>(ask, How::Panic, 0).await,
        "crash_window_dynamic" => crash::<P>(ask, How::Error, WINDOW).await,
        "count_dynamic" => {
            let mut peer = started::<P>(ask.n).await;
            per_call!(ask, meter::<P>(ask), peer.count())
        }
        "which_dynamic" => {
            let mut peer = started::<P>(ask.n).await;
            per_call!(ask, meter::<P>(ask), peer.which())
        }
        "memory_dynamic" | "heap_dynamic" | "allocations_dynamic" => memory::<P>(ask, gauge).await,
        "churn_memory" => churn_memory::<P>(ask, gauge).await,
        other => panic!("no work is called {other}"),
    }
}

fn meter<P: Dynamic>(ask: &Ask) -> Meter {
    Meter::start(ask.threads == 1 && !P::SLEEPS, ask.threads)
}

async fn started<P: Dynamic>(n: usize) -> P {
    let mut peer = P::start(false).await;
    peer.start_children(0..n).await;
    peer
}

async fn start<P: Dynamic>(ask: &Ask) -> Measured {
    let mut peer = P::start(false).await;
    let meter = meter::<P>(ask);
    peer.start_children(0..ask.n).await;
    let measured = meter.each(ask.n);
    mem::forget(peer);
    measured
}

async fn start_terminate<P: Dynamic>(ask: &Ask) -> Measured {
    let mut peer = started::<P>(ask.n).await;
    let pairs = ask.ops.unwrap_or(PAIRS);
    let meter = meter::<P>(ask);
    peer.start_and_terminate(ask.n..ask.n + pairs).await;
    let measured = meter.each(pairs);
    mem::forget(peer);
    measured
}

async fn stop<P: Dynamic>(ask: &Ask) -> Measured {
    let peer = started::<P>(ask.n).await;
    let meter = meter::<P>(ask);
    peer.stop().await;
    meter.each(ask.n)
}

async fn memory<P: Dynamic>(ask: &Ask, gauge: Gauge) -> Measured {
    let mut peer = P::start(false).await;
    let before = gauge();
    peer.start_children(0..ask.n).await;
    let after = gauge();
    mem::forget(peer);
    Measured::of((after - before) as f64 / ask.n as f64)
}

/// The median over single crashes, after `before` that do not count.
async fn crash<P: Dynamic>(ask: &Ask, how: How, before: usize) -> Measured {
    let crashes = before + ask.ops.unwrap_or(P::CRASHES);
    child::arm(crashes + 1);
    let mut peer = P::start(before > 0).await;
    peer.start_children(0..ask.n).await;
    let meter = meter::<P>(ask);
    let child = peer.start_child(ask.n, Role::Crash(how)).await;
    peer.supervise(crashes).await;
    mem::forget((peer, child));
    between_marks(&meter, before)
}

/// `n` pairs, after a tenth of them has brought memory to where it stays if it stays anywhere.
async fn churn_memory<P: Dynamic>(ask: &Ask, gauge: Gauge) -> Measured {
    let pairs = ask.n / P::SLOW;
    let mut peer = started::<P>(1).await;
    peer.start_and_terminate(1..1 + pairs / 10).await;
    let before = gauge();
    peer.start_and_terminate(1 + pairs..1 + 2 * pairs).await;
    let after = gauge();
    mem::forget(peer);
    Measured::of((after as f64 - before as f64) / pairs as f64)
}
