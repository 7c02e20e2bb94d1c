use super::*;

#[tokio::test(start_paused = true)]
async fn a_stop_budget_is_shared_by_those_who_are_left_also_further_down() {
    let story = Story::new();
    let inner = Supervisor::new("inner").children(["a", "b"].map(|id| worker(id, (), deaf)));
    let app = Supervisor::new("app")
        .children(steadies(&["quick"]))
        .child(inner)
        .child(worker("c", (), deaf).shutdown(Shutdown::Timeout(10 * SECOND)));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    // Half of the 25 s that they may take.
    tree.stopper().limit(Duration::from_millis(12_500));
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    let lines = story.lines();
    let kills: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with("killing"))
        .collect();
    assert_eq!(
        kills,
        [
            "5 app/c killing",
            "7.5 app/inner/b killing",
            "10 app/inner/a killing"
        ]
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("10 app/quick stopped: shutdown")
    );
}

#[tokio::test(start_paused = true)]
async fn without_any_time_to_stop_children_are_killed_at_once_and_that_is_told() {
    let story = Story::new();
    let mut tree = spawn(&story, Supervisor::new("app").children(steadies(&["a"])));
    tree.ready().await.expect("boots");
    story.clear();
    tree.stopper().limit(Duration::ZERO);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/a stopping: Shutdown",
        "0 app/a killing",
        "0 app/a shutdown error: killed",
    ]);
}

#[test]
fn the_stop_budget_is_the_sum_of_what_stops_one_after_the_other() {
    let worker = |id, seconds| worker(id, (), steady).shutdown(Shutdown::Timeout(seconds * SECOND));
    let inner = Supervisor::new("inner")
        .child(worker("a", 3))
        .child(worker("b", 4));
    let spec = Supervisor::new("app")
        .child(inner)
        .child(worker("c", 1).cancel_grace(2 * SECOND))
        .child(worker("d", 9).shutdown(Shutdown::BrutalKill));
    assert_eq!(spec.into_child().stop_budget(), Some(9 * SECOND));
    let endless = worker("e", 1).shutdown(Shutdown::Infinity);
    let spec = Supervisor::new("app").child(endless).into_child();
    assert_eq!(spec.stop_budget(), None);
}

