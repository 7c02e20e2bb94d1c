//! Calls to a supervisor that ends, and the call that ends it.

use super::*;

#[tokio::test(start_paused = true)]
async fn there_is_nobody_to_call_before_and_after() {
    let app = Supervisor::new("app");
    let crew = DynamicSupervisor::new("crew");
    let child = || worker("a", (), steady);
    let mut tree = app
        .clone()
        .child(crew.clone())
        .start()
        .await
        .expect("boots");
    let there = crew.start_child(child()).await.expect("starts");
    let there = there.child().expect("is not ignored").clone();
    for _ in 0..2 {
        tree.stop(StopCause::Shutdown);
        tree.wait().await.expect("stops");
        answers! {
            app.start_child(child()) => NO_PROC;
            app.terminate_child("a") => NO_PROC;
            app.restart_child("a") => NO_PROC;
            app.delete_child("a") => NO_PROC;
            app.which_children() => NO_PROC;
            app.count_children() => NO_PROC;
            app.get_childspec("a") => NO_PROC;
            app.stop(Ok(())) => NO_PROC;
            crew.start_child(child()) => NO_PROC;
            crew.terminate_child(&there) => NO_PROC;
            crew.which_children() => NO_PROC;
            crew.count_children() => NO_PROC;
            crew.stop(Ok(())) => NO_PROC;
        }
        assert!(app.pause().is_none());
        assert!(crew.pause().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_serves_one_tree_after_the_other() {
    let app = Supervisor::new("app").children(steadies(&["a"]));
    for _ in 0..2 {
        answers! { app.which_children() => NO_PROC; }
        let mut tree = app.clone().start().await.expect("boots");
        answers! {
            app.which_children() => "a Running";
            app.start_child(worker("b", (), steady)) => "started";
        }
        tree.stop(StopCause::Shutdown);
        tree.wait().await.expect("stops");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_tree_with_the_same_handle_does_not_start() {
    let crew = DynamicSupervisor::new("crew");
    let pool = Supervisor::new("pool");
    let app = |id, child: ChildSpec| Supervisor::new(id).child(child);
    let pools = [pool.clone().into_child(), pool.with_id("tank")];
    let crews = [crew.clone().into_child(), crew.with_id("gang")];
    for ([first, second], name) in [(pools, "pool"), (crews, "crew")] {
        let other = second.id().to_owned();
        let _tree = app("one", first).start().await.expect("boots");
        let error = app("two", second).start().await.expect_err("does not boot");
        assert_eq!(
            chain(&error),
            [
                format!("two/{other} did not start"),
                format!("{name} is published by one/{name} already, and by two/{other} now"),
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_overtakes_a_start_that_was_called_for() {
    async fn careful((): (), cx: Starting) -> Result {
        cx.cancelled().await;
        sleep(2 * SECOND).await;
        Err("rolled back".into())
    }
    let story = Story::new();
    let app = Supervisor::new("app").child(worker("a", SECOND, tidy));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    story.clear();
    call!(
        story,
        app.start_child(service("b", (), careful).cancel_grace(5 * SECOND))
    );
    call!(story, app.which_children());
    sleep(SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    tokio::task::yield_now().await;
    story.is(&[
        "0 app/b starting",
        "1 app/b stopping: Shutdown",
        "3 app/b stopped: rolled back",
        "3 app/a stopping: Shutdown",
        "3 > start_child: the supervisor is not running",
        "4 app/a stopped: shutdown",
        "4 > which_children: the supervisor is not running",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_overtakes_a_child_that_is_being_terminated_and_leaves_it_its_time() {
    let story = Story::new();
    let app = Supervisor::new("app")
        .child(worker("a", (), deaf).shutdown(Shutdown::Timeout(2 * SECOND)))
        .child(worker("b", (), deaf).shutdown(Shutdown::Timeout(3 * SECOND)))
        .child(worker("c", SECOND, tidy));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    story.clear();
    call!(story, app.terminate_child("b"));
    call!(story, app.terminate_child("c"));
    sleep(SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    tokio::task::yield_now().await;
    story.is(&[
        "0 app/b stopping: Terminated",
        "3 app/b killing",
        "3 app/b shutdown error: killed",
        "3 app/c stopping: Shutdown",
        "3 > terminate_child: done",
        "4 app/c stopped: shutdown",
        "4 app/a stopping: Shutdown",
        "6 app/a killing",
        "6 app/a shutdown error: killed",
        "6 > terminate_child: the supervisor is not running",
    ]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_while_it_ends_are_answered_at_once() {
    let story = Story::new();
    let app = Supervisor::new("app").child(worker("a", 3 * SECOND, tidy));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    tree.stop(StopCause::Shutdown);
    sleep(SECOND).await;
    answers! {
        app.which_children() => NO_PROC;
        app.start_child(worker("b", (), steady)) => NO_PROC;
    }
    assert_eq!(story.began.elapsed(), SECOND);
    tree.wait().await.expect("stops");
    assert_eq!(story.began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_supervisor_is_killed() {
    let story = Story::new();
    let inner = Supervisor::new("inner");
    let app = Supervisor::new("app").child(inner.clone().shutdown(Shutdown::BrutalKill));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    call!(story, inner.start_child(service("slow", 60 * SECOND, slow)));
    call!(story, inner.count_children());
    call!(story, inner.terminate_child("slow"));
    sleep(SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/inner/slow starting",
        "1 app/inner stopping: Shutdown",
        "1 > start_child: the supervisor is not running",
        "1 > count_children: the supervisor is not running",
        "1 > terminate_child: the supervisor is not running",
        "1 app/inner stopped: killed",
    ]);
}

/// What the supervisor above `inner` makes of its end.
async fn told_of(restart: Restart, reason: Result) -> String {
    let story = Story::new();
    let inner = Supervisor::new("inner").child(worker("a", SECOND, tidy));
    let app = Supervisor::new("app").child(inner.clone().restart(restart));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    inner.stop(reason).await.expect("stops");
    assert_eq!(story.began.elapsed(), SECOND);
    tokio::task::yield_now().await;
    let lines = story.lines();
    assert_eq!(
        lines[..2],
        [
            "0 app/inner/a stopping: Terminated",
            "1 app/inner/a stopped: shutdown"
        ]
    );
    let told = lines[2..]
        .iter()
        .filter_map(|line| line.strip_prefix("1 app/inner "));
    let told: Vec<_> = told.filter(|line| *line != "ready").collect();
    told.join(", ")
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_stopped_from_outside_ends_with_the_reason_that_it_is_given() {
    use Restart::{Permanent, Temporary, Transient};
    let shutdown = || Err(ExitWith(ExitReason::Shutdown).into());
    let stop = || Err(crate::Stop::new("enough").into());
    let error = || Err("boom".into());
    let again = "restarting, 2 left, starting";
    for (restart, reason, expected) in [
        (Permanent, Ok(()), format!("terminated: normal, {again}")),
        (
            Permanent,
            shutdown(),
            format!("terminated: shutdown, {again}"),
        ),
        (
            Permanent,
            stop(),
            format!("terminated: shutdown: enough, {again}"),
        ),
        (Permanent, error(), format!("terminated: boom, {again}")),
        (Transient, Ok(()), "left down: normal".into()),
        (Transient, shutdown(), "left down: shutdown".into()),
        (Transient, stop(), "left down: shutdown: enough".into()),
        (Transient, error(), format!("terminated: boom, {again}")),
        (Temporary, Ok(()), "left down: normal".into()),
        (
            Temporary,
            error(),
            "terminated: boom, left down: boom".into(),
        ),
    ] {
        let what = format!("{restart:?} {reason:?}");
        assert_eq!(told_of(restart, reason).await, expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_root_that_is_stopped_from_outside_ends_the_tree_with_the_reason() {
    for (reason, expected) in [(Ok(()), None), (Err("boom".into()), Some("boom"))] {
        let app = Supervisor::new("app").children(steadies(&["a"]));
        let mut tree = app.clone().start().await.expect("boots");
        app.stop(reason).await.expect("stops");
        let ended = tree.wait().await.map_err(|error| error.to_string());
        assert_eq!(ended.err().as_deref(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn two_who_stop_a_supervisor_are_both_answered_and_the_first_reason_counts() {
    let story = Story::new();
    let inner = Supervisor::new("inner").child(worker("a", 2 * SECOND, tidy));
    let app = Supervisor::new("app").child(inner.clone().restart(Restart::Transient));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    call!(story, inner.stop(Err("first".into())));
    sleep(SECOND).await;
    call!(story, inner.stop(Ok(())));
    story.until("app/inner ready").await;
    story.is(&[
        "0 app/inner/a stopping: Terminated",
        "2 app/inner/a stopped: shutdown",
        "2 > stop: done",
        "2 > stop: done",
        "2 app/inner terminated: first",
        "2 app/inner restarting, 2 left",
        "2 app/inner starting",
        "2 app/inner/a starting",
        "2 app/inner/a ready",
        "2 app/inner ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_outside_is_too_late_when_its_own_supervisor_has_asked() {
    let story = Story::new();
    let inner = Supervisor::new("inner").child(worker("a", 2 * SECOND, tidy));
    let mut tree = spawn(&story, Supervisor::new("app").child(inner.clone()));
    tree.ready().await.expect("boots");
    story.clear();
    tree.stop(StopCause::Shutdown);
    sleep(SECOND).await;
    call!(story, inner.stop(Err("too late".into())));
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/inner stopping: Shutdown",
        "0 app/inner/a stopping: Shutdown",
        "2 app/inner/a stopped: shutdown",
        "2 > stop: done",
        "2 app/inner stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_outside_calls_off_the_boot() {
    let story = Story::new();
    let app = Supervisor::new("app")
        .children(steadies(&["a"]))
        .child(service("slow", 60 * SECOND, slow));
    let mut tree = spawn(&story, app.clone());
    story.until("app/slow starting").await;
    story.clear();
    call!(story, app.stop(Ok(())));
    _ = tree.ready().await;
    story.is(&[
        "0 app/slow stopping: Terminated",
        "0 app/slow stopped: killed",
        "0 app/a stopping: Terminated",
        "0 app/a stopped: shutdown",
        "0 > stop: done",
    ]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_tree_that_has_ended() {
    let held = Arc::new(());
    let child = |id, held: &Arc<()>| {
        let run = |held: Arc<()>, cx: Context| async move {
            cx.shutdown().await;
            drop(held);
            Ok(())
        };
        worker(id, held.clone(), run)
    };
    let below = Supervisor::new("below").child(child("b", &held));
    let app = Supervisor::new("app")
        .child(child("a", &held))
        .child(below.clone());
    let mut tree = app.start().await.expect("boots");
    below.stop(Err("broken".into())).await.expect("runs");
    drop(below);
    sleep(SECOND).await;
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    drop(tree);
    assert_eq!(Arc::strong_count(&held), 1);
}
