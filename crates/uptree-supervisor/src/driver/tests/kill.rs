use super::*;

/// Blocks its thread: the abort cannot take effect.
async fn blocks(release: Arc<std::sync::Barrier>, cx: Context) -> Result {
    cx.shutdown().await;
    release.wait();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_cannot_be_killed_is_stuck_and_climbs_to_the_root() {
    let release = Arc::new(std::sync::Barrier::new(2));
    let story = Story::new();
    let options = TreeOptions {
        abort_grace: Duration::from_millis(20),
        observer: Arc::new(story.clone()),
        ..TreeOptions::default()
    };
    let short = Shutdown::Timeout(Duration::from_millis(20));
    let inner = Supervisor::new("inner")
        .children(steadies(&["early"]))
        .child(worker("blocks", release.clone(), blocks).shutdown(short));
    let mut tree = Supervisor::new("app").child(inner).spawn(options);
    tree.ready().await.expect("boots");
    tree.stop(StopCause::Shutdown);
    let error = tree.wait().await.expect_err("is stuck");
    release.wait();
    let Some(TreeError::Stuck { path, .. }) = error.downcast_ref() else {
        panic!("{error:?}");
    };
    assert_eq!(path, "app/inner/blocks");
    // What could stop has stopped, in order, all the same.
    story.until("app/inner/early stopped: shutdown").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_ends_and_leaves_a_blocked_task_is_stuck() {
    async fn leaves(release: Arc<std::sync::Barrier>, cx: Context) -> Result {
        let begun = Arc::new(Notify::new());
        let begins = begun.clone();
        cx.spawn(async move {
            // From another thread: a wake-up from this one would wait on it, and it blocks.
            let told = std::thread::spawn(move || begins.notify_one()).join();
            told.expect("no panic");
            release.wait();
        });
        begun.notified().await;
        Err("boom".into())
    }
    let release = Arc::new(std::sync::Barrier::new(2));
    let options = TreeOptions {
        abort_grace: Duration::from_millis(20),
        ..TreeOptions::default()
    };
    let app = Supervisor::new("app").child(worker("leaves", release.clone(), leaves));
    let mut tree = app.spawn(options);
    tree.ready().await.expect("boots");
    let error = tree.wait().await.expect_err("is stuck");
    release.wait();
    assert_eq!(
        error.to_string(),
        "app/leaves is stuck: still running 20ms after it was killed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_takes_its_children_along_before_its_parent_goes_on() {
    async fn holds((id, story): (&'static str, Story), _cx: Context) -> Result {
        let _falls = Falls(id, story);
        pending().await
    }
    let story = Story::new();
    let inner = Supervisor::new("inner")
        .child(worker("one", ("one", story.clone()), holds))
        .child(worker("two", ("two", story.clone()), holds));
    let app = Supervisor::new("app")
        .children(steadies(&["first"]))
        .child(inner.shutdown(Shutdown::BrutalKill));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    let mut lines = story.lines();
    lines[1..3].sort();
    assert_eq!(
        lines,
        [
            "0 app/inner stopping: Shutdown",
            "0 one dropped",
            "0 two dropped",
            "0 app/inner stopped: killed",
            "0 app/first stopping: Shutdown",
            "0 app/first stopped: shutdown",
        ]
    );
}
