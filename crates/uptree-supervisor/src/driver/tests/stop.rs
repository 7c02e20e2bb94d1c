use super::*;

#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_stop_in_reverse_each_in_its_own_time() {
    async fn slow(start: Duration, cx: Starting) -> Result {
        sleep(start).await;
        let cx = cx.ready();
        cx.shutdown().await;
        sleep(start).await;
        Ok(())
    }
    let story = Story::new();
    let mut tree = spawn(
        &story,
        Supervisor::new("app")
            .child(service("pool", 2 * SECOND, slow))
            .child(worker("deaf", (), deaf).shutdown(Shutdown::Timeout(3 * SECOND)))
            .child(service("http", SECOND, slow)),
    );
    tree.ready().await.expect("boots");
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app starting",
        "0 app/pool starting",
        "2 app/pool ready",
        "2 app/deaf starting",
        "2 app/deaf ready",
        "2 app/http starting",
        "3 app/http ready",
        "3 app ready",
        "3 app/http stopping: Shutdown",
        "4 app/http stopped: shutdown",
        "4 app/deaf stopping: Shutdown",
        "7 app/deaf killing",
        "7 app/deaf shutdown error: killed",
        "7 app/pool stopping: Shutdown",
        "9 app/pool stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_boot_calls_off_the_start_and_gives_it_its_grace() {
    async fn tidy((): (), cx: Starting) -> Result {
        cx.cancelled().await;
        sleep(2 * SECOND).await;
        Err("rolled back".into())
    }
    let story = Story::new();
    let app = Supervisor::new("app")
        .children(steadies(&["first"]))
        .child(service("migrator", (), tidy).cancel_grace(5 * SECOND))
        .children(steadies(&["never"]));
    let mut tree = spawn(&story, app);
    story.until("app/migrator starting").await;
    tree.stop(StopCause::Shutdown);
    tree.ready().await.expect("a stop is not a failure");
    story.is(&[
        "0 app starting",
        "0 app/first starting",
        "0 app/first ready",
        "0 app/migrator starting",
        "0 app/migrator stopping: Shutdown",
        "2 app/migrator stopped: rolled back",
        "2 app/first stopping: Shutdown",
        "2 app/first stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_restart_does_not_wait_for_it() {
    async fn slow_again(burn: Arc<Notify>, cx: Starting) -> Result {
        if cx.incarnation() > 0 {
            sleep(60 * SECOND).await;
        }
        let _cx = cx.ready();
        burn.notified().await;
        Err("burnt".into())
    }
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let app = Supervisor::new("app")
        .child(service("slow", burn.clone(), slow_again).start_timeout(90 * SECOND))
        .children(steadies(&["last"]));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    burn.notify_one();
    story.until("app/slow restarting, 2 left").await;
    sleep(SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(story.began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_stop_goes_on_where_it_is() {
    async fn lingers((): (), cx: Context) -> Result {
        let cause = cx.shutdown().await;
        sleep(2 * SECOND).await;
        assert_eq!(cx.stop_cause(), Some(cause), "the first cause is kept");
        Ok(())
    }
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let app = Supervisor::new("app")
        .strategy(Strategy::OneForAll)
        .child(worker("fuse", burn.clone(), fuse))
        .child(worker("lingers", (), lingers))
        .children(steadies(&["last"]));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    burn.notify_one();
    story.until("app/lingers stopping: GroupRestart").await;
    tree.stop(StopCause::Shutdown);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/fuse terminated: burnt",
        "0 app/fuse restarting, 2 left",
        "0 app/last stopping: GroupRestart",
        "0 app/last stopped: shutdown",
        "0 app/lingers stopping: GroupRestart",
        "2 app/lingers stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn brutal_kill_does_not_ask() {
    async fn deaf_but_tidy(asked: Arc<Mutex<bool>>, cx: Context) -> Result {
        cx.shutdown().await;
        *asked.lock().expect("no panic") = true;
        pending().await
    }
    let asked = Arc::new(Mutex::new(false));
    let child = worker("k", asked.clone(), deaf_but_tidy).shutdown(Shutdown::BrutalKill);
    let mut tree = Supervisor::new("app")
        .child(child)
        .start()
        .await
        .expect("boots");
    let began = Instant::now();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!*asked.lock().expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn infinity_is_waited_for() {
    async fn patient((): (), cx: Context) -> Result {
        cx.shutdown().await;
        assert_eq!(cx.stop_deadline(), None);
        sleep(3600 * SECOND).await;
        Ok(())
    }
    let child = worker("p", (), patient).shutdown(Shutdown::Infinity);
    let mut tree = Supervisor::new("app")
        .child(child)
        .start()
        .await
        .expect("boots");
    let began = Instant::now();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(began.elapsed(), 3600 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_tree_leaves_nothing() {
    let story = Story::new();
    let before = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    let inner = Supervisor::new("inner").children(steadies(&["a", "b"]));
    let mut tree = spawn(&story, Supervisor::new("app").child(inner));
    tree.ready().await.expect("boots");
    drop(tree);
    sleep(SECOND).await;
    let after = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_an_incarnation_end_with_it_before_it_counts_as_gone() {
    async fn parent(story: Story, cx: Starting) -> Result {
        let held = Falls("task", story);
        cx.spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        let cx = cx.ready();
        cx.shutdown().await;
        Ok(())
    }
    let story = Story::new();
    let app = Supervisor::new("app").child(service("parent", story.clone(), parent));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    tokio::task::yield_now().await;
    story.clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/parent stopping: Shutdown",
        "0 task dropped",
        "0 app/parent stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_stopped_before_it_has_begun_starts_nobody() {
    let list = Supervisor::new("app").children(steadies(&["a", "b"]));
    let together = crate::Parallel::new("app").children(steadies(&["a", "b"]));
    for root in [list.into_child(), together.into_child()] {
        let story = Story::new();
        let options = TreeOptions {
            observer: Arc::new(story.clone()),
            ..TreeOptions::default()
        };
        let mut tree = Tree::spawn(root, options);
        tree.stop(StopCause::Shutdown);
        tree.ready().await.expect("a stop is not a failure");
        story.is(&["0 app starting"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_out_of_time_gets_no_more_of_it_from_a_stop() {
    async fn hangs((): (), _cx: Starting) -> Result {
        pending().await
    }
    let story = Story::new();
    let child = service("hangs", (), hangs)
        .start_timeout(7 * SECOND)
        .cancel_grace(5 * SECOND);
    let mut tree = spawn(&story, Supervisor::new("app").child(child));
    story.until("app/hangs starting").await;
    sleep(9 * SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app starting",
        "0 app/hangs starting",
        "9 app/hangs stopping: Shutdown",
        "12 app/hangs killing",
        "12 app/hangs stopped: not ready within 7s",
    ]);
}