#[tokio::test(start_paused = true)]
async fn children_added_by_calls_have_their_time_to_stop() {
    for limit in [None, Some(60 * SECOND)] {
        let story = Story::new();
        let inner = Supervisor::new("inner");
        let app = Supervisor::new("app").child(inner.clone());
        let mut tree = spawn(&story, app.clone());
        tree.ready().await.expect("boots");
        let added = || worker("added", 2 * SECOND, tidy);
        answers! {
            inner.start_child(added()) => "started";
            app.start_child(added()) => "started";
        }
        story.clear();
        if let Some(limit) = limit {
            tree.stopper().limit(limit);
        }
        tree.stop(StopCause::Shutdown);
        tree.wait().await.expect("stops");
        story.is(&[
            "0 app/added stopping: Shutdown",
            "2 app/added stopped: shutdown",
            "2 app/inner stopping: Shutdown",
            "2 app/inner/added stopping: Shutdown",
            "4 app/inner/added stopped: shutdown",
            "4 app/inner stopped: shutdown",
        ]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_terminated_leaves_its_added_children_their_time() {
    let story = Story::new();
    let inner = Supervisor::new("inner").child(worker("first", SECOND, tidy));
    let app = Supervisor::new("app").child(inner.clone());
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    inner
        .start_child(worker("added", (), deaf))
        .await
        .expect("starts");
    story.clear();
    app.terminate_child("inner").await.expect("stops");
    story.is(&[
        "0 app/inner stopping: Terminated",
        "0 app/inner/added stopping: Terminated",
        "5 app/inner/added killing",
        "5 app/inner/added shutdown error: killed",
        "5 app/inner/first stopping: Terminated",
        "6 app/inner/first stopped: shutdown",
        "6 app/inner stopped: shutdown",
    ]);
}

/// When who is killed, of a tree that stops within `limit`.
async fn kills(app: Supervisor, added: impl AsyncFn(), limit: Duration) -> Vec<String> {
    let story = Story::new();
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    added().await;
    tree.stopper().limit(limit);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert!(story.began.elapsed() <= limit, "{:?}", story.lines());
    let lines = story.lines().into_iter();
    lines.filter(|line| line.ends_with("killing")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stop_budget_is_shared_with_children_added_by_calls() {
    let inner = Supervisor::new("inner").child(worker("a", (), deaf));
    let app = Supervisor::new("app").child(inner.clone());
    let added = async || {
        let added = inner.start_child(worker("b", (), deaf)).await;
        added.expect("starts");
        let added = app.start_child(worker("c", (), deaf)).await;
        added.expect("starts");
    };
    // Half of the 15 s that they may take.
    let kills = kills(app.clone(), added, Duration::from_millis(7_500)).await;
    assert_eq!(
        kills,
        [
            "2.5 app/c killing",
            "5 app/inner/b killing",
            "7.5 app/inner/a killing"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_budget_is_shared_with_dynamic_children_who_stop_together() {
    let crew = DynamicSupervisor::new("crew").max_shutdown(10 * SECOND);
    let app = Supervisor::new("app")
        .child(worker("a", (), deaf))
        .child(crew.clone());
    let added = async || {
        for seconds in [10, 5, 10] {
            let child = worker(format!("{seconds}"), (), deaf);
            let child = child.shutdown(Shutdown::Timeout(seconds * SECOND));
            crew.start_child(child).await.expect("starts");
        }
    };
    // A third of the 15 s that they may take.
    let kills = kills(app.clone(), added, 5 * SECOND).await;
    let mut at: Vec<_> = kills
        .iter()
        .filter_map(|line| line.split_once(' '))
        .collect();
    at.sort_by_key(|(_, who)| *who);
    let at: Vec<_> = at
        .iter()
        .map(|(at, who)| {
            let at: f64 = at.parse().expect("a number");
            format!("{at:.2} {who}")
        })
        .collect();
    assert_eq!(
        at,
        [
            "5.00 app/a killing",
            "3.33 app/crew/10 killing",
            "3.33 app/crew/10 killing",
            "1.67 app/crew/5 killing",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_without_a_maximum_gets_what_is_left() {
    let crew = DynamicSupervisor::new("crew");
    let app = Supervisor::new("app")
        .child(worker("a", (), deaf))
        .child(crew.clone());
    let added = async || {
        let child = worker("b", (), deaf).shutdown(Shutdown::Infinity);
        crew.start_child(child).await.expect("starts");
    };
    let kills = kills(app.clone(), added, 20 * SECOND).await;
    assert_eq!(kills, ["20 app/crew/b killing", "20 app/a killing"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_added_while_the_tree_stops_does_not_outlast_the_budget() {
    let story = Story::new();
    let inner = Supervisor::new("inner");
    let app = Supervisor::new("app")
        .child(inner.clone())
        .child(worker("last", (), deaf).shutdown(Shutdown::Timeout(2 * SECOND)));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    tree.stopper().limit(5 * SECOND);
    tree.stop(StopCause::Shutdown);
    sleep(SECOND).await;
    let endless = worker("added", (), deaf).shutdown(Shutdown::Infinity);
    inner.start_child(endless).await.expect("starts");
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/last stopping: Shutdown",
        "1 app/inner/added starting",
        "1 app/inner/added ready",
        "2 app/last killing",
        "2 app/last shutdown error: killed",
        "2 app/inner stopping: Shutdown",
        "2 app/inner/added stopping: Shutdown",
        "5 app/inner/added killing",
        "5 app/inner/added shutdown error: killed",
        "5 app/inner stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_a_supervisor_does_before_its_turn_to_stop_does_not_outlast_the_budget() {
    let story = Story::new();
    let inner =
        Supervisor::new("inner").child(worker("endless", (), deaf).shutdown(Shutdown::Infinity));
    let app = Supervisor::new("app")
        .child(inner.clone())
        .child(worker("last", (), deaf).shutdown(Shutdown::Timeout(4 * SECOND)));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    tree.stopper().limit(10 * SECOND);
    tree.stop(StopCause::Shutdown);
    story.until("app/last stopping: Shutdown").await;
    let (terminated, stopped) = tokio::join!(inner.terminate_child("endless"), tree.wait());
    terminated.expect("it is there");
    stopped.expect("stops");
    assert_eq!(story.began.elapsed(), 10 * SECOND);
}

/// Whether whoever is killed had less than its own time.
#[derive(Default)]
struct Shortened(Mutex<Vec<bool>>);

impl Observer for Shortened {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Killing { shortened } = event.kind {
            self.0.lock().expect("no panic").push(shortened);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_says_whether_the_budget_is_to_blame() {
    for (limit, shortened) in [(None, false), (Some(9_400), true), (Some(9_600), false)] {
        let observer = Arc::new(Shortened::default());
        let child = worker("a", (), deaf).shutdown(Shutdown::Timeout(10 * SECOND));
        let mut tree = Supervisor::new("app").child(child).spawn(TreeOptions {
            observer: observer.clone(),
            ..TreeOptions::default()
        });
        tree.ready().await.expect("boots");
        if let Some(limit) = limit {
            tree.stopper().limit(Duration::from_millis(limit));
        }
        tree.stop(StopCause::Shutdown);
        tree.wait().await.expect("stops");
        assert_eq!(
            *observer.0.lock().expect("no panic"),
            [shortened],
            "{limit:?}"
        );
    }
}
