//! Random events: what is counted, what the table says and what a plain history of the events says
//! are the same. And random trees: what the table says is what their snapshots say.

use std::{collections::BTreeSet, future::Future, task::Context as Wake};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy as _, any, prop, prop_oneof},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use uptree_supervisor::{Shutdown, Snapshot};

use super::*;

/// Runs `test` on each of many cases, on paused time. In CI the cases are always the same;
/// `UPTREE_CASES=100000` runs so many others.
fn each<S: prop::strategy::Strategy>(
    cases: u32,
    strategy: &S,
    test: &impl AsyncFn(&S::Value) -> Result<(), TestCaseError>,
) {
    let more = std::env::var("UPTREE_CASES").ok();
    let more: Option<u32> = more.and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: more.unwrap_or(cases),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match more {
        Some(_) => TestRunner::new(config),
        None => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, rng)
        }
    };
    let outcome = runner.run(strategy, |case| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(test(&case))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

// ---------------------------------------------------------------------- a table and its history

const PATHS: [&str; 6] = [
    "app/a",
    "app/a/b",
    "app/a/b/c",
    "app/a/d",
    "app/ab",
    "app/e",
];

#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Something happens to a child,
    Child(usize, Fate),
    /// or to a supervisor and those below it.
    Supervisor(usize, Fate),
    /// A check is registered, has a result, or is gone.
    Enter(usize, bool),
    Result(usize, CheckState),
    Leave(usize),
    Boot,
    /// Time passes, in milliseconds.
    Pass(u64),
    /// Somebody looks.
    Look,
}

fn deeds() -> impl prop::strategy::Strategy<Value = Vec<Deed>> {
    let fate = prop_oneof![
        4 => Just(Fate::Up),
        2 => Just(Fate::Down(ChildState::Starting)),
        2 => Just(Fate::Down(ChildState::Stopping)),
        2 => Just(Fate::Down(ChildState::Down)),
        1 => Just(Fate::Down(ChildState::BackingOff)),
        1 => Just(Fate::Over),
    ];
    let state = prop_oneof![
        3 => Just(CheckState::Passing),
        1 => Just(CheckState::Failing),
        1 => Just(CheckState::TimedOut),
        1 => Just(CheckState::Panicked),
    ];
    let deed = prop_oneof![
        4 => (0..PATHS.len(), fate.clone()).prop_map(|(path, fate)| Deed::Child(path, fate)),
        2 => (0..PATHS.len(), fate).prop_map(|(path, fate)| Deed::Supervisor(path, fate)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(it, critical)| Deed::Enter(it, critical)),
        2 => (0..3_usize, state).prop_map(|(it, state)| Deed::Result(it, state)),
        1 => (0..3_usize).prop_map(Deed::Leave),
        1 => Just(Deed::Boot),
        3 => (0..400_u64).prop_map(Deed::Pass),
        3 => Just(Deed::Look),
    ];
    vec(deed, 0..60)
}

/// The grace of the child with this path; every third gates nothing.
fn grace_of(path: usize) -> Option<Duration> {
    (!path.is_multiple_of(3)).then(|| Duration::from_millis(100 * path as u64))
}

/// What has happened, and what follows from it, worked out from the beginning each time.
#[derive(Default)]
struct History {
    events: Vec<(Instant, Deed)>,
    booted: bool,
}

impl History {
    fn down(&self, path: usize) -> Option<(Instant, ChildState)> {
        // `None`: not known.
        let mut known: Option<Option<(Instant, ChildState)>> = None;
        for &(at, deed) in &self.events {
            let (who, fate, is_supervisor) = match deed {
                Deed::Child(who, fate) => (who, fate, false),
                Deed::Supervisor(who, fate) => (who, fate, true),
                _ => continue,
            };
            let is_below = PATHS[path].starts_with(&format!("{}/", PATHS[who]));
            let concerns = who == path
                || is_supervisor
                    && is_below
                    && known.is_some()
                    && matches!(fate, Fate::Over | Fate::Down(ChildState::Down));
            if !concerns {
                continue;
            }
            known = match fate {
                Fate::Over => None,
                Fate::Up => Some(None),
                Fate::Down(state) => {
                    let since = known.flatten().map_or(at, |(since, _)| since);
                    Some(Some((since, state)))
                }
            };
        }
        known.flatten()
    }

    /// Of a check that is there: whether it is critical and awaited, its state, and since when.
    fn check(&self, number: usize) -> Option<(bool, bool, CheckState, Instant)> {
        let mut check = None;
        let mut booted = false;
        for &(at, deed) in &self.events {
            match deed {
                Deed::Boot => booted = true,
                Deed::Enter(it, critical) if it == number && check.is_none() => {
                    check = Some((critical, !booted, CheckState::Unknown, at));
                }
                Deed::Result(it, state) if it == number => {
                    if let Some((_, _, before, since)) = &mut check
                        && *before != state
                    {
                        (*before, *since) = (state, at);
                    }
                }
                Deed::Leave(it) if it == number => check = None,
                _ => {}
            }
        }
        check
    }

