//! What is recorded, on paused time.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};
use uptree_supervisor::{
    Context, IntoChild, Restart, Result, Starting, TreeOptions, service, worker,
};

mod spans;

use super::*;
use crate::{App, app::Running};

const SECOND: Duration = Duration::from_secs(1);

fn run(app: App) -> (JoinHandle<u8>, Stopper, Monitor) {
    run_with(app, Spans::Off)
}

/// Runs an app; the task ends with its exit code.
fn run_with(app: App, spans: Spans) -> (JoinHandle<u8>, Stopper, Monitor) {
    let mut running = Running::spawn(app.into_root(), TreeOptions::default(), spans, || ());
    let monitor = running.monitor().clone();
    let stopper = running.stopper();
    let task = tokio::spawn(async move { running.wait().await.code() });
    (task, stopper, monitor)
}

async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

async fn until_booted(monitor: &Monitor) {
    let mut seen = monitor.version();
    while !monitor.is_booted() {
        seen = monitor.changed(seen).await;
    }
}

/// Works for 1 s, waits for 3 s, works for 2 s.
async fn migrate((): (), cx: Starting) -> Result {
    cx.step("connect");
    sleep(SECOND).await;
    cx.waiting("another's lock");
    cx.attempt_failed("it is taken");
    sleep(3 * SECOND).await;
    cx.step("apply");
    cx.progress(1, 2, "0001.sql");
    sleep(2 * SECOND).await;
    cx.done()
}

#[tokio::test(start_paused = true)]
async fn a_start_is_told_with_its_steps_and_its_waiting_apart() {
    let app = App::new("shop")
        .child(worker("first", (), steady))
        .child(service("migrator", (), migrate))
        .child(worker("last", (), steady));
    let (_task, _, monitor) = run(app);
    until_booted(&monitor).await;
    let timeline = monitor.timeline();
    assert_eq!(timeline.boot, Some(6 * SECOND));
    let told: Vec<_> = timeline
        .starts
        .iter()
        .map(|it| (it.child.as_str(), it.at.as_secs(), it.took, it.outcome))
        .collect();
    assert_eq!(
        told,
        [
            ("shop", 0, Some(6 * SECOND), StartOutcome::Ready),
            ("shop/first", 0, Some(Duration::ZERO), StartOutcome::Ready),
            ("shop/migrator", 0, Some(6 * SECOND), StartOutcome::Done),
            ("shop/last", 6, Some(Duration::ZERO), StartOutcome::Ready),
        ]
    );
    let slowest = timeline.slowest().expect("there are workers");
    assert_eq!(slowest.child, "shop/migrator");
    assert_eq!((slowest.waited, slowest.worked), (3 * SECOND, 3 * SECOND));
    let steps = slowest.steps.iter();
    let steps: Vec<_> = steps
        .map(|it| (it.name.as_str(), it.waiting, it.at, it.took))
        .collect();
    assert_eq!(
        steps,
        [
            ("connect", false, Duration::ZERO, Some(SECOND)),
            ("another's lock", true, SECOND, Some(3 * SECOND)),
            ("apply", false, 4 * SECOND, Some(2 * SECOND)),
        ]
    );
    assert_eq!(slowest.attempts_failed, 1);
    assert_eq!(slowest.last_failure.as_deref(), Some("it is taken"));
    let progress = slowest.progress.as_ref().expect("it told some");
    assert_eq!(
        (progress.done, progress.total, &*progress.what),
        (1, 2, "0001.sql")
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_under_way_is_told_as_far_as_it_has_come() {
    let app = App::new("shop").child(service("migrator", (), migrate));
    let (_task, _, monitor) = run(app);
    sleep(Duration::from_millis(2500)).await;
    let timeline = monitor.timeline();
    assert_eq!(timeline.boot, None);
    let underway = timeline.underway().expect("it starts");
    assert_eq!(underway.child, "shop/migrator");
    assert_eq!(underway.took, None);
    assert_eq!(underway.waited, Duration::from_millis(1500));
    assert_eq!(underway.worked, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_one_entry_with_reason_and_what_is_left() {
    async fn crash((): (), cx: Context) -> Result {
        cx.until_shutdown(sleep(SECOND)).await;
        match cx.incarnation() {
            0 => Err("boom".into()),
            _ => steady((), cx).await,
        }
    }
    let app = App::new("shop").child(worker("feed", (), crash).restart(Restart::Permanent));
    let (task, stopper, monitor) = run(app);
    sleep(2 * SECOND).await;
    stopper.stop(StopCause::Shutdown);
    assert_eq!(task.await.expect("no panic"), 0);
    let timeline = monitor.timeline();
    let told: Vec<_> = timeline
        .journal
        .iter()
        .map(|it| {
            (
                it.child.as_str(),
                it.incarnation,
                it.what,
                it.reason.as_deref(),
                it.restarts_left,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("shop/feed", 0, Happened::Restarting, Some("boom"), Some(2)),
            ("shop/feed", 1, Happened::Stopped, Some("shutdown"), None),
        ]
    );
    assert_eq!(timeline.stop_at, Some(2 * SECOND));
    assert_eq!(timeline.ended_at, Some(2 * SECOND));
    assert_eq!(timeline.starts.len(), 3);
}
