//! The works, and how each is measured.

use std::{panic, time::Duration};

use tokio::runtime;

use crate::{
    List, Peer, Strategy,
    child::{self, How, Role},
    meter::{Measured, Meter, median, micros},
};

/// Something that every peer does.
pub struct Work {
    /// What it is called in tables.
    pub name: &'static str,
    /// How many children there are; where one crashes, how many siblings it has.
    pub n: usize,
    /// What its figure counts.
    pub unit: &'static str,
}

const fn work(name: &'static str, n: usize, unit: &'static str) -> Work {
    Work { name, n, unit }
}

/// The works that a [`Peer`] does, in the order of the table.
pub const WORKS: &[Work] = &[
    work("start", 10_000, "us/child"),
    work("stop", 10_000, "us/child"),
    work("crash", 0, "us"),
    work("crash", 10_000, "us"),
    work("crash_panic", 0, "us"),
    work("crash_panic", 10_000, "us"),
    work("crash_window", 0, "us"),
    work("one_for_all", 1_000, "us"),
    work("rest_for_one", 1_000, "us"),
    work("memory", 10_000, "B/child"),
    work("heap", 10_000, "B/child"),
    work("allocations", 10_000, "1/child"),
];

/// Single crashes for each measurement.
const CRASHES: usize = 10_000;
/// Restarts that are in the window before `crash_window` is measured.
const WINDOW: usize = 10_000;
/// Crashes that take a thousand along.
const GROUP_CRASHES: usize = 20;

/// Has `P` do the work `name` with `n` children, once. `gauge` is what is read before and after
/// for a work that is about memory. Ends nothing: what was started goes with the process.
pub fn measure<P: Peer>(name: &str, n: usize, gauge: fn() -> u64) -> Measured {
    panic::set_hook(Box::new(|_| ()));
    let name = name.to_owned();
    run(async move {
        match name.as_str() {
            "start" => start::<P>(n).await,
            "stop" => stop::<P>(n).await,
            "crash" => crash::<P>(n, How::Error, 0).await,
            "crash_panic" => crash::<P>(n, How::Panic, 0).await,
            "crash_window" => crash::<P>(n, How::Error, WINDOW).await,
            "one_for_all" => group::<P>(n, Strategy::OneForAll, 0).await,
            "rest_for_one" => group::<P>(n, Strategy::RestForOne, n / 2).await,
            "memory" | "heap" | "allocations" => memory::<P>(n, gauge).await,
            other => panic!("no work is called {other}"),
        }
    })
}

/// Runs `work` as a task, as a supervisor is one, on a runtime of one thread.
fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let done = runtime.block_on(async { tokio::spawn(work).await });
    // Tearing thousands of children down is nobody's figure.
    std::mem::forget(runtime);
    done.expect("the work does not panic")
}

fn idle(n: usize) -> List {
    List {
        roles: vec![Role::Idle; n],
        strategy: Strategy::OneForOne,
        long_window: false,
    }
}

async fn start<P: Peer>(n: usize) -> Measured {
    let specs = P::specs(idle(n));
    let meter = Meter::start();
    let peer = P::start(specs).await;
    let measured = meter.each(n);
    std::mem::forget(peer);
    measured
}

async fn stop<P: Peer>(n: usize) -> Measured {
    let peer = P::start(P::specs(idle(n))).await;
    let meter = Meter::start();
    peer.stop().await;
    meter.each(n)
}

/// The list is part of it: it is kept for as long as the children are.
async fn memory<P: Peer>(n: usize, gauge: fn() -> u64) -> Measured {
    let before = gauge();
    let peer = P::start(P::specs(idle(n))).await;
    let after = gauge();
    std::mem::forget(peer);
    Measured::of((after - before) as f64 / n as f64)
}

/// The median over `CRASHES` single crashes, after `before` that do not count.
async fn crash<P: Peer>(siblings: usize, how: How, before: usize) -> Measured {
    let mut list = idle(siblings);
    list.roles.push(Role::Crash(how));
    list.long_window = before > 0;
    let crashes = before + CRASHES;
    child::arm(crashes + 1);
    let mut peer = P::start(P::specs(list)).await;
    let meter = Meter::start();
    peer.supervise(crashes).await;
    std::mem::forget(peer);
    let marks = child::marks();
    let times = marks.windows(2).map(|of| of[1] - of[0]).skip(before);
    meter.worth(median_micros(times))
}

/// The median over crashes of child `bomb`, each until the last child is ready again.
async fn group<P: Peer>(n: usize, strategy: Strategy, bomb: usize) -> Measured {
    let mut list = idle(n);
    list.strategy = strategy;
    list.roles[bomb] = Role::Bomb;
    list.roles[n - 1] = Role::Last;
    // The last child is ready; then, each time, the crash and the last child again.
    child::arm(2 * GROUP_CRASHES + 1);
    let mut peer = P::start(P::specs(list)).await;
    let meter = Meter::start();
    peer.supervise(GROUP_CRASHES).await;
    std::mem::forget(peer);
    let marks = child::marks();
    let times = marks[1..].chunks_exact(2).map(|of| of[1] - of[0]);
    meter.worth(median_micros(times))
}

fn median_micros(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.map(micros).collect();
    median(&mut times).expect("there were crashes")
}
