//! Paused time: the order of what happens, and the virtual time that it takes.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    BoxError, ChildSpec, Context, Event, EventKind, IntoChild, Observer, Restart, Result, Shutdown,
    StartError, Starting, StopCause, Strategy, Supervisor, Tree, TreeError, TreeOptions, once,
    service, worker,
};

const SECOND: Duration = Duration::from_secs(1);

/// What happened, each line with the second at which it did.
#[derive(Clone)]
pub(crate) struct Story {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
    more: Arc<Notify>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            lines: Arc::default(),
            more: Arc::default(),
        }
    }

    pub(crate) fn tell(&self, line: &str) {
        let at = self.began.elapsed().as_secs_f64();
        self.lines
            .lock()
            .expect("no panic")
            .push(format!("{at} {line}"));
        self.more.notify_waiters();
    }

    pub(crate) fn clear(&self) {
        self.lines.lock().expect("no panic").clear();
    }

    /// Waits until a line ends with `what`.
    pub(crate) async fn until(&self, what: &str) {
        loop {
            let more = self.more.notified();
            if self
                .lines
                .lock()
                .expect("no panic")
                .iter()
                .any(|line| line.ends_with(what))
            {
                return;
            }
            more.await;
        }
    }

    #[track_caller]
    pub(crate) fn is(&self, expected: &[&str]) {
        assert_eq!(*self.lines.lock().expect("no panic"), expected);
    }
}

impl Observer for Story {
    fn observe(&self, event: &Event<'_>) {
        let what = match &event.kind {
            EventKind::Starting => "starting".into(),
            EventKind::Ready { .. } => "ready".into(),
            EventKind::Ignored { .. } => "done".into(),
            EventKind::StartFailed(reason) => format!("start failed: {reason}"),
            EventKind::Terminated(reason) => format!("terminated: {reason}"),
            EventKind::LeftDown(reason) => format!("left down: {reason}"),
            EventKind::Restarting { left } => format!("restarting, {left} left"),
            EventKind::BackingOff { .. } => "backing off".into(),
            EventKind::AutoShutdown => "auto shutdown".into(),
            EventKind::MaxIntensity => "too often".into(),
            EventKind::Ending => "ending".into(),
            EventKind::Stopping(cause) => format!("stopping: {cause:?}"),
            EventKind::Killing { .. } => "killing".into(),
            EventKind::Stopped { reason, .. } => format!("stopped: {reason}"),
            EventKind::ShutdownError(reason) => format!("shutdown error: {reason}"),
            EventKind::Stuck { .. } => "stuck".into(),
            EventKind::Step(_) | EventKind::Progress { .. } | EventKind::AttemptFailed(_) => return,
        };
        self.tell(&format!("{} {what}", event.path()));
    }
}

pub(crate) fn spawn(story: &Story, supervisor: Supervisor) -> Tree {
    supervisor.spawn(TreeOptions {
        observer: Arc::new(story.clone()),
        ..TreeOptions::default()
    })
}

/// Runs until it is asked to stop.
pub(crate) async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

/// Fails when told to.
pub(crate) async fn fuse(fuse: Arc<Notify>, cx: Context) -> Result {
    tokio::select! {
        _ = cx.shutdown() => Ok(()),
        () = fuse.notified() => Err("burnt".into()),
    }
}

pub(crate) async fn deaf((): (), _cx: Context) -> Result {
    pending().await
}

