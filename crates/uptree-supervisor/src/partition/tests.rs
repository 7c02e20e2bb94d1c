//! Routing, and partitions that go and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    ChildSpec, Context, ControlError, DynamicSupervisor, IntoChild, PartitionSupervisor, Restart,
    Result, Starting, Status, StopCause, Supervisor, TaskSupervisor, Tree, service, worker,
};

const SECOND: Duration = Duration::from_secs(1);

async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

fn pools(count: usize) -> PartitionSupervisor<DynamicSupervisor> {
    PartitionSupervisor::new("pools", |_| DynamicSupervisor::new("pool")).partitions(count)
}

async fn started<C>(partitions: &PartitionSupervisor<C>) -> Tree
where
    C: IntoChild + Clone + Send + Sync + 'static,
{
    let app = Supervisor::new("app").child(partitions.clone());
    app.start().await.expect("boots")
}

async fn active(pools: &PartitionSupervisor<DynamicSupervisor>) -> (usize, usize) {
    let counts = pools.count_children().await.expect("runs");
    (counts.specs, counts.active)
}

#[tokio::test(start_paused = true)]
async fn each_partition_is_made_once_and_its_number_is_its_id() {
    let made = Arc::new(AtomicUsize::new(0));
    let partitions = PartitionSupervisor::new("numbers", {
        let made = made.clone();
        move |index| {
            made.fetch_add(1, Ordering::SeqCst);
            worker("number", index, |_, cx: Context| async move {
                cx.shutdown().await;
                Ok(())
            })
            .into_child()
        }
    });
    let partitions = partitions.partitions(3);
    let _tree = started(&partitions).await;
    let known = partitions.which_children().await.expect("runs");
    let ids: Vec<_> = known.iter().map(|it| it.id().to_owned()).collect();
    assert_eq!(ids, ["2", "1", "0"]);
    assert_eq!(made.load(Ordering::SeqCst), 3);
    assert_eq!(partitions.iter().count(), 3);
}

#[test]
fn there_is_one_for_each_core_and_never_none() {
    let pools = PartitionSupervisor::new("pools", |_| DynamicSupervisor::new("pool"));
    let cores = std::thread::available_parallelism().expect("known");
    assert_eq!(pools.len(), cores.get());
    assert_eq!(pools.partitions(0).len(), 1);
}