    /// Whether anything is amiss; what is missing; what else is told.
    fn all(&self) -> (bool, Vec<Missing>, Vec<Missing>) {
        let now = Instant::now();
        let (mut amiss, mut missing, mut informative) = (false, Vec::new(), Vec::new());
        for (number, path) in PATHS.iter().enumerate() {
            let path = (*path).to_owned();
            if let (Some(grace), Some((since, state))) = (grace_of(number), self.down(number)) {
                amiss = true;
                let age = now - since;
                if age >= grace {
                    missing.push(Missing::Child { path, state, age });
                }
            }
        }
        for number in 0..3 {
            let Some((critical, awaited, state, since)) = self.check(number) else {
                continue;
            };
            if state == CheckState::Passing {
                continue;
            }
            amiss = true;
            let age = now - since;
            let path = format!("app/check{number}");
            let one = Missing::Check { path, state, age };
            match critical && (state != CheckState::Unknown || awaited) {
                true => missing.push(one),
                false => informative.push(one),
            }
        }
        (amiss, missing, informative)
    }
}

/// What is told, without its age.
fn told(readiness: &Readiness) -> (bool, Vec<(String, String)>) {
    let missing = readiness.missing.iter();
    let missing = missing.map(|it| (it.path().to_owned(), it.state().to_string()));
    (readiness.is_ready(), missing.collect())
}

#[test]
fn the_count_the_table_and_the_history_agree() {
    each(2000, &deeds(), &async |deeds: &Vec<Deed>| {
        let monitor = Monitor::new(crate::Spans::Off);
        let mut history = History::default();
        let mut entries = [const { None }; 3];
        let mut watch = monitor.watch_readiness();
        let mut looked = told(&watch.readiness());
        for &deed in deeds {
            history.events.push((Instant::now(), deed));
            let note = |path: usize, fate, below| {
                let health = monitor.health();
                if health.note(PATHS[path], grace_of(path), fate, below) {
                    monitor.tell_changed();
                }
            };
            match deed {
                Deed::Child(path, fate) => note(path, fate, None),
                Deed::Supervisor(path, fate) => note(path, fate, fate.below()),
                Deed::Enter(it, critical) if entries[it].is_none() => {
                    let check = HealthCheck::new("");
                    let check = match critical {
                        true => check.critical(),
                        false => check,
                    };
                    let path = format!("app/check{it}");
                    entries[it] = Some(check.enter(&monitor, path));
                }
                Deed::Result(it, state) => {
                    entries[it].as_ref().map(|entry| entry.set(state));
                }
                Deed::Leave(it) => entries[it] = None,
                Deed::Boot => {
                    history.booted = true;
                    monitor.set_booted();
                    monitor.tell_changed();
                }
                Deed::Pass(time) => tokio::time::advance(Duration::from_millis(time)).await,
                Deed::Look => looked = told(&watch.readiness()),
                Deed::Enter(..) => {}
            }
            let (amiss, missing, informative) = history.all();
            let now = monitor.readiness();
            let agree = now.missing == missing
                && now.informative == informative
                && now.booted == history.booted
                && monitor.is_well() == (history.booted && !amiss);
            // Who waits for a change is woken by it.
            let told_of = told(&now) == looked || is_done(watch.changed());
            if !(agree && told_of) {
                return Err(TestCaseError::fail(format!("{now:?}, woken: {told_of}")));
            }
        }
        Ok(())
    });
}

/// Whether a future completes when it is polled once.
fn is_done(future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    let mut cx = Wake::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut cx).is_ready()
}

// ---------------------------------------------------------------------- trees and their snapshots

/// What is done to a tree of two groups of three children each, one of a kind.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A child fails, or ends as if its work were done.
    Fail(usize),
    End(usize),
    /// By calls.
    Terminate(usize),
    Restart(usize),
    Delete(usize),
    Add(usize),
    TerminateGroup(usize),
    RestartGroup(usize),
    Pass(u64),
}

fn blows() -> impl prop::strategy::Strategy<Value = Vec<Blow>> {
    let which = || 0..6_usize;
    let blow = prop_oneof![
        4 => which().prop_map(Blow::Fail),
        2 => which().prop_map(Blow::End),
        2 => which().prop_map(Blow::Terminate),
        2 => which().prop_map(Blow::Restart),
        1 => which().prop_map(Blow::Delete),
        2 => which().prop_map(Blow::Add),
        1 => (0..2_usize).prop_map(Blow::TerminateGroup),
        2 => (0..2_usize).prop_map(Blow::RestartGroup),
        3 => (0..50_u64).prop_map(Blow::Pass),
    ];
    vec(blow, 0..40)
}

/// What the children are told, and what they tell of their ends.
#[derive(Default)]
struct World {
    told: Mutex<std::collections::HashMap<String, bool>>,
    over: Mutex<BTreeSet<String>>,
    changed: tokio::sync::Notify,
}

