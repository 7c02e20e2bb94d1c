//! Restarts that wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::ChildState;

/// Fails so many times in a row, each after a run of so long, and then runs.
#[derive(Clone)]
struct Failing {
    times: usize,
    run: Duration,
    so_far: Arc<AtomicUsize>,
}

impl Failing {
    fn new(times: usize, run: Duration) -> Self {
        let so_far = Arc::default();
        Self { times, run, so_far }
    }
}

async fn fails(failing: Failing, cx: Context) -> Result {
    if failing.so_far.fetch_add(1, Ordering::Relaxed) >= failing.times {
        return steady((), cx).await;
    }
    sleep(failing.run).await;
    Err("boom".into())
}

/// Delays of 1, 2, 4 and then 5 s.
fn seconds() -> Backoff {
    Backoff::new(SECOND, 5 * SECOND)
}

/// When each start of `app/it` was.
fn starts(story: &Story) -> Vec<f64> {
    let lines = story.lines().into_iter();
    let starts = lines.filter_map(|line| Some(line.strip_suffix(" app/it starting")?.to_owned()));
    starts.map(|at| at.parse().expect("a number")).collect()
}

#[track_caller]
fn waited(starts: &[f64], run: f64, delays: &[f64]) {
    assert_eq!(starts.len(), delays.len() + 1, "{starts:?}");
    for (pair, delay) in starts.windows(2).zip(delays) {
        let waited = pair[1] - pair[0] - run;
        // A timer rings at a full millisecond.
        let within = delay / 2.0 - 1e-6..=delay + 0.002;
        assert!(within.contains(&waited), "{waited} of {delay}: {starts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn restarts_wait_between_half_of_their_delay_and_all_of_it() {
    let mut jitters = Vec::new();
    for _ in 0..20 {
        let story = Story::new();
        let app = Supervisor::new("app")
            .intensity(10, SECOND)
            .backoff(seconds())
            .child(worker("it", Failing::new(6, Duration::ZERO), fails));
        let mut tree = spawn(&story, app);
        tree.ready().await.expect("boots");
        sleep(60 * SECOND).await;
        let starts = starts(&story);
        waited(&starts, 0.0, &[0.0, 1.0, 2.0, 4.0, 5.0, 5.0]);
        jitters.push(starts[2] - starts[1]);
    }
    jitters.sort_by(f64::total_cmp);
    assert!(jitters[0] < 0.7 && jitters[19] > 0.8, "{jitters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_child_may_have_a_backoff_of_its_own_in_any_supervisor() {
    let failing = || worker("it", Failing::new(3, Duration::ZERO), fails);
    let own = Backoff::new(30 * SECOND, 30 * SECOND);
    let added = || failing().backoff(own);
    let crew = DynamicSupervisor::new("app")
        .intensity(9, SECOND)
        .backoff(seconds());
    let app = Supervisor::new("app")
        .intensity(9, SECOND)
        .backoff(seconds());
    let listed = app.clone().child(added());
    for (which, root) in [
        crew.clone().into_child(),
        app.clone().into_child(),
        listed.into_child(),
    ]
    .into_iter()
    .enumerate()
    {
        let story = Story::new();
        let options = TreeOptions {
            observer: Arc::new(story.clone()),
            ..TreeOptions::default()
        };
        let mut tree = Tree::spawn(root, options);
        tree.ready().await.expect("boots");
        match which {
            0 => drop(crew.start_child(added()).await.expect("starts")),
            1 => drop(app.start_child(added()).await.expect("starts")),
            _ => {}
        }
        sleep(100 * SECOND).await;
        waited(&starts(&story), 0.0, &[0.0, 30.0, 30.0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stable_run_begins_again_from_no_delay() {
    let story = Story::new();
    let app = Supervisor::new("app")
        .backoff(seconds().reset_after(30 * SECOND))
        .child(worker("it", Failing::new(4, 30 * SECOND), fails));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    sleep(200 * SECOND).await;
    waited(&starts(&story), 30.0, &[0.0; 4]);

    let story = Story::new();
    let app = Supervisor::new("app")
        .backoff(seconds().reset_after(30 * SECOND))
        .child(worker("it", Failing::new(4, 29 * SECOND), fails));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    sleep(200 * SECOND).await;
    waited(&starts(&story), 29.0, &[0.0, 1.0, 2.0, 4.0]);
}

/// A supervisor whose child `it` waits for a restart in about an hour, after a second.
async fn backing_off(story: &Story) -> (Tree, Supervisor) {
    let hour = Backoff::new(3600 * SECOND, 3600 * SECOND);
    let app = Supervisor::new("app")
        .children(steadies(&["a"]))
        .child(worker("it", Failing::new(2, SECOND / 2), fails).backoff(hour))
        .child(worker("z", SECOND, tidy));
    let mut tree = spawn(story, app.clone());
    tree.ready().await.expect("boots");
    story.until("app/it backing off").await;
    assert_eq!(story.began.elapsed(), SECOND);
    story.clear();
    (tree, app)
}

fn state(tree: &Tree, id: &str) -> Option<ChildState> {
    let snapshot = tree.stopper().snapshot();
    let child = snapshot.children.into_iter().find(|child| child.id == id)?;
    Some(child.state)
}

#[tokio::test(start_paused = true)]
async fn siblings_are_served_and_calls_are_answered_while_a_restart_waits() {
    let story = Story::new();
    let (tree, app) = backing_off(&story).await;
    assert_eq!(state(&tree, "it"), Some(ChildState::BackingOff));
    answers! {
        app.which_children() => "z Running, it Restarting, a Running";
        app.count_children() => "3 specs, 2 active, 0 supervisors, 3 workers";
        app.restart_child("it") => "the child is being restarted";
        app.delete_child("it") => "the child is being restarted";
        app.start_child(worker("it", (), steady)) => "a child with this id is known already";
        app.start_child(worker("b", (), steady)) => "started";
        app.terminate_child("a") => "done";
        app.restart_child("a") => "started";
    }
    assert_eq!(story.began.elapsed(), SECOND);
    assert_eq!(state(&tree, "it"), Some(ChildState::BackingOff));
    story.until("app/it ready").await;
    let waited = story.began.elapsed();
    assert!(
        waited > 1800 * SECOND && waited < 3602 * SECOND,
        "{waited:?}"
    );
    assert_eq!(state(&tree, "it"), Some(ChildState::Running));
    answers! { app.which_children() => "b Running, z Running, it Running, a Running"; }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_waits_can_be_called_off() {
    let story = Story::new();
    let (tree, app) = backing_off(&story).await;
    answers! {
        app.terminate_child("it") => "done";
        app.which_children() => "z Running, it Undefined, a Running";
    }
    assert_eq!(state(&tree, "it"), Some(ChildState::Down));
    sleep(7200 * SECOND).await;
    story.is(&[]);
    answers! {
        app.restart_child("it") => "started";
        app.terminate_child("it") => "done";
        app.delete_child("it") => "done";
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_restart_that_waits() {
    let story = Story::new();
    let (mut tree, app) = backing_off(&story).await;
    tree.stop(StopCause::Shutdown);
    sleep(SECOND / 2).await;
    assert_eq!(state(&tree, "it"), Some(ChildState::Down));
    answers! { app.count_children() => NO_PROC; }
    tree.wait().await.expect("stops");
    story.is(&[
        "1 app/z stopping: Shutdown",
        "2 app/z stopped: shutdown",
        "2 app/a stopping: Shutdown",
        "2 app/a stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn who_was_started_by_a_call_meanwhile_is_not_shown_as_down_when_the_stop_begins() {
    let story = Story::new();
    let (mut tree, app) = backing_off(&story).await;
    answers! {
        app.terminate_child("it") => "done";
        app.restart_child("it") => "started";
    }
    tree.stop(StopCause::Shutdown);
    sleep(SECOND / 2).await;
    assert_eq!(state(&tree, "z"), Some(ChildState::Stopping));
    assert_eq!(state(&tree, "it"), Some(ChildState::Running));
    tree.wait().await.expect("stops");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_down_while_its_restart_waits() {
    let story = Story::new();
    let app = Supervisor::new("app")
        .strategy(Strategy::OneForAll)
        .children(steadies(&["a"]))
        .child(worker("it", Failing::new(2, SECOND / 2), fails))
        .children(steadies(&["z"]))
        .backoff(Backoff::new(10 * SECOND, 10 * SECOND));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    story.until("app/it backing off").await;
    answers! {
        app.which_children() => "z Undefined, it Restarting, a Undefined";
        app.restart_child("a") => "started";
        app.start_child(worker("b", (), steady)) => "started";
    }
    story.clear();
    story.until("app/b ready").await;
    let waited = story.began.elapsed();
    assert!(waited > 5 * SECOND && waited < 12 * SECOND, "{waited:?}");
    let told = story.lines();
    let told: Vec<_> = told
        .iter()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let told: Vec<_> = told.into_iter().map(|(_, what)| what).collect();
    assert_eq!(
        told,
        [
            "app/b stopping: GroupRestart",
            "app/b stopped: shutdown",
            "app/a stopping: GroupRestart",
            "app/a stopped: shutdown",
            "app/a starting",
            "app/a ready",
            "app/it starting",
            "app/it ready",
            "app/z starting",
            "app/z ready",
            "app/b starting",
            "app/b ready",
        ]
    );
}

/// How the tree ends within an hour of a child with this backoff, that fails so.
async fn gives_up(backoff: Option<Backoff>, child: impl IntoChild) -> bool {
    let app = Supervisor::new("app").intensity(3, 5 * SECOND).child(child);
    let app = match backoff {
        Some(backoff) => app.backoff(backoff),
        None => app,
    };
    let mut tree = app.start().await.expect("boots");
    tokio::time::timeout(3600 * SECOND, tree.wait())
        .await
        .is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_restarts_are_counted_stands_still_while_one_is_under_way() {
    /// Is slow to fail to start, but for the first time.
    async fn slow_to_fail(delay: Duration, cx: Starting) -> Result {
        if cx.incarnation() > 0 {
            sleep(delay).await;
            return Err("no database".into());
        }
        let _cx = cx.ready();
        Err("lost the database".into())
    }
    let forever = |run| worker("it", Failing::new(usize::MAX, run), fails);
    let slow_to_fail = || service("it", 10 * SECOND, slow_to_fail);
    assert!(gives_up(None, slow_to_fail()).await, "a slow start");
    assert!(
        gives_up(Some(seconds()), slow_to_fail()).await,
        "a slow start, with a backoff"
    );
    assert!(
        gives_up(Some(seconds()), forever(SECOND)).await,
        "a backoff"
    );
    assert!(gives_up(None, forever(SECOND)).await, "often");
    assert!(!gives_up(None, forever(3 * SECOND)).await, "rarely");
    assert!(
        !gives_up(Some(seconds()), forever(3 * SECOND)).await,
        "rarely, with a backoff"
    );
}

#[tokio::test(start_paused = true)]
async fn in_a_dynamic_supervisor_a_restart_that_waits_is_like_in_any_other() {
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew").backoff(Backoff::new(10 * SECOND, 10 * SECOND));
    let mut tree = spawn(&story, Supervisor::new("app").child(crew.clone()));
    tree.ready().await.expect("boots");
    let failing = || worker("it", Failing::new(2, SECOND / 2), fails);
    let started = crew.start_child(failing()).await.expect("starts");
    let it = started.child().expect("is not ignored");
    story.until("app/crew/it backing off").await;
    let shown = tree.stopper().snapshot().children.remove(0).children;
    assert_eq!(shown[0].state, ChildState::BackingOff);
    answers! {
        crew.which_children() => "it Restarting";
        crew.count_children() => "1 specs, 0 active, 0 supervisors, 1 workers";
        crew.start_child(worker("other", (), steady)) => "started";
        crew.terminate_child(it) => "done";
        crew.terminate_child(it) => NOT_FOUND;
        crew.which_children() => "other Running";
    }
    assert_eq!(story.began.elapsed(), SECOND);
    story.clear();
    sleep(60 * SECOND).await;
    story.is(&[]);

    let started = crew.start_child(failing()).await.expect("starts");
    let it = started.child().expect("is not ignored");
    story.until("app/crew/it backing off").await;
    story.clear();
    story.until("app/crew/it ready").await;
    let children = crew.which_children().await.expect("runs");
    assert!(children.iter().any(|child| child.child() == *it));
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
}
