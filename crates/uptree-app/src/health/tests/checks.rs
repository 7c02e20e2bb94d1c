//! What comes of checks.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::*;

/// A worker with a check.
fn keeper<F, Fut>(check: HealthCheck, run: F) -> impl IntoChild
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    worker(
        "keeper",
        (check, run),
        async |(check, run): (HealthCheck, F), cx: Context| {
            check.register(&cx, run);
            cx.shutdown().await;
            Ok(())
        },
    )
}

#[track_caller]
fn informative(monitor: &Monitor, expected: &[&str]) {
    assert_eq!(lines(&monitor.readiness().informative), expected);
}

/// A switch between results.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicU32>);

impl Switch {
    const PASS: u32 = 0;
    const FAIL: u32 = 1;
    const HANG: u32 = 2;
    const PANIC: u32 = 3;
    const PANIC_AT_ONCE: u32 = 4;

    fn set(&self, what: u32) {
        self.0.store(what, Ordering::Relaxed);
    }

    fn keeper(&self, check: HealthCheck) -> impl IntoChild + use<> {
        let switch = self.clone();
        keeper(check, move || {
            let what = switch.0.load(Ordering::Relaxed);
            assert_ne!(what, Switch::PANIC_AT_ONCE, "as it was told");
            async move {
                match what {
                    Switch::PASS => Ok(()),
                    Switch::FAIL => Err("hunter2".into()),
                    Switch::HANG => std::future::pending().await,
                    _ => panic!("as it was told"),
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_passes_fails_hangs_and_panics() {
    let switch = Switch::default();
    let check_ = HealthCheck::new("disk").every(SECOND).timeout(SECOND / 2);
    let app = App::new("app").child(switch.keeper(check_.critical()));
    run(app, async |monitor| {
        sleep(SECOND / 10).await;
        check(&monitor, &[]);
        assert!(monitor.is_well());
        for (what, shown) in [
            (Switch::FAIL, Some("failing")),
            (Switch::PASS, None),
            (Switch::HANG, Some("timed out")),
            (Switch::PANIC, Some("panicked")),
            (Switch::PASS, None),
            (Switch::PANIC_AT_ONCE, Some("panicked")),
            (Switch::PASS, None),
        ] {
            switch.set(what);
            sleep(SECOND * 3).await;
            let states: Vec<_> = monitor
                .readiness()
                .missing
                .iter()
                .map(|it| format!("{} {}", it.path(), it.state()))
                .collect();
            let expected = shown.map(|shown| format!("app/keeper/disk {shown}"));
            assert_eq!(states, Vec::from_iter(expected));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_informative_check_is_shown_and_does_not_gate() {
    let switch = Switch::default();
    switch.set(Switch::FAIL);
    let app = App::new("app").child(switch.keeper(HealthCheck::new("queue")));
    run(app, async |monitor| {
        sleep(2 * SECOND).await;
        check(&monitor, &[]);
        assert!(!monitor.is_well());
        informative(&monitor, &["app/keeper/queue: failing for 2.0 s"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_critical_check_registered_in_boot_has_to_pass_first_and_a_later_one_has_to_fail() {
    let slow = || async {
        sleep(SECOND).await;
        Ok(())
    };
    let check_ = || HealthCheck::new("slow").critical().timeout(2 * SECOND);
    let crowd = DynamicSupervisor::new("crowd");
    let app = App::new("app")
        .child(crowd.clone())
        .child(keeper(check_(), slow));
    run(app, async |monitor| {
        sleep(SECOND / 2).await;
        let missing = lines(&monitor.readiness().missing);
        assert_eq!(missing, ["app/keeper/slow: unknown for 0.5 s"]);
        sleep(SECOND).await;
        check(&monitor, &[]);
        let started = crowd.start_child(keeper(check_(), slow)).await;
        started.expect("starts");
        sleep(SECOND / 2).await;
        check(&monitor, &[]);
        informative(&monitor, &["app/crowd/keeper/slow: unknown for 0.5 s"]);
        sleep(SECOND).await;
        informative(&monitor, &[]);
        assert!(monitor.is_well());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_check_is_gone_with_its_incarnation() {
    let switch = Switch::default();
    switch.set(Switch::FAIL);
    let group = Supervisor::new("group").child(switch.keeper(HealthCheck::new("disk").critical()));
    run(App::new("app").child(group.clone()), async |monitor| {
        sleep(SECOND).await;
        assert_eq!(monitor.readiness().missing.len(), 1);
        group.terminate_child("keeper").await.expect("stops");
        check(&monitor, &[]);
        assert!(monitor.is_well());
        group.restart_child("keeper").await.expect("starts");
        sleep(SECOND).await;
        assert_eq!(monitor.readiness().missing.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_check_runs_each_so_often_and_one_that_hangs_is_dropped() {
    struct Falls(Arc<AtomicU64>);
    impl Drop for Falls {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (runs, falls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counted = (runs.clone(), falls.clone());
    let probe = move || {
        counted.0.fetch_add(1, Ordering::Relaxed);
        let falls = Falls(counted.1.clone());
        async move {
            let _falls = falls;
            std::future::pending().await
        }
    };
    let check_ = HealthCheck::new("hangs").every(3 * SECOND).timeout(SECOND);
    run(App::new("app").child(keeper(check_, probe)), async |_| {
        sleep(SECOND / 2).await;
        for round in 1..5 {
            let seen = (runs.load(Ordering::Relaxed), falls.load(Ordering::Relaxed));
            assert_eq!(seen, (round, round - 1));
            sleep(4 * SECOND).await;
        }
    })
    .await;
    assert_eq!(falls.load(Ordering::Relaxed), runs.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn checks_of_one_name_all_count() {
    let (one, other) = (Switch::default(), Switch::default());
    let both = async |(one, other): (Switch, Switch), cx: Context| {
        for switch in [one, other] {
            let run = move || {
                let passes = switch.0.load(Ordering::Relaxed) == Switch::PASS;
                async move { passes.then_some(()).ok_or_else(|| "no".into()) }
            };
            HealthCheck::new("disk").critical().register(&cx, run);
        }
        cx.shutdown().await;
        Ok(())
    };
    let app = App::new("app").child(worker("keeper", (one.clone(), other.clone()), both));
    run(app, async |monitor| {
        for (what, missing) in [(Switch::FAIL, 1), (Switch::PASS, 0)] {
            other.set(what);
            sleep(20 * SECOND).await;
            assert_eq!(monitor.readiness().missing.len(), missing);
        }
        one.set(Switch::FAIL);
        other.set(Switch::FAIL);
        sleep(20 * SECOND).await;
        assert_eq!(monitor.readiness().missing.len(), 2);
    })
    .await;
}

#[test]
fn a_check_that_blocks_its_thread_times_out_and_is_not_run_again_meanwhile() {
    let (block, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let probe = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let blocked = blocked.clone();
        async move {
            // Until the other end is dropped.
            _ = blocked.lock().expect("no panic").recv();
            Ok(())
        }
    };
    let short = Duration::from_millis(20);
    let check_ = HealthCheck::new("blocks").every(short).timeout(short);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let app = App::new("app").child(keeper(check_, probe));
        run(app, async |monitor| {
            let mut watch = monitor.watch_readiness();
            let state = |watch: &mut ReadinessWatch| {
                let informative = watch.readiness().informative;
                informative.first().map(|it| it.state().to_string())
            };
            while state(&mut watch).as_deref() != Some("timed out") {
                watch.changed().await;
            }
            assert_eq!(runs.load(Ordering::Relaxed), 1);
            drop(block);
            while state(&mut watch).is_some() {
                watch.changed().await;
            }
            assert!(runs.load(Ordering::Relaxed) > 1);
        })
        .await;
    });
}

#[tokio::test(start_paused = true)]
async fn outside_of_an_app_nothing_is_run() {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let probe = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    };
    let tree = Supervisor::new("bare").child(keeper(HealthCheck::new("x"), probe));
    let _tree = tree.start().await.expect("starts");
    sleep(60 * SECOND).await;
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}
