//! What calls are answered, and when.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_call_has_its_answers() {
    let worker = |id| worker(id, (), steady);
    let app = Supervisor::new("app").child(worker("a"));
    let _tree = app.clone().start().await.expect("boots");
    answers! {
        app.start_child(worker("b")) => "started";
        app.start_child(worker("b")) => "a child with this id is running already";
        app.restart_child("b") => "the child is running";
        app.delete_child("b") => "the child is running";
        app.which_children() => "b Running, a Running";
        app.count_children() => "2 specs, 2 active, 0 supervisors, 2 workers";
        app.get_childspec("b") => "b";

        app.terminate_child("b") => "done";
        app.terminate_child("b") => "done";
        app.start_child(worker("b")) => "a child with this id is known already";
        app.which_children() => "b Undefined, a Running";
        app.count_children() => "2 specs, 1 active, 0 supervisors, 2 workers";
        app.get_childspec("b") => "b";

        app.restart_child("b") => "started";
        app.which_children() => "b Running, a Running";
        app.terminate_child("b") => "done";
        app.delete_child("b") => "done";
        app.terminate_child("b") => NOT_FOUND;
        app.restart_child("b") => NOT_FOUND;
        app.delete_child("b") => NOT_FOUND;
        app.get_childspec("b") => NOT_FOUND;
        app.start_child(worker("b")) => "started";

        app.start_child(Supervisor::new("c")) => "started";
        app.count_children() => "3 specs, 3 active, 1 supervisors, 2 workers";
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_leaves_no_child_says_what_it_left() {
    async fn work((): ()) -> Result {
        sleep(SECOND).await;
        Ok(())
    }
    let began = Instant::now();
    let app = Supervisor::new("app");
    let _tree = app.clone().start().await.expect("boots");
    let work = |id| once(id, (), work);
    answers! {
        app.start_child(service("broken", (), broken)) => "app/broken did not start: no schema";
        app.start_child(work("work")) => "ignored";
        app.start_child(work("gone").restart(Restart::Temporary)) => "ignored";
        app.which_children() => "work Undefined";
        app.restart_child("work") => "ignored";
        app.delete_child("work") => "done";
        app.count_children() => "0 specs, 0 active, 0 supervisors, 0 workers";
    }
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_is_forgotten_once_it_is_down() {
    let app = Supervisor::new("app");
    let _tree = app.clone().start().await.expect("boots");
    answers! {
        app.start_child(worker("t", (), steady).restart(Restart::Temporary)) => "started";
        app.terminate_child("t") => "done";
        app.terminate_child("t") => NOT_FOUND;
        app.which_children() => "";
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_for_a_caller_keeps_the_child_and_counts_for_nothing() {
    async fn once_only((): (), cx: Starting) -> Result {
        if cx.incarnation() > 0 {
            return Err("once is enough".into());
        }
        slow(Duration::ZERO, cx).await
    }
    let story = Story::new();
    let app = Supervisor::new("app")
        .intensity(0, SECOND)
        .child(service("a", (), once_only));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    app.terminate_child("a").await.expect("stops");
    story.clear();
    answers! {
        app.restart_child("a") => "app/a did not start: once is enough";
        app.restart_child("a") => "app/a did not start: once is enough";
        app.which_children() => "a Undefined";
    }
    // As in OTP nobody is told but the caller.
    story.is(&["0 app/a starting", "0 app/a starting"]);
}

#[tokio::test(start_paused = true)]
async fn a_significant_child_is_refused_where_it_cannot_be() {
    let child = |restart| worker("s", (), steady).restart(restart).significant();
    let refused = "the child is significant, and cannot be here";
    let never = Supervisor::new("never");
    let any = Supervisor::new("any").auto_shutdown(AutoShutdown::AnySignificant);
    let app = Supervisor::new("app")
        .child(never.clone())
        .child(any.clone());
    let _tree = app.start().await.expect("boots");
    answers! {
        never.start_child(child(Restart::Transient)) => refused;
        any.start_child(child(Restart::Permanent)) => refused;
        any.start_child(child(Restart::Transient)) => "started";
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_made_wrong_is_refused() {
    let app = Supervisor::new("app");
    let _tree = app.clone().start().await.expect("boots");
    let steady = |id| worker(id, (), steady);
    let twins = Supervisor::new("inner").children([steady("x"), steady("x")]);
    answers! {
        app.start_child(Wrong) => "wrong did not start: no such folder";
        app.start_child(Supervisor::new("inner").child(Wrong)) =>
            "app/inner did not start: app/inner/wrong is not set up right: no such folder";
        app.start_child(twins) =>
            "app/inner did not start: app/inner is not set up right: two of its children are called x";
        app.which_children() => "";
    }
}

struct Wrong;

impl crate::Child for Wrong {
    fn check(&self) -> Vec<BoxError> {
        vec!["no such folder".into()]
    }

    async fn run(&self, _cx: Starting) -> Result {
        unreachable!("it is not started")
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_for_a_start_is_told_what_it_has_to_tell() {
    async fn listens(port: u16, cx: Starting) -> Result {
        let cx = cx.ready_with(port);
        cx.shutdown().await;
        Ok(())
    }
    let app = Supervisor::new("app").child(service("first", 1_u16, listens));
    let _tree = app.clone().start().await.expect("boots");
    let started = app
        .start_child(service("second", 2_u16, listens))
        .await
        .expect("starts");
    assert_eq!(started.info(), Some(&2_u16));
    assert_eq!(started.info::<u32>(), None);
    // At boot there was nobody to tell.
    app.terminate_child("first").await.expect("stops");
    let started = app.restart_child("first").await.expect("starts");
    assert_eq!(started.info(), Some(&1_u16));
    let started = app
        .start_child(worker("third", (), steady))
        .await
        .expect("starts");
    assert_eq!(started.info::<u16>(), None);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_behind_a_start_and_are_answered_in_order() {
    let story = Story::new();
    let app = Supervisor::new("app").children(steadies(&["a"]));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    story.clear();
    call!(story, app.start_child(service("b", 2 * SECOND, slow)));
    call!(story, app.count_children());
    call!(story, app.terminate_child("b"));
    call!(story, app.start_child(service("c", SECOND, slow)));
    let last = call!(story, app.which_children());
    last.await.expect("no panic");
    story.is(&[
        "0 app/b starting",
        "2 app/b ready",
        "2 app/b stopping: Terminated",
        "2 > start_child: started",
        "2 > count_children: 2 specs, 2 active, 0 supervisors, 2 workers",
        "2 app/b stopped: shutdown",
        "2 app/c starting",
        "2 > terminate_child: done",
        "3 app/c ready",
        "3 > start_child: started",
        "3 > which_children: c Running, b Undefined, a Running",
    ]);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_behind_the_boot_and_behind_a_restart() {
    async fn slow_fuse(burn: Arc<Notify>, cx: Starting) -> Result {
        sleep(2 * SECOND).await;
        fuse(burn, cx.ready()).await
    }
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let app = Supervisor::new("app").child(service("slow", burn.clone(), slow_fuse));
    let mut tree = spawn(&story, app.clone());
    story.until("app/slow starting").await;
    call!(story, app.which_children());
    tree.ready().await.expect("boots");
    burn.notify_one();
    story.until("app/slow restarting, 2 left").await;
    call!(story, app.terminate_child("slow"))
        .await
        .expect("no panic");
    story.is(&[
        "0 app starting",
        "0 app/slow starting",
        "2 app/slow ready",
        "2 > which_children: slow Running",
        "2 app ready",
        "2 app/slow terminated: burnt",
        "2 app/slow restarting, 2 left",
        "2 app/slow starting",
        "4 app/slow ready",
        "4 app/slow stopping: Terminated",
        "4 app/slow stopped: shutdown",
        "4 > terminate_child: done",
    ]);
}

#[tokio::test(start_paused = true)]
async fn children_added_by_calls_are_lost_when_their_supervisor_restarts() {
    let story = Story::new();
    let inner = Supervisor::new("inner").children(steadies(&["a", "b"]));
    let app = Supervisor::new("app").child(inner.clone());
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    answers! {
        inner.start_child(worker("c", (), steady)) => "started";
        inner.terminate_child("a") => "done";
        inner.delete_child("a") => "done";
        inner.which_children() => "c Running, b Running";
    }
    story.clear();
    inner.stop(Err("boom".into())).await.expect("stops");
    story.until("app/inner ready").await;
    story.is(&[
        "0 app/inner/c stopping: Terminated",
        "0 app/inner/c stopped: shutdown",
        "0 app/inner/b stopping: Terminated",
        "0 app/inner/b stopped: shutdown",
        "0 app/inner terminated: boom",
        "0 app/inner restarting, 2 left",
        "0 app/inner starting",
        "0 app/inner/a starting",
        "0 app/inner/a ready",
        "0 app/inner/b starting",
        "0 app/inner/b ready",
        "0 app/inner ready",
    ]);
    answers! { inner.which_children() => "b Running, a Running"; }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_is_done_all_the_same() {
    let app = Supervisor::new("app");
    let _tree = app.clone().start().await.expect("boots");
    let call = app.start_child(service("slow", 2 * SECOND, slow));
    tokio::time::timeout(SECOND, call)
        .await
        .expect_err("takes longer");
    answers! { app.which_children() => "slow Running"; }
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_is_in_start_order_after_slots_were_used_again() {
    let ids = |tree: &Tree| {
        let snapshot = tree.stopper().snapshot();
        let ids = snapshot.children.into_iter().map(|child| child.id);
        ids.collect::<Vec<_>>().join(" ")
    };
    let story = Story::new();
    let app = Supervisor::new("app").children(steadies(&["a", "b", "c"]));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    answers! {
        app.terminate_child("a") => "done";
        app.delete_child("a") => "done";
        app.start_child(worker("d", (), steady)) => "started";
        app.start_child(worker("e", (), steady)) => "started";
        app.terminate_child("b") => "done";
    }
    assert_eq!(ids(&tree), "b c d e");
    answers! {
        app.restart_child("b") => "started";
        app.which_children() => "e Running, d Running, c Running, b Running";
    }
    assert_eq!(ids(&tree), "b c d e");
    story.clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/e stopping: Shutdown",
        "0 app/e stopped: shutdown",
        "0 app/d stopping: Shutdown",
        "0 app/d stopped: shutdown",
        "0 app/c stopping: Shutdown",
        "0 app/c stopped: shutdown",
        "0 app/b stopping: Shutdown",
        "0 app/b stopped: shutdown",
    ]);
}
