//! How children without an order stop.

use super::*;

/// What a stop of these children tells, sorted, and who has to wait how long.
async fn stopped(crew: DynamicSupervisor, children: Vec<ChildSpec>) -> (Vec<String>, Duration) {
    let story = Story::new();
    let app = Supervisor::new("app").child(crew.clone());
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    for child in children {
        call!(story, crew.start_child(child));
    }
    tokio::task::yield_now().await;
    crew.count_children().await.expect("runs");
    tokio::task::yield_now().await;
    story.clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    tokio::task::yield_now().await;
    let took = story.began.elapsed();
    let mut lines = story.lines();
    lines.sort();
    (lines, took)
}

#[tokio::test(start_paused = true)]
async fn all_are_asked_at_once_and_the_slowest_counts() {
    async fn careful((): (), cx: Starting) -> Result {
        cx.cancelled().await;
        sleep(SECOND).await;
        Err("rolled back".into())
    }
    let timeout = |seconds| Shutdown::Timeout(seconds * SECOND);
    let children = vec![
        worker("tidy", 2 * SECOND, tidy).into_child(),
        worker("deaf", (), deaf).shutdown(timeout(3)),
        worker("brutal", (), deaf).shutdown(Shutdown::BrutalKill),
        worker("patient", 4 * SECOND, tidy).shutdown(Shutdown::Infinity),
        service("careful", (), careful).cancel_grace(9 * SECOND),
        service("starting", 60 * SECOND, slow).into_child(),
    ];
    let (lines, took) = stopped(DynamicSupervisor::new("crew"), children).await;
    assert_eq!(took, 4 * SECOND);
    let no_proc = "> start_child: the supervisor is not running";
    assert_eq!(
        lines,
        [
            &format!("0 {no_proc}"),
            "0 app/crew stopping: Shutdown",
            "0 app/crew/brutal stopped: killed",
            "0 app/crew/brutal stopping: Shutdown",
            "0 app/crew/careful stopping: Shutdown",
            "0 app/crew/deaf stopping: Shutdown",
            "0 app/crew/patient stopping: Shutdown",
            "0 app/crew/starting stopped: killed",
            "0 app/crew/starting stopping: Shutdown",
            "0 app/crew/tidy stopping: Shutdown",
            &format!("1 {no_proc}"),
            "1 app/crew/careful stopped: rolled back",
            "2 app/crew/tidy stopped: shutdown",
            "3 app/crew/deaf killing",
            "3 app/crew/deaf shutdown error: killed",
            "4 app/crew stopped: shutdown",
            "4 app/crew/patient stopped: shutdown",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn who_fails_or_waits_for_a_restart_is_not_started_again_by_then() {
    async fn fails_at_its_stop((): (), cx: Context) -> Result {
        cx.shutdown().await;
        Err("torn".into())
    }
    async fn fails((): (), _cx: Context) -> Result {
        Err("boom".into())
    }
    let hour = Backoff::new(3600 * SECOND, 3600 * SECOND);
    let crew = DynamicSupervisor::new("crew").backoff(hour);
    let children = vec![
        worker("tidy", SECOND, tidy).into_child(),
        worker("torn", (), fails_at_its_stop).into_child(),
        worker("waits", (), fails).into_child(),
    ];
    let (lines, took) = stopped(crew, children).await;
    assert_eq!(took, SECOND);
    assert_eq!(
        lines,
        [
            "0 app/crew stopping: Shutdown",
            "0 app/crew/tidy stopping: Shutdown",
            "0 app/crew/torn shutdown error: torn",
            "0 app/crew/torn stopping: Shutdown",
            "1 app/crew stopped: shutdown",
            "1 app/crew/tidy stopped: shutdown",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_being_terminated_keeps_its_time_when_all_stop() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let mut tree = spawn(&story, Supervisor::new("app").child(crew.clone()));
    tree.ready().await.expect("boots");
    let started = crew
        .start_child(worker("it", (), deaf))
        .await
        .expect("starts");
    let it = started.child().expect("is not ignored").clone();
    crew.start_child(worker("other", (), deaf))
        .await
        .expect("starts");
    story.clear();
    call!(story, crew.terminate_child(&it));
    sleep(2 * SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/crew/it stopping: Terminated",
        "2 app/crew stopping: Shutdown",
        "2 app/crew/other stopping: Shutdown",
        "5 app/crew/it killing",
        "5 app/crew/it shutdown error: killed",
        "5 > terminate_child: done",
        "7 app/crew/other killing",
        "7 app/crew/other shutdown error: killed",
        "7 app/crew stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_is_in_start_order_after_slots_were_used_again() {
    let crew = DynamicSupervisor::new("crew");
    let app = Supervisor::new("app").child(crew.clone());
    let tree = app.start().await.expect("boots");
    let mut children = Vec::new();
    for id in ["a", "b", "c"] {
        let started = crew.start_child(worker(id, (), steady)).await;
        children.extend(started.expect("starts").child().cloned());
    }
    for child in [&children[1], &children[0]] {
        crew.terminate_child(child).await.expect("stops");
    }
    for id in ["d", "e", "f"] {
        crew.start_child(worker(id, (), steady))
            .await
            .expect("starts");
    }
    let snapshot = tree.stopper().snapshot().children.remove(0);
    let ids: Vec<_> = snapshot
        .children
        .into_iter()
        .map(|child| child.id)
        .collect();
    assert_eq!(ids, ["c", "d", "e", "f"]);
}
