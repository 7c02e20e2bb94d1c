use super::*;

#[tokio::test(start_paused = true)]
async fn rest_for_one_takes_the_later_ones_along_and_says_why() {
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let mut tree = spawn(
        &story,
        Supervisor::new("app")
            .strategy(Strategy::RestForOne)
            .children(steadies(&["first"]))
            .child(worker("fuse", burn.clone(), fuse))
            .children(steadies(&["last"])),
    );
    tree.ready().await.expect("boots");
    story.clear();
    burn.notify_one();
    story.until("app/last ready").await;
    story.is(&[
        "0 app/fuse terminated: burnt",
        "0 app/fuse restarting, 2 left",
        "0 app/last stopping: GroupRestart",
        "0 app/last stopped: shutdown",
        "0 app/fuse starting",
        "0 app/fuse ready",
        "0 app/last starting",
        "0 app/last ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_end_the_tree_with_the_last_cause() {
    async fn crashes((): (), _cx: Context) -> Result {
        sleep(SECOND).await;
        Err("boom".into())
    }
    let app = Supervisor::new("app")
        .child(worker("crashes", (), crashes))
        .intensity(2, 60 * SECOND);
    let mut tree = app.start().await.expect("boots");
    let error = tree.wait().await.expect_err("gives up");
    assert_eq!(
        chain(&error),
        [
            "app gave up: app/crashes failed once more than 2 times within 60s",
            "boom"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_restarted_by_its_own() {
    async fn crashes(burn: Arc<Notify>, cx: Context) -> Result {
        fuse(burn, cx).await
    }
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let inner = Supervisor::new("inner")
        .intensity(0, SECOND)
        .children(steadies(&["first"]))
        .child(worker("fuse", burn.clone(), crashes));
    let mut tree = spawn(&story, Supervisor::new("app").child(inner));
    tree.ready().await.expect("boots");
    story.clear();
    burn.notify_one();
    story.until("app/inner ready").await;
    story.is(&[
        "0 app/inner/fuse terminated: burnt",
        "0 app/inner/fuse too often",
        "0 app/inner ending",
        "0 app/inner/first stopping: Terminated",
        "0 app/inner/first stopped: shutdown",
        "0 app/inner terminated: app/inner gave up: app/inner/fuse failed once more than 0 times within 1s: burnt",
        "0 app/inner restarting, 2 left",
        "0 app/inner starting",
        "0 app/inner/first starting",
        "0 app/inner/first ready",
        "0 app/inner/fuse starting",
        "0 app/inner/fuse ready",
        "0 app/inner ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_fails_the_child() {
    async fn parent((): (), cx: Context) -> Result {
        if cx.incarnation() == 0 {
            cx.spawn(async { panic!("in a task") });
        }
        cx.shutdown().await;
        Ok(())
    }
    let story = Story::new();
    let mut tree = spawn(
        &story,
        Supervisor::new("app").child(worker("parent", (), parent)),
    );
    tree.ready().await.expect("boots");
    story.until("app/parent restarting, 2 left").await;
    story
        .until("app/parent terminated: panicked: in a task")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_is_not_restarted_and_a_transient_only_after_a_failure() {
    async fn ends(result: Option<&'static str>, _cx: Context) -> Result {
        match result {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
    let story = Story::new();
    let app = Supervisor::new("app")
        .child(worker("temporary", Some("boom"), ends).restart(Restart::Temporary))
        .child(worker("transient", None, ends).restart(Restart::Transient))
        .children(steadies(&["last"]));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.until("app/transient left down: normal").await;
    story.until("app/temporary left down: boom").await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
}

/// An error that looks at the tree when it is dropped.
#[derive(Debug)]
struct Nosy(crate::Stopper);

impl std::fmt::Display for Nosy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nosy")
    }
}

impl std::error::Error for Nosy {}

impl Drop for Nosy {
    fn drop(&mut self) {
        assert_eq!(self.0.snapshot().children.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_may_look_at_the_tree_when_it_is_dropped() {
    let stopper = Arc::new(std::sync::OnceLock::<crate::Stopper>::new());
    let crash = Arc::new(Notify::new());
    let child = worker(
        "a",
        (stopper.clone(), crash.clone()),
        |(stopper, crash), cx: Context| async move {
            if cx.incarnation() == 0 {
                crash.notified().await;
                return Err(Nosy(stopper.get().expect("it is set").clone()).into());
            }
            cx.shutdown().await;
            Ok(())
        },
    );
    let mut tree = Supervisor::new("app")
        .child(child)
        .start()
        .await
        .expect("boots");
    assert!(stopper.set(tree.stopper()).is_ok());
    crash.notify_one();
    sleep(SECOND).await;
    assert_eq!(tree.stopper().snapshot().children[0].incarnation, 1);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
}