/// Takes some time to start, runs until it is told to fail or to end.
async fn member(world: Arc<World>, cx: Starting) -> Result {
    let path = cx.path();
    world.over.lock().expect("no panic").remove(&path);
    sleep(Duration::from_millis(path.len() as u64 % 4)).await;
    let cx = cx.ready();
    loop {
        let changed = world.changed.notified();
        let told = world.told.lock().expect("no panic").remove(&path);
        match told {
            Some(true) => {
                // Of the others, and of one that is to stop with its siblings, a restart follows.
                if path.ends_with(IDS[1]) && cx.stop_cause().is_none() {
                    world.over.lock().expect("no panic").insert(path);
                }
                return Ok(());
            }
            Some(false) => return Err("told to".into()),
            None => {}
        }
        if cx.until_shutdown(changed).await.is_none() {
            sleep(Duration::from_millis(path.len() as u64 % 3)).await;
            return Ok(());
        }
    }
}

const GROUPS: [&str; 2] = ["one", "other"];
const IDS: [&str; 3] = ["gates", "gates till its end", "free"];

fn spec(world: &Arc<World>, kind: usize) -> uptree_supervisor::ChildSpec {
    let child = uptree_supervisor::service(IDS[kind], world.clone(), member).into_child();
    match kind {
        0 => child.gates_ready(Duration::ZERO),
        1 => child
            .gates_ready(Duration::ZERO)
            .restart(Restart::Transient),
        _ => child,
    }
}

/// The gating children that a snapshot shows to be down. Of a supervisor that is down it shows the
/// list, with those who were deleted: they are told apart by nobody.
fn shown(snapshot: &Snapshot, above: &str, over: &BTreeSet<String>, down: &mut BTreeSet<String>) {
    let path = format!("{above}{}", snapshot.id);
    let is_up = matches!(snapshot.state, ChildState::Running | ChildState::Ignored);
    if snapshot.id.starts_with("gates") && !is_up && !over.contains(&path) {
        down.insert(path.clone());
    }
    for child in &snapshot.children {
        if snapshot.state == ChildState::Down {
            down.insert(format!("{path}/*"));
            return;
        }
        shown(child, &format!("{path}/"), over, down);
    }
}

#[test]
fn a_tree_s_snapshot_and_the_table_agree() {
    each(300, &blows(), &async |blows: &Vec<Blow>| {
        let world = Arc::new(World::default());
        let group = |id, strategy, shutdown| {
            let group = Supervisor::new(id).strategy(strategy);
            let group = group.intensity(1000, SECOND);
            let group = group.children((0..3).map(|kind| spec(&world, kind)));
            (group.clone(), group.shutdown(shutdown))
        };
        let first = group(GROUPS[0], Strategy::RestForOne, Shutdown::Infinity);
        let second = group(GROUPS[1], Strategy::OneForAll, Shutdown::BrutalKill);
        let groups = [first.0, second.0];
        let root = Supervisor::new("root").child(first.1).child(second.1);
        let app = App::new("app").child(root.clone());
        let play = async |monitor: Monitor| {
            for &blow in blows {
                let tell = |which: usize, end| {
                    let path = format!("app/root/{}/{}", GROUPS[which / 3], IDS[which % 3]);
                    world.told.lock().expect("no panic").insert(path, end);
                    world.changed.notify_waiters();
                };
                // Most calls are refused at most moments, as they should be.
                match blow {
                    Blow::Fail(which) => tell(which, false),
                    Blow::End(which) => tell(which, true),
                    Blow::Terminate(it) => _ = groups[it / 3].terminate_child(IDS[it % 3]).await,
                    Blow::Restart(it) => _ = groups[it / 3].restart_child(IDS[it % 3]).await,
                    Blow::Delete(it) => _ = groups[it / 3].delete_child(IDS[it % 3]).await,
                    Blow::Add(it) => _ = groups[it / 3].start_child(spec(&world, it % 3)).await,
                    Blow::TerminateGroup(it) => _ = root.terminate_child(GROUPS[it]).await,
                    Blow::RestartGroup(it) => _ = root.restart_child(GROUPS[it]).await,
                    Blow::Pass(time) => sleep(Duration::from_millis(time)).await,
                }
                // Until what happens at this moment has happened.
                sleep(Duration::from_micros(1)).await;
                let tree = monitor.snapshot();
                let over = world.over.lock().expect("no panic").clone();
                let mut expected = BTreeSet::new();
                shown(&tree.expect("it runs"), "", &over, &mut expected);
                let expected_all = expected.clone();
                let missing = monitor.readiness().missing;
                let found = missing.iter().map(|it| it.path().to_owned());
                let is_told_apart = |path: &String| {
                    let (above, _) = path.rsplit_once('/').unwrap_or_default();
                    // One that has ended may be one that is started again with its siblings.
                    !over.contains(path) && !expected_all.contains(&format!("{above}/*"))
                };
                let found: BTreeSet<_> = found.filter(is_told_apart).collect();
                expected.retain(|path| !path.ends_with("/*"));
                if found != expected || monitor.is_well() != missing.is_empty() {
                    let why = format!("after {blow:?} missing {found:?}, shown {expected:?}");
                    return Err(TestCaseError::fail(why));
                }
            }
            Ok(())
        };
        run(app, play).await
    });
}
