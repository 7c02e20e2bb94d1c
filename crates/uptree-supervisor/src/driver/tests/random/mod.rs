//! Random trees whose children fail at every await point, called and stopped at random moments.
//!
//! A case is data: it is printed as it is when it fails, made as small as it still fails. In CI
//! the cases are always the same; `UPTREE_CASES=100000` runs so many others, and `UPTREE_SEED`
//! repeats a run.

mod actor;
mod case;
mod deed;
mod limits;
mod shown;
mod watch;
mod world;

use std::{
    env,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep, timeout},
};

use self::{
    case::{Case, End},
    world::World,
};
use crate::{IntoChild, StopCause, Tree, TreeOptions};

/// Nothing takes as long, whatever hangs.
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn whatever_happens_order_is_kept_nothing_is_left_and_everybody_is_answered() {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let cases = number("UPTREE_CASES");
    let now = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |now| now.as_secs())
    };
    let seed = number("UPTREE_SEED").unwrap_or_else(|| cases.map_or(0, |_| now()));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases.unwrap_or(1000)).unwrap_or(u32::MAX),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&case::cases(), |case| {
        run(&case).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("UPTREE_SEED={seed}\n\n{case}\n{why}"),
        Err(error) => panic!("{error}"),
    }
}

/// Runs a case; answers with what is wrong, and with what happened.
fn run(case: &Case) -> Result<(), String> {
    fastrand::seed(case.seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime is made");
    let world = World::new();
    runtime.block_on(async {
        if timeout(HOUR, play(case, &world)).await.is_err() {
            world.wrong("it hangs");
        }
    });
    // What is left is dropped before anybody looks at the world.
    drop(runtime);
    world.verdict()
}

async fn play(case: &Case, world: &World) {
    let root = world.build(&case.root, None);
    let options = TreeOptions {
        start_timeout: Duration::from_millis(500),
        abort_grace: Duration::from_millis(50),
        observer: Arc::new(world.clone()),
        extension: None,
        incarnation_spans: false,
    };
    let before = Handle::current().metrics().num_alive_tasks();
    let tree = Tree::spawn(root.into_child(), options);
    let deeds = tokio::spawn(deed::all(case.deeds.clone(), world.clone(), tree.stopper()));
    end(case, world, tree).await;
    _ = deeds.await;
    // Longer than anything that is still on its way.
    sleep(Duration::from_secs(10)).await;
    world.nothing_is_left();
    let after = Handle::current().metrics().num_alive_tasks();
    if after != before {
        world.wrong(&format!("{} tasks are left", after - before));
    }
    world.nobody_answers().await;
}

async fn end(case: &Case, world: &World, mut tree: Tree) {
    let ended = timeout(Duration::from_millis(case.until.into()), tree.wait()).await;
    if ended.is_err() {
        let stopper = tree.stopper();
        let mut within = None;
        match case.end {
            End::Drop => {
                world.note("the tree is dropped");
                return drop(tree);
            }
            End::Stop => {}
            End::StopWithin(limit) => {
                let limit = Duration::from_millis(limit.into());
                stopper.limit(limit);
                within = Some(world.longest_stop_within(limit));
            }
        }
        world.note("the tree is stopped");
        world.root_ends();
        let (began, before) = (Instant::now(), world.slack());
        stopper.stop(StopCause::Shutdown);
        _ = tree.wait().await;
        let took = began.elapsed();
        let longest = world.longest_stop();
        let since = world.slack().saturating_sub(before);
        let within = within.map_or(longest, |within| longest.min(within + since));
        if took > within {
            world.wrong(&format!("the stop took {took:?} instead of {within:?}"));
        }
    }
    world.no_life_is_left("Tree::wait has completed");
}
