//! Works with a list of children.

use std::mem;

use super::{WINDOW, between_marks, median_micros, per_call};
use crate::{
    Ask, List, Measured, Static, Strategy,
    child::{self, How, Role},
    meter::Meter,
    program::Gauge,
};

/// Crashes that take a thousand along.
const GROUP_CRASHES: usize = 20;

pub(super) async fn measure<P: Static>(ask: &Ask, gauge: Gauge) -> Measured {
    match ask.work.as_str() {
        "start" => start::<P>(ask).await,
        "stop" => stop::<P>(ask).await,
        "crash" => crash::<P>(ask, How::Error, 0).await,
        "crash_panic" => crash::<P>(ask, How::Panic, 0).await,
        "crash_window" => crash::<P>(ask, How::Error, WINDOW).await,
        "one_for_all" => group::<P>(ask, Strategy::OneForAll, 0).await,
        "rest_for_one" => group::<P>(ask, Strategy::RestForOne, ask.n / 2).await,
        "count" => {
            let mut peer = started::<P>(idle(ask.n)).await;
            per_call!(ask, meter::<P>(ask), peer.count())
        }
        "which" => {
            let mut peer = started::<P>(idle(ask.n)).await;
            per_call!(ask, meter::<P>(ask), peer.which())
        }
        "memory" | "heap" | "allocations" => memory::<P>(ask, gauge).await,
        // No work, but a part of them whose instructions are counted.
        "specs" => {
            mem::forget(P::specs(idle(ask.n)));
            Measured::of(0.0)
        }
        other => panic!("no work is called {other}"),
    }
}

fn meter<P: Static>(ask: &Ask) -> Meter {
    Meter::start(ask.threads == 1 && !P::SLEEPS, ask.threads)
}

fn idle(n: usize) -> List {
    List {
        roles: vec![Role::Idle; n],
        strategy: Strategy::OneForOne,
        long_window: false,
    }
}

async fn started<P: Static>(list: List) -> P {
    let mut peer = P::start(P::specs(list)).await;
    peer.settle().await;
    peer
}

async fn start<P: Static>(ask: &Ask) -> Measured {
    let specs = P::specs(idle(ask.n));
    let meter = meter::<P>(ask);
    let peer = P::start(specs).await;
    let measured = meter.each(ask.n);
    mem::forget(peer);
    measured
}

async fn stop<P: Static>(ask: &Ask) -> Measured {
    let peer = started::<P>(idle(ask.n)).await;
    let meter = meter::<P>(ask);
    peer.stop().await;
    meter.each(ask.n)
}

/// The list is part of it: it is kept for as long as the children are.
async fn memory<P: Static>(ask: &Ask, gauge: Gauge) -> Measured {
    let before = gauge();
    let peer = started::<P>(idle(ask.n)).await;
    let after = gauge();
    mem::forget(peer);
    Measured::of((after - before) as f64 / ask.n as f64)
}

/// The median over single crashes, after `before` that do not count.
async fn crash<P: Static>(ask: &Ask, how: How, before: usize) -> Measured {
    let mut list = idle(ask.n);
    list.roles.push(Role::Crash(how));
    list.long_window = before > 0;
    let crashes = before + ask.ops.unwrap_or(P::CRASHES);
    child::arm(crashes + 1);
    let mut peer = P::start(P::specs(list)).await;
    let meter = meter::<P>(ask);
    peer.supervise(crashes).await;
    mem::forget(peer);
    between_marks(&meter, before)
}

/// The median over crashes of child `bomb`, each until the last child is ready again.
async fn group<P: Static>(ask: &Ask, strategy: Strategy, bomb: usize) -> Measured {
    let mut list = idle(ask.n);
    list.strategy = strategy;
    list.roles[bomb] = Role::Bomb;
    list.roles[ask.n - 1] = Role::Last;
    let crashes = ask.ops.unwrap_or(GROUP_CRASHES);
    // The last child is ready; then, each time, the crash and the last child again.
    child::arm(2 * crashes + 1);
    let mut peer = P::start(P::specs(list)).await;
    let meter = meter::<P>(ask);
    peer.supervise(crashes).await;
    mem::forget(peer);
    let marks = child::marks();
    let times = marks[1..].chunks_exact(2).map(|of| of[1] - of[0]);
    meter.worth(median_micros(times))
}
