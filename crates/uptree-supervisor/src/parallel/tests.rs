//! Paused time: what overlaps takes as long as the slowest.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    ChildSpec, ControlError, IntoChild, Parallel, Restart, Result, Shutdown, Starting, StopCause,
    Supervisor,
    driver::tests::{Story, chain, deaf, fuse, spawn, steadies, steady},
    once, parallel, service, worker,
};

const SECOND: Duration = Duration::from_secs(1);

/// Takes so many seconds to start, and as many to stop.
async fn slow(seconds: u32, cx: Starting) -> Result {
    sleep(seconds * SECOND).await;
    cx.ready().shutdown().await;
    sleep(seconds * SECOND).await;
    Ok(())
}

/// Does not start, and takes so many seconds for it.
async fn broken(seconds: u32, _cx: Starting) -> Result {
    sleep(seconds * SECOND).await;
    Err("no room".into())
}

fn slows(members: &[(&'static str, u32)]) -> Vec<ChildSpec> {
    let members = members.iter();
    let members = members.map(|&(id, seconds)| service(id, seconds, slow).into_child());
    members.collect()
}

#[tokio::test(start_paused = true)]
async fn members_start_together_and_stop_together() {
    let story = Story::new();
    let mut tree = spawn(
        &story,
        Supervisor::new("app")
            .children(steadies(&["first"]))
            .child(parallel(slows(&[("a", 3), ("b", 1), ("c", 2)])))
            .children(steadies(&["last"])),
    );
    tree.ready().await.expect("boots");
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app starting",
        "0 app/first starting",
        "0 app/first ready",
        "0 app/a+b+c starting",
        "0 app/a+b+c/a starting",
        "0 app/a+b+c/b starting",
        "0 app/a+b+c/c starting",
        "1 app/a+b+c/b ready",
        "2 app/a+b+c/c ready",
        "3 app/a+b+c/a ready",
        "3 app/a+b+c ready",
        "3 app/last starting",
        "3 app/last ready",
        "3 app ready",
        "3 app/last stopping: Shutdown",
        "3 app/last stopped: shutdown",
        "3 app/a+b+c stopping: Shutdown",
        "3 app/a+b+c/a stopping: Shutdown",
        "3 app/a+b+c/b stopping: Shutdown",
        "3 app/a+b+c/c stopping: Shutdown",
        "4 app/a+b+c/b stopped: shutdown",
        "5 app/a+b+c/c stopped: shutdown",
        "6 app/a+b+c/a stopped: shutdown",
        "6 app/a+b+c stopped: shutdown",
        "6 app/first stopping: Shutdown",
        "6 app/first stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_start_fails_the_group_and_is_named() {
    let story = Story::new();
    let mut tree = spawn(
        &story,
        Supervisor::new("app").children(steadies(&["first"])).child(
            Parallel::new("group")
                .children(slows(&[("ready", 1)]))
                .child(service("bad", 2, broken))
                .child(service("late", 9, slow).cancel_grace(5 * SECOND)),
        ),
    );
    let error = tree.ready().await.expect_err("does not boot");
    assert_eq!(chain(&error), ["app/group/bad did not start", "no room"]);
    story.is(&[
        "0 app starting",
        "0 app/first starting",
        "0 app/first ready",
        "0 app/group starting",
        "0 app/group/ready starting",
        "0 app/group/bad starting",
        "0 app/group/late starting",
        "1 app/group/ready ready",
        "2 app/group/bad start failed: no room",
        "2 app/group ending",
        "2 app/group/ready stopping: Terminated",
        "2 app/group/late stopping: Terminated",
        "3 app/group/ready stopped: shutdown",
        "7 app/group/late killing",
        "7 app/group/late stopped: killed",
        "7 app/group start failed: app/group/bad did not start: no room",
        "7 app ending",
        "7 app/first stopping: Shutdown",
        "7 app/first stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_fail_at_once_the_first_is_named() {
    let group = parallel([service("a", 1, broken), service("b", 1, broken)]);
    let error = group_error(group.into_child()).await;
    assert_eq!(error, ["app/a+b/a did not start", "no room"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_never_ready_fails_the_group() {
    let timeout = |seconds| service("x", 100, slow).start_timeout(seconds * SECOND);
    let group = parallel([timeout(9), timeout(3).with_id("hangs")]);
    let began = Instant::now();
    let error = group_error(group.into_child()).await;
    assert_eq!(
        error,
        ["app/x+hangs/hangs did not start", "not ready within 3s"]
    );
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_deepest_path_is_named() {
    let db = Supervisor::new("db")
        .children(steadies(&["pool"]))
        .child(service("schema", 1, broken));
    let group = Parallel::new("group")
        .child(db)
        .children(slows(&[("a", 5)]));
    let error = group_error(group.into_child()).await;
    assert_eq!(error, ["app/group/db/schema did not start", "no room"]);
}

async fn group_error(group: ChildSpec) -> Vec<String> {
    let app = Supervisor::new("app").child(group);
    chain(&app.start().await.expect_err("does not boot"))
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_its_boot_calls_every_start_off() {
    let story = Story::new();
    let group = Parallel::new("group")
        .children(slows(&[("ready", 1)]))
        .child(service("late", 9, slow))
        .child(service("tidy", 9, slow).cancel_grace(4 * SECOND));
    let mut tree = spawn(&story, Supervisor::new("app").child(group));
    story.until("app/group/ready ready").await;
    tree.stop(StopCause::Shutdown);
    tree.ready().await.expect("is no error");
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app starting",
        "0 app/group starting",
        "0 app/group/ready starting",
        "0 app/group/late starting",
        "0 app/group/tidy starting",
        "1 app/group/ready ready",
        "1 app/group stopping: Shutdown",
        "1 app/group/ready stopping: Shutdown",
        "1 app/group/late stopping: Shutdown",
        "1 app/group/tidy stopping: Shutdown",
        "1 app/group/late stopped: killed",
        "2 app/group/ready stopped: shutdown",
        "5 app/group/tidy killing",
        "5 app/group/tidy stopped: killed",
        "5 app/group stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_member_is_restarted_by_itself_until_the_group_gives_up() {
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let group = Parallel::new("group")
        .intensity(1, 5 * SECOND)
        .children(steadies(&["other"]))
        .child(worker("fuse", burn.clone(), fuse));
    let mut tree = spawn(&story, Supervisor::new("app").child(group));
    tree.ready().await.expect("boots");
    story.clear();
    burn.notify_one();
    story.until("app/group/fuse ready").await;
    burn.notify_one();
    story.until("app/group ready").await;
    story.is(&[
        "0 app/group/fuse terminated: burnt",
        "0 app/group/fuse restarting, 0 left",
        "0 app/group/fuse starting",
        "0 app/group/fuse ready",
        "0 app/group/fuse terminated: burnt",
        "0 app/group/fuse too often",
        "0 app/group ending",
        "0 app/group/other stopping: Terminated",
        "0 app/group/other stopped: shutdown",
        "0 app/group terminated: app/group gave up: app/group/fuse failed once more than 1 times \
         within 5s: burnt",
        "0 app/group restarting, 2 left",
        "0 app/group starting",
        "0 app/group/other starting",
        "0 app/group/fuse starting",
        "0 app/group/other ready",
        "0 app/group/fuse ready",
        "0 app/group ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn members_that_have_done_their_work_are_forgotten() {
    async fn sweep(seconds: u32) -> Result {
        sleep(seconds * SECOND).await;
        Ok(())
    }
    let group = Parallel::new("group")
        .child(once("a", 2, sweep))
        .child(once("b", 3, sweep))
        .children(steadies(&["c"]));
    let down = group.count_children().await;
    assert!(matches!(down, Err(ControlError::NoProc)));
    let began = Instant::now();
    let app = Supervisor::new("app").child(group.clone());
    let _tree = app.start().await.expect("boots");
    assert_eq!(began.elapsed(), 3 * SECOND);
    let known = group.which_children().await.expect("runs");
    let ids: Vec<_> = known.iter().map(crate::ChildInfo::id).collect();
    assert_eq!(ids, ["c"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_is_ready_at_once() {
    let group = Parallel::new("empty");
    let mut tree = Supervisor::new("app")
        .child(group)
        .start()
        .await
        .expect("boots");
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_as_long_as_the_slowest_may() {
    let deaf = |id: &'static str, seconds| {
        worker(id, (), deaf).shutdown(Shutdown::Timeout(seconds * SECOND))
    };
    let group = parallel([deaf("a", 2), deaf("b", 7), deaf("c", 3)]).into_child();
    assert_eq!(group.stop_budget(), Some(7 * SECOND));
    let mut tree = Supervisor::new("app")
        .child(group)
        .start()
        .await
        .expect("boots");
    let began = Instant::now();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(began.elapsed(), 7 * SECOND);
    let endless = parallel([
        deaf("a", 2),
        worker("b", (), steady).shutdown(Shutdown::Infinity),
    ]);
    assert_eq!(endless.into_child().stop_budget(), None);
}

#[test]
fn what_is_wrong_with_its_list_is_found_before_it_starts() {
    let faults = |group: Parallel| {
        let faults = Supervisor::new("app").child(group).into_child().check();
        let faults = faults.iter().map(|it| format!("{it}: {}", it.error()));
        faults.collect::<Vec<_>>()
    };
    assert_eq!(
        faults(Parallel::new("g").children(steadies(&["a", "b", "a"]))),
        ["app/g is not set up right: two of its children are called a"]
    );
    let significant = worker("a", (), steady).restart(Restart::Transient);
    assert_eq!(
        faults(Parallel::new("g").child(significant.significant())),
        ["app/g is not set up right: its child a is significant, and cannot be"]
    );
}
