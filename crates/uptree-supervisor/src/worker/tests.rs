use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{Context, Result, Stopper, Supervisor, Tree, TreeOptions, worker as child};

const LONG: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build();
    runtime.expect("there are threads")
}

/// Looks until there is what is looked for.
fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "it is not there");
        thread::sleep(Duration::from_millis(1));
    }
}

type Gate = Arc<Mutex<mpsc::Receiver<()>>>;

/// Blocks its thread until it is told something.
fn block(gate: &Gate) {
    let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
    gate.recv_timeout(LONG).expect("it is let go");
}

async fn blocks(gate: Gate, cx: Context) -> Result {
    block(&gate);
    cx.shutdown().await;
    Ok(())
}

async fn has_a_task_that_blocks(gate: Gate, cx: Context) -> Result {
    cx.spawn(async move { block(&gate) });
    cx.shutdown().await;
    Ok(())
}

fn spawn(runtime: &Runtime, child: Supervisor) -> Tree {
    let _in_runtime = runtime.enter();
    Supervisor::new("app")
        .child(child)
        .spawn(TreeOptions::default())
}

#[track_caller]
fn is_seen_and_named(make: impl FnOnce(Gate) -> Supervisor) {
    let (open, gate) = mpsc::channel();
    let runtime = runtime();
    let tree = spawn(&runtime, make(Arc::new(Mutex::new(gate))));
    let stopper = tree.stopper();
    // What a thread does in passing is seen too; that which lasts is looked for.
    let call = eventually(|| {
        let calls = polling();
        thread::sleep(Duration::from_millis(50));
        let odd = |call: &Polling| stopper.path_of(call).as_deref() == Some("app/below/odd");
        calls.into_iter().find(odd)
    });
    assert!(polling().contains(&call));
    open.send(()).expect("it waits");
    eventually(|| (!call.goes_on()).then_some(()));
    assert_eq!(stopper.path_of(&call), None);
    assert!(!polling().contains(&call));
    drop(tree);
}

#[test]
fn a_child_that_blocks_its_thread_is_seen_from_outside_and_named() {
    is_seen_and_named(|gate| Supervisor::new("below").child(child("odd", gate, blocks)));
}

#[test]
fn a_task_of_a_child_that_blocks_its_thread_is_seen_and_named_as_the_child() {
    is_seen_and_named(|gate| {
        Supervisor::new("below").child(child("odd", gate, has_a_task_that_blocks))
    });
}

async fn tells_who_it_is(tell: mpsc::Sender<Arc<Incarnation>>, cx: Context) -> Result {
    let life = current_life().ok_or("it is polled")?;
    tell.send(life)?;
    cx.shutdown().await;
    Ok(())
}

/// Two children of a tree, as their threads know them.
fn two_lives(runtime: &Runtime) -> (Tree, Arc<Incarnation>, Arc<Incarnation>) {
    let (tell, told) = mpsc::channel();
    let below = Supervisor::new("below")
        .child(child("one", tell.clone(), tells_who_it_is))
        .child(child("other", tell, tells_who_it_is));
    let tree = spawn(runtime, below);
    let next = || told.recv_timeout(LONG).expect("it says so");
    let (one, other) = (next(), next());
    (tree, one, other)
}

/// What this thread does, as others see it.
fn own(stopper: &Stopper) -> Option<String> {
    let cell = WORKER.with(|worker| worker.shown.clone());
    stopper.path_of(&Polling::of(cell)?)
}

#[test]
fn a_call_within_a_call_is_seen_and_then_the_outer_one_again_as_another() {
    let runtime = runtime();
    let (tree, one, other) = two_lives(&runtime);
    let stopper = tree.stopper();
    assert_eq!(own(&stopper), None);
    enter(&mut Some(one), || {
        let cell = || WORKER.with(|worker| worker.shown.clone());
        let outer = Polling::of(cell()).expect("it runs for a child");
        assert_eq!(own(&stopper).as_deref(), Some("app/below/one"));
        enter(&mut Some(other), || {
            assert_eq!(own(&stopper).as_deref(), Some("app/below/other"));
            assert!(!outer.goes_on());
        });
        assert_eq!(own(&stopper).as_deref(), Some("app/below/one"));
        // It moves: a thread that makes such calls is not blocked.
        assert!(!outer.goes_on());
    });
    assert_eq!(own(&stopper), None);
}

#[test]
fn a_child_of_another_tree_is_nobody() {
    let runtime = runtime();
    let (tree, one, _) = two_lives(&runtime);
    let (another, ..) = two_lives(&runtime);
    enter(&mut Some(one), || {
        assert_eq!(own(&another.stopper()), None);
        assert!(own(&tree.stopper()).is_some());
    });
}

#[test]
fn a_cell_goes_with_its_thread() {
    let thread = thread::spawn(|| WORKER.with(|worker| Arc::downgrade(&worker.shown)));
    let cell = thread.join().expect("no panic");
    assert_eq!(cell.strong_count(), 0);
}