#[test]
fn numbers_wrap_around_and_keys_are_spread() {
    let same = |a: &DynamicSupervisor, b: &DynamicSupervisor| std::ptr::eq(a, b);
    let three = pools(3);
    assert!(same(three.partition(3), three.partition(0)));
    assert!(!same(three.partition(3), three.partition(1)));
    assert!(same(three.get("a"), three.get(&"a".to_owned())));

    for count in [2, 3, 4, 8, 16] {
        let pools = pools(count);
        let spread = |keys: &mut dyn Iterator<Item = &DynamicSupervisor>| {
            let mut hits = vec![0; count];
            for key in keys {
                let index = pools.iter().position(|it| same(it, key));
                hits[index.expect("one of them")] += 1;
            }
            let few = hits.iter().min().copied().unwrap_or_default();
            assert!(few > 10_000 / count / 2, "{hits:?}");
        };
        spread(&mut (0..10_000_u64).map(|key| pools.get(&key)));
        spread(&mut (0..10_000_u64).map(|key| pools.get(&(key * 4096))));
        spread(&mut (0..10_000).map(|key| pools.get(&format!("user-{key}"))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_fails_is_restarted_and_the_others_stay() {
    let pools = pools(3);
    let _tree = started(&pools).await;
    for pool in pools.iter() {
        pool.start_child(worker("w", (), steady))
            .await
            .expect("starts");
    }
    let failed = pools.partition(1);
    failed.stop(Err("broken".into())).await.expect("runs");
    while failed.count_children().await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut counts = Vec::new();
    for pool in pools.iter() {
        counts.push(pool.count_children().await.expect("runs").active);
    }
    assert_eq!(counts, [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_are_too_many() {
    let pools = pools(3).intensity(0, SECOND);
    let mut tree = Supervisor::new("app")
        .child(pools.clone().restart(Restart::Temporary))
        .start()
        .await
        .expect("boots");
    let broken = pools.partition(2).stop(Err("broken".into())).await;
    broken.expect("runs");
    while pools.count_children().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let down = pools.partition(0).count_children().await;
    assert!(matches!(down, Err(ControlError::NoProc)));
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
}

#[tokio::test(start_paused = true)]
async fn a_resize_takes_the_last_ones_away_and_brings_them_back() {
    let pools = pools(4);
    let before = pools.resize(2).await;
    assert!(matches!(before, Err(ControlError::NoProc)));
    let _tree = started(&pools).await;
    assert_eq!((pools.len(), active(&pools).await), (4, (4, 4)));

    let third = pools.partition(2).clone();
    pools.resize(2).await.expect("fewer");
    assert_eq!((pools.len(), active(&pools).await), (2, (4, 2)));
    let gone = third.count_children().await;
    assert!(matches!(gone, Err(ControlError::NoProc)));
    for key in 0..100 {
        pools.get(&key).count_children().await.expect("runs");
    }
    let known = pools.which_children().await.expect("runs");
    let status: Vec<_> = known.iter().map(crate::ChildInfo::status).collect();
    let (off, on) = (Status::Undefined, Status::Running);
    assert_eq!(status, [off, off, on, on]);

    pools.resize(4).await.expect("as many as there were");
    assert_eq!((pools.len(), active(&pools).await), (4, (4, 4)));
    third.count_children().await.expect("runs again");

    pools.resize(0).await.expect("none");
    assert!(pools.is_empty());
    let none = pools.get("a").count_children().await;
    assert!(matches!(none, Err(ControlError::NoProc)));
    let more = pools.resize(5).await;
    assert!(matches!(more, Err(ControlError::MaxChildren)));
    pools.resize(1).await.expect("one");
    assert_eq!(active(&pools).await, (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_does_not_come_back_is_not_led_to() {
    async fn start((index, starts): (usize, Arc<AtomicUsize>), cx: Starting) -> Result {
        // The first two starts are the boot's.
        let start = starts.fetch_add(1, Ordering::SeqCst);
        if index == 1 && start == 2 {
            return Err("no room".into());
        }
        cx.ready().shutdown().await;
        Ok(())
    }
    let starts = Arc::new(AtomicUsize::new(0));
    let partitions = PartitionSupervisor::new("p", {
        let starts = starts.clone();
        move |index| -> ChildSpec { service("p", (index, starts.clone()), start).into_child() }
    });
    let partitions = partitions.partitions(2);
    let _tree = started(&partitions).await;
    partitions.resize(1).await.expect("fewer");
    let error = partitions.resize(2).await.expect_err("does not start");
    assert_eq!(error.to_string(), "app/p/1 did not start");
    assert_eq!(partitions.len(), 1);
    partitions.resize(2).await.expect("starts now");
    assert_eq!(partitions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_brings_all_of_them_back() {
    let pools = pools(3);
    let _tree = started(&pools).await;
    pools.resize(1).await.expect("fewer");
    pools.stop(Err("broken".into())).await.expect("runs");
    while pools.count_children().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!((pools.len(), active(&pools).await), (3, (3, 3)));
}

#[tokio::test(start_paused = true)]
async fn tasks_can_be_partitioned_and_stop_with_it() {
    let tasks = PartitionSupervisor::new("tasks", |_| TaskSupervisor::new("tasks")).partitions(4);
    let mut tree = started(&tasks).await;
    let task = |key: u64| tasks.get(&key).async_nolink(async move { key });
    let all = futures_util::future::join_all((0..100).map(task)).await;
    assert!((0..100).zip(all).all(|(key, value)| value == Ok(key)));

    let never = tasks.get("never").async_nolink(sleep(1000 * SECOND));
    let began = Instant::now();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(never.await, Err(crate::TaskError::Stopped));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[test]
fn a_significant_partition_is_refused() {
    let partitions = PartitionSupervisor::new("p", |_| {
        worker("p", (), steady)
            .restart(Restart::Transient)
            .significant()
    });
    let faults = partitions.partitions(1).into_child().check();
    assert_eq!(faults.len(), 1, "{faults:?}");
}
