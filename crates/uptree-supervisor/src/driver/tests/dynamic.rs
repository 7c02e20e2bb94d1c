//! Children without an order: starts, restarts, and what a `ChildRef` names.

use std::hash::BuildHasher;

use super::*;
use crate::{ChildRef, ChildType};

async fn crew_of(story: &Story, crew: &DynamicSupervisor) -> Tree {
    let mut tree = spawn(story, Supervisor::new("app").child(crew.clone()));
    tree.ready().await.expect("boots");
    story.clear();
    tree
}

async fn started(crew: &DynamicSupervisor, child: impl IntoChild) -> ChildRef {
    let started = crew.start_child(child).await.expect("starts");
    started.child().expect("is not ignored").clone()
}

#[tokio::test(start_paused = true)]
async fn each_call_has_its_answers() {
    async fn work((): ()) -> Result {
        Ok(())
    }
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let twin = || worker("twin", (), steady);
    let first = started(&crew, twin()).await;
    let second = started(&crew, twin()).await;
    assert_ne!(first, second);
    answers! {
        crew.start_child(Supervisor::new("pair")) => "started";
        crew.start_child(once("work", (), work)) => "ignored";
        crew.start_child(service("broken", (), broken)) =>
            "app/crew/broken did not start: no schema";
        crew.start_child(twin().restart(Restart::Transient).significant()) =>
            "the child is significant, and cannot be here";
        crew.which_children() => "twin Running, twin Running, pair Running";
        crew.count_children() => "3 specs, 3 active, 1 supervisors, 2 workers";
        crew.terminate_child(&first) => "done";
        crew.terminate_child(&first) => NOT_FOUND;
        crew.which_children() => "twin Running, pair Running";
    }
    let listed = crew.which_children().await.expect("runs");
    assert_eq!(listed[0].child(), second);
    // Who takes the place is somebody else.
    let third = started(&crew, twin()).await;
    assert_ne!(third, first);
    answers! {
        crew.terminate_child(&first) => NOT_FOUND;
        crew.terminate_child(&second) => "done";
        crew.terminate_child(&third) => "done";
        crew.which_children() => "pair Running";
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_holds_up_nobody() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let last = call!(story, crew.start_child(service("slow", 3 * SECOND, slow)));
    call!(story, crew.start_child(service("quick", SECOND, slow)));
    call!(story, crew.which_children());
    call!(story, crew.count_children());
    last.await.expect("no panic");
    story.is(&[
        "0 app/crew/slow starting",
        "0 app/crew/quick starting",
        "0 > which_children: slow Running, quick Running",
        "0 > count_children: 2 specs, 0 active, 0 supervisors, 2 workers",
        "1 app/crew/quick ready",
        "1 > start_child: started",
        "3 app/crew/slow ready",
        "3 > start_child: started",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_starting_can_be_terminated() {
    async fn careful((): (), cx: Starting) -> Result {
        cx.cancelled().await;
        sleep(2 * SECOND).await;
        Err("rolled back".into())
    }
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let child = service("it", (), careful).cancel_grace(5 * SECOND);
    let start = call!(story, crew.start_child(child));
    tokio::task::yield_now().await;
    let listed = crew.which_children().await.expect("runs");
    let it = listed[0].child();
    sleep(SECOND).await;
    call!(story, crew.terminate_child(&it));
    start.await.expect("no panic");
    tokio::task::yield_now().await;
    story.is(&[
        "0 app/crew/it starting",
        "1 app/crew/it stopping: Terminated",
        "3 app/crew/it stopped: rolled back",
        "3 > start_child: app/crew/it did not start: rolled back",
        "3 > terminate_child: done",
    ]);
    answers! { crew.which_children() => ""; }
}

#[tokio::test(start_paused = true)]
async fn two_who_terminate_a_child_wait_for_the_same_end() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let it = started(&crew, worker("it", 3 * SECOND, tidy)).await;
    story.clear();
    let again = it.clone();
    let first = call!(story, crew.terminate_child(&it));
    sleep(SECOND).await;
    call!(story, crew.terminate_child(&again));
    call!(story, crew.count_children());
    first.await.expect("no panic");
    tokio::task::yield_now().await;
    story.is(&[
        "0 app/crew/it stopping: Terminated",
        "1 > count_children: 1 specs, 0 active, 0 supervisors, 1 workers",
        "3 app/crew/it stopped: shutdown",
        "3 > terminate_child: done",
        "3 > terminate_child: done",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_child_counts_against_the_maximum_from_its_start_to_its_end() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew").max_children(2);
    let _tree = crew_of(&story, &crew).await;
    let too_many = "there are as many children as are allowed";
    let it = started(&crew, worker("it", SECOND, tidy)).await;
    call!(story, crew.start_child(service("slow", 3 * SECOND, slow)));
    tokio::task::yield_now().await;
    answers! { crew.start_child(worker("third", (), steady)) => too_many; }
    call!(story, crew.terminate_child(&it));
    tokio::task::yield_now().await;
    answers! { crew.start_child(worker("third", (), steady)) => too_many; }
    story.until("> terminate_child: done").await;
    answers! {
        crew.start_child(service("third", (), broken)) =>
            "app/crew/third did not start: no schema";
        crew.start_child(worker("third", (), steady)) => "started";
        crew.start_child(worker("fourth", (), steady)) => too_many;
    }
    assert_eq!(story.began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_may_take_too_long_to_stop_is_refused() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew").max_shutdown(5 * SECOND);
    let _tree = crew_of(&story, &crew).await;
    let takes = |shutdown| worker("it", (), steady).shutdown(shutdown);
    let refused = "the child may take longer to stop than its supervisor";
    let pair = |seconds| {
        let each = Shutdown::Timeout(seconds * SECOND);
        let children = ["a", "b"].map(|id| worker(id, (), steady).shutdown(each));
        Supervisor::new("pair").children(children)
    };
    answers! {
        crew.start_child(takes(Shutdown::Timeout(5 * SECOND))) => "started";
        crew.start_child(takes(Shutdown::BrutalKill)) => "started";
        crew.start_child(takes(Shutdown::Timeout(6 * SECOND))) => refused;
        crew.start_child(takes(Shutdown::Infinity)) => refused;
        crew.start_child(takes(Shutdown::BrutalKill).cancel_grace(6 * SECOND)) => refused;
        crew.start_child(pair(2)) => "started";
        crew.start_child(pair(3)) => refused;
    }
    let spec = |crew: DynamicSupervisor| crew.into_child().stop_budget();
    assert_eq!(spec(crew), Some(5 * SECOND));
    assert_eq!(spec(DynamicSupervisor::new("other")), None);
}

#[tokio::test(start_paused = true)]
async fn restarts_of_all_children_are_counted_together_and_ignored_ones_are_forgotten() {
    /// Fails at once, and is ignored when it is started again.
    async fn once_more((): (), cx: Starting) -> Result {
        if cx.incarnation() > 0 {
            return cx.done();
        }
        let _cx = cx.ready();
        Err("boom".into())
    }
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew").intensity(2, 5 * SECOND);
    let _tree = crew_of(&story, &crew).await;
    for left in [1, 0] {
        let child = service("it", (), once_more);
        crew.start_child(child).await.expect("starts");
        story
            .until(&format!("app/crew/it restarting, {left} left"))
            .await;
        story.until("app/crew/it done").await;
        story.clear();
    }
    answers! { crew.which_children() => ""; }
    sleep(6 * SECOND).await;
    for _ in 0..3 {
        let child = service("it", (), once_more);
        crew.start_child(child).await.expect("starts");
    }
    story.until("app/crew/it too often").await;
    story.until("app/crew ready").await;
    answers! { crew.which_children() => ""; }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again_and_each_try_counts() {
    async fn never_again((): (), cx: Starting) -> Result {
        if cx.incarnation() > 0 {
            return Err("no database".into());
        }
        let _cx = cx.ready();
        Err("boom".into())
    }
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew").intensity(2, 5 * SECOND);
    let _tree = crew_of(&story, &crew).await;
    call!(story, crew.start_child(service("it", (), never_again)));
    story.until("app/crew ready").await;
    story.is(&[
        "0 app/crew/it starting",
        "0 app/crew/it ready",
        "0 app/crew/it terminated: boom",
        "0 app/crew/it restarting, 1 left",
        "0 app/crew/it starting",
        "0 > start_child: started",
        "0 app/crew/it start failed: no database",
        "0 app/crew/it restarting, 0 left",
        "0 app/crew/it starting",
        "0 app/crew/it start failed: no database",
        "0 app/crew/it too often",
        "0 app/crew ending",
        "0 app/crew terminated: app/crew gave up: app/crew/it failed once more than 2 times \
         within 5s: no database",
        "0 app/crew restarting, 2 left",
        "0 app/crew starting",
        "0 app/crew ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_child_ref_names_the_child_through_its_restarts_and_no_longer() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let burn = Arc::new(Notify::new());
    let it = started(&crew, worker("it", burn.clone(), fuse)).await;
    for left in [2, 1] {
        burn.notify_one();
        story
            .until(&format!("app/crew/it restarting, {left} left"))
            .await;
        let listed = crew.which_children().await.expect("runs");
        assert_eq!(listed[0].child(), it);
    }
    answers! {
        crew.terminate_child(&it) => "done";
        crew.terminate_child(&it) => NOT_FOUND;
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_ref_names_nobody_elsewhere() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let gang = DynamicSupervisor::new("gang");
    let mut tree = spawn(
        &story,
        Supervisor::new("app")
            .child(crew.clone())
            .child(gang.clone()),
    );
    tree.ready().await.expect("boots");
    let child = || worker("it", (), steady);
    let [here, there] = [started(&crew, child()).await, started(&gang, child()).await];
    assert_ne!(here, there);
    answers! {
        gang.terminate_child(&here) => NOT_FOUND;
        crew.terminate_child(&there) => NOT_FOUND;
    }
    story.clear();
    crew.stop(Err("boom".into())).await.expect("stops");
    story.until("app/crew ready").await;
    let again = started(&crew, child()).await;
    assert_ne!(again, here);
    answers! {
        crew.terminate_child(&here) => NOT_FOUND;
        crew.which_children() => "it Running";
        crew.terminate_child(&again) => "done";
        gang.terminate_child(&there) => "done";
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_of_an_ordered_supervisor_is_named_through_restarts_too() {
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let app = Supervisor::new("app").child(worker("it", burn.clone(), fuse));
    let mut tree = spawn(&story, app.clone());
    let child = async || {
        let listed = app.which_children().await.expect("runs");
        listed[0].child()
    };
    tree.ready().await.expect("boots");
    let first = child().await;
    burn.notify_one();
    story.until("app/it restarting, 2 left").await;
    assert_eq!(child().await, first);
    app.terminate_child("it").await.expect("stops");
    assert_eq!(child().await, first);
    let started = app.restart_child("it").await.expect("starts");
    assert_eq!(started.child(), Some(&first));
    app.terminate_child("it").await.expect("stops");
    app.delete_child("it").await.expect("forgets");
    let started = app
        .start_child(worker("it", (), steady))
        .await
        .expect("starts");
    assert_ne!(started.child(), Some(&first));
}

#[tokio::test(start_paused = true)]
async fn what_calls_answer_can_be_kept_and_shown() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let _tree = crew_of(&story, &crew).await;
    let answer = crew.start_child(Supervisor::new("pair")).await;
    let answer = answer.expect("starts");
    let pair = answer.child().expect("is not ignored").clone();
    let other = started(&crew, worker("other", (), steady)).await;
    assert_eq!(
        format!("{answer:?}"),
        format!("Started {{ child: Some({pair:?}), .. }}")
    );
    assert_ne!(format!("{pair:?}"), format!("{other:?}"));

    let hasher = std::hash::RandomState::new();
    let hash = |child: &ChildRef| hasher.hash_one(child);
    assert_eq!(hash(&pair), hash(&pair.clone()));
    assert_ne!(hash(&pair), hash(&other));

    let listed = crew.which_children().await.expect("runs");
    let types: Vec<_> = listed.iter().map(|it| (it.id(), it.child_type())).collect();
    assert_eq!(
        types,
        [
            ("pair", ChildType::Supervisor),
            ("other", ChildType::Worker)
        ]
    );
}
