use super::*;

#[tokio::test(start_paused = true)]
async fn a_failed_boot_stops_what_had_started_and_names_the_deepest_path() {
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
fn a_start_error_says_what_happened() {
    assert_eq!(StartError::Killed.to_string(), "killed while it started");
}

/// Cleans up so long when it is called off, and says that it is ready all the same.
async fn stubborn(cleanup: Duration, cx: Starting) -> Result {
    cx.cancelled().await;
    sleep(cleanup).await;
    let _cx = cx.ready();
    pending().await
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_ready_too_late_did_not_start() {
    let story = Story::new();
    let child = service("late", SECOND, stubborn)
        .start_timeout(7 * SECOND)
        .cancel_grace(2 * SECOND);
    let mut tree = spawn(&story, Supervisor::new("app").child(child));
    let error = tree.ready().await.expect_err("does not boot");
    assert_eq!(
        chain(&error),
        ["app/late did not start", "not ready within 7s"]
    );
    story.is(&[
        "0 app starting",
        "0 app/late starting",
        "9 app/late killing",
        "9 app/late start failed: not ready within 7s",
        "9 app ending",
    ]);
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_for_a_start_that_is_ready_too_late_is_told_that_it_failed() {
    let child = || {
        service("late", SECOND, stubborn)
            .start_timeout(7 * SECOND)
            .cancel_grace(2 * SECOND)
    };
    let app = Supervisor::new("app");
    let crew = DynamicSupervisor::new("crew");
    let _tree = app
        .clone()
        .child(crew.clone())
        .start()
        .await
        .expect("boots");
    answers! {
        app.start_child(child()) => "app/late did not start: not ready within 7s";
        app.which_children() => "crew Running";
        crew.start_child(child()) => "app/crew/late did not start: not ready within 7s";
        crew.which_children() => "";
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_killed_with_its_first_word_on_the_way_was_never_ready() {
    type Known = Arc<std::sync::OnceLock<crate::Stopper>>;
    async fn last_words(stopper: Known, cx: Starting) -> Result {
        let _cx = cx.ready();
        let stopper = stopper.get().expect("the tree is spawned");
        stopper.stop(StopCause::Shutdown);
        pending().await
    }
    let story = Story::new();
    let stopper = Known::default();
    let child = service("brief", stopper.clone(), last_words);
    let app = Supervisor::new("app").child(child.shutdown(Shutdown::BrutalKill));
    let mut tree = spawn(&story, app);
    _ = stopper.set(tree.stopper());
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app starting",
        "0 app/brief starting",
        "0 app/brief stopping: Shutdown",
        "0 app/brief stopped: killed",
    ]);
}