pub(crate) fn steadies(ids: &[&'static str]) -> impl Iterator<Item = ChildSpec> {
    ids.iter().map(|id| worker(*id, (), steady).into_child())
}

/// The chain of an error, one line each.
pub(crate) fn chain(error: &BoxError) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        lines.push(error.to_string());
        source = error.source();
    }
    lines
}

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
    story.lines.lock().expect("no panic").clear();
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
async fn a_failed_boot_stops_what_had_started_and_names_the_deepest_path() {
    async fn broken((): (), _cx: Starting) -> Result {
        Err("no schema".into())
    }
    let story = Story::new();
    let inner = Supervisor::new("db")
        .children(steadies(&["pool"]))
        .child(service("migrator", (), broken));
    let outer = Supervisor::new("app")
        .children(steadies(&["http"]))
        .child(inner)
        .children(steadies(&["never"]));
    let mut tree = spawn(&story, outer);
    let error = tree.ready().await.expect_err("does not boot");
    assert_eq!(
        chain(&error),
        ["app/db/migrator did not start", "no schema"]
    );
    story.is(&[
        "0 app starting",
        "0 app/http starting",
        "0 app/http ready",
        "0 app/db starting",
        "0 app/db/pool starting",
        "0 app/db/pool ready",
        "0 app/db/migrator starting",
        "0 app/db/migrator start failed: no schema",
        "0 app/db ending",
        "0 app/db/pool stopping: Terminated",
        "0 app/db/pool stopped: shutdown",
        "0 app/db start failed: app/db/migrator did not start: no schema",
        "0 app ending",
        "0 app/http stopping: Shutdown",
        "0 app/http stopped: shutdown",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_and_its_message_kept() {
    async fn panics((): (), _cx: Starting) -> Result {
        panic!("at the {}", "disco")
    }
    let app = Supervisor::new("app").child(service("p", (), panics));
    let error = app.start().await.expect_err("does not boot");
    assert_eq!(
        chain(&error),
        ["app/p did not start", "panicked: at the disco"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_returns_without_a_word_did_not_start() {
    async fn silent((): (), _cx: Starting) -> Result {
        Ok(())
    }
    let app = Supervisor::new("app").child(service("s", (), silent));
    let error = app.start().await.expect_err("does not boot");
    let expected = "returned before `cx.ready()` or `cx.done()`";
    assert_eq!(chain(&error), ["app/s did not start", expected]);
}

#[tokio::test(start_paused = true)]
async fn work_that_is_done_at_its_start_is_waited_for_and_left() {
    async fn migrate((): ()) -> Result {
        sleep(3 * SECOND).await;
        Ok(())
    }
    let story = Story::new();
    let app = Supervisor::new("app")
        .child(once("migrator", (), migrate))
        .children(steadies(&["after"]));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.is(&[
        "0 app starting",
        "0 app/migrator starting",
        "3 app/migrator done",
        "3 app/after starting",
        "3 app/after ready",
        "3 app ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_out_of_time_and_tells_of_its_last_attempt() {
    async fn hangs((): (), cx: Starting) -> Result {
        cx.attempt_failed("connection refused");
        pending().await
    }
    let began = Instant::now();
    let app = Supervisor::new("app").child(service("pool", (), hangs).start_timeout(7 * SECOND));
    let error = app.start().await.expect_err("does not boot");
    assert_eq!(
        chain(&error),
        [
            "app/pool did not start",
            "not ready within 7s",
            "connection refused"
        ]
    );
    assert_eq!(began.elapsed(), 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn progress_extends_the_start_timeout() {
    async fn backfill(rows: u64, cx: Starting) -> Result {
        for row in 0..rows {
            sleep(6 * SECOND).await;
            cx.progress(row, rows, "rows");
        }
        pending().await
    }
    let began = Instant::now();
    let app = Supervisor::new("app").child(service("b", 100, backfill).start_timeout(7 * SECOND));
    let error = app.start().await.expect_err("does not boot");
    assert_eq!(began.elapsed(), 607 * SECOND);
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<crate::Help>());
    assert!(
        cause.is_some_and(|help| help.remedy().contains("cx.ready()")),
        "{error:?}"
    );
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
    story.lines.lock().expect("no panic").clear();
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
    story.lines.lock().expect("no panic").clear();
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
async fn a_stop_budget_is_shared_by_those_who_are_left_also_further_down() {
    let story = Story::new();
    let inner = Supervisor::new("inner").children(["a", "b"].map(|id| worker(id, (), deaf)));
    let app = Supervisor::new("app")
        .children(steadies(&["quick"]))
        .child(inner)
        .child(worker("c", (), deaf).shutdown(Shutdown::Timeout(10 * SECOND)));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.lines.lock().expect("no panic").clear();
    // Half of the 25 s that they may take.
    tree.stopper().limit(Duration::from_millis(12_500));
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    let lines = story.lines.lock().expect("no panic").clone();
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
    story.lines.lock().expect("no panic").clear();
    tree.stopper().limit(Duration::ZERO);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/a stopping: Shutdown",
        "0 app/a killing",
        "0 app/a shutdown error: killed",
    ]);
}

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

/// Tells when it is dropped.
struct Falls(&'static str, Story);

impl Drop for Falls {
    fn drop(&mut self) {
        self.1.tell(&format!("{} dropped", self.0));
    }
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
    story.lines.lock().expect("no panic").clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    let mut lines = story.lines.lock().expect("no panic").clone();
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
    story.lines.lock().expect("no panic").clear();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/parent stopping: Shutdown",
        "0 task dropped",
        "0 app/parent stopped: shutdown",
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
async fn a_child_knows_its_path_and_so_do_its_tasks() {
    fn here() -> Option<String> {
        crate::current().map(|path| path.to_string())
    }
    async fn asks(story: Story, cx: Context) -> Result {
        story.tell(&format!("child {:?}", here()));
        let told = story.clone();
        cx.spawn(async move { told.tell(&format!("task {:?}", here())) });
        cx.shutdown().await;
        Ok(())
    }
    let story = Story::new();
    let inner = Supervisor::new("in").child(worker("asks", story.clone(), asks));
    let _tree = Supervisor::new("app")
        .child(inner)
        .start()
        .await
        .expect("boots");
    story.until("task Some(\"app/in/asks\")").await;
    story.until("child Some(\"app/in/asks\")").await;
    assert_eq!(here(), None);
}

#[test]
fn what_is_wrong_is_found_before_anything_starts() {
    struct Broken;
    impl crate::Child for Broken {
        fn check(&self) -> Vec<BoxError> {
            vec!["no such scheme".into(), "no such folder".into()]
        }
        async fn run(&self, _cx: Starting) -> Result {
            unreachable!("it is not started")
        }
    }
    let inner = Supervisor::new("inner")
        .child(Broken)
        .children(steadies(&["x", "x"]));
    let spec = Supervisor::new("app").child(inner).into_child();
    let faults: Vec<_> = spec
        .check()
        .iter()
        .map(|fault| format!("{}: {}", fault.path(), fault.error()))
        .collect();
    assert_eq!(
        faults,
        [
            "app/inner: two of its children are called x",
            "app/inner/broken: no such scheme",
            "app/inner/broken: no such folder",
        ]
    );
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

#[test]
fn a_start_error_says_what_happened() {
    assert_eq!(StartError::Killed.to_string(), "killed while it started");
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
