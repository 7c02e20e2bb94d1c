//! Paused time: what is missing, from when on, and until when.

use std::sync::Arc;

use tokio::{sync::mpsc, time::sleep};
use uptree_supervisor::{
    Backoff, Context, DynamicSupervisor, IntoChild, Restart, Result, Starting, Strategy,
    Supervisor, once, worker,
};

use super::*;
use crate::{App, Monitor};

mod checks;
mod random;

const SECOND: Duration = Duration::from_secs(1);

/// Hands out the app's monitor.
async fn spy(found: mpsc::UnboundedSender<Monitor>, cx: Context) -> Result {
    let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
    _ = found.send(monitor.clone());
    cx.shutdown().await;
    Ok(())
}

/// Runs an app and `look` at it; then stops it.
async fn run<T>(app: App, look: impl AsyncFnOnce(Monitor) -> T) -> T {
    let (found, mut monitors) = mpsc::unbounded_channel();
    let app = app.child(worker("spy", found, spy));
    let looked = async move {
        let monitor = monitors.recv().await.expect("the spy runs");
        while !monitor.is_booted() {
            sleep(SECOND / 1000).await;
        }
        look(monitor).await
    };
    let (told, tells) = tokio::sync::oneshot::channel();
    let stop = async move {
        _ = told.send(looked.await);
    };
    let exit = app.run_until(stop).await;
    assert_eq!(exit.code(), 0, "{:?}", exit.failure());
    tells.await.expect("looked")
}

/// A child that fails when told to, and takes a second to start again.
#[derive(Clone, Default)]
struct Fuse(Arc<tokio::sync::Notify>);

impl Fuse {
    fn child(&self, id: &'static str) -> impl IntoChild {
        uptree_supervisor::service(id, self.clone(), async |fuse: Self, cx: Starting| {
            if cx.incarnation() > 0 {
                sleep(SECOND).await;
            }
            let cx = cx.ready();
            tokio::select! {
                _ = cx.shutdown() => Ok(()),
                () = fuse.0.notified() => Err("burnt".into()),
            }
        })
    }

    fn burn(&self) {
        self.0.notify_one();
    }
}

async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

fn lines(missing: &[Missing]) -> Vec<String> {
    missing.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(monitor: &Monitor, missing: &[&str]) {
    let readiness = monitor.readiness();
    assert_eq!(lines(&readiness.missing), missing);
    assert_eq!(readiness.is_ready(), missing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_gates_is_missed_once_it_is_down_for_its_grace() {
    let fuse = Fuse::default();
    let app = App::new("app")
        .child(fuse.child("free"))
        .child(fuse.child("gate").gates_ready(SECOND / 2));
    run(app, async |monitor| {
        check(&monitor, &[]);
        assert!(monitor.is_well());
        // One of the two: the first that waits.
        fuse.burn();
        sleep(SECOND * 3 / 4).await;
        check(&monitor, &[]);
        assert!(monitor.is_well(), "nobody asked the service to wait for it");
        sleep(SECOND).await;
        fuse.burn();
        sleep(SECOND / 4).await;
        assert!(!monitor.is_well());
        check(&monitor, &[]);
        sleep(SECOND / 4).await;
        check(&monitor, &["app/gate: starting for 0.5 s"]);
        sleep(SECOND / 2 + SECOND / 1000).await;
        check(&monitor, &[]);
        assert!(monitor.is_well());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_grace_runs_on_through_restarts_that_fail() {
    let broken = async |(), cx: Starting| {
        if cx.incarnation() > 0 {
            sleep(SECOND / 10).await;
            return Err("no luck".into());
        }
        let cx = cx.ready();
        cx.until_shutdown(sleep(SECOND)).await;
        match cx.stop_cause() {
            Some(_) => Ok(()),
            None => Err("over".into()),
        }
    };
    let slow = Backoff::new(SECOND, SECOND);
    let app = App::new("app")
        .backoff(slow)
        .intensity(100, SECOND)
        .child(uptree_supervisor::service("gate", (), broken).gates_ready(2 * SECOND));
    run(app, async |monitor| {
        sleep(SECOND * 29 / 10).await;
        check(&monitor, &[]);
        sleep(SECOND * 2).await;
        let missing = lines(&monitor.readiness().missing);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].ends_with("for 3.9 s"), "{missing:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_done_its_work_or_ended_for_good_is_not_missed() {
    let short = async |(), cx: Context| {
        cx.until_shutdown(sleep(SECOND)).await;
        Ok(())
    };
    let app = App::new("app")
        .child(once("migrator", (), async |()| Ok(())).gates_ready(Duration::ZERO))
        .child(
            worker("short", (), short)
                .restart(Restart::Transient)
                .gates_ready(Duration::ZERO),
        );
    run(app, async |monitor| {
        check(&monitor, &[]);
        sleep(2 * SECOND).await;
        check(&monitor, &[]);
        assert!(monitor.is_well());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_taken_down_is_missed_until_it_is_deleted() {
    let group = Supervisor::new("group").child(worker("gate", (), steady).gates_ready(SECOND));
    run(App::new("app").child(group.clone()), async |monitor| {
        group.terminate_child("gate").await.expect("stops");
        check(&monitor, &[]);
        sleep(SECOND).await;
        check(&monitor, &["app/group/gate: down for 1.0 s"]);
        group.restart_child("gate").await.expect("starts");
        check(&monitor, &[]);
        group.terminate_child("gate").await.expect("stops");
        sleep(SECOND).await;
        group.delete_child("gate").await.expect("is down");
        check(&monitor, &[]);
        assert!(monitor.is_well());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_what_was_added_to_a_supervisor_that_is_gone() {
    let fuse = Fuse::default();
    let crowd = DynamicSupervisor::new("crowd");
    let group = Supervisor::new("group").child(fuse.child("first"));
    let app = App::new("app")
        .strategy(Strategy::OneForAll)
        .child(fuse.child("fuse"))
        .child(crowd.clone())
        .child(group.clone());
    run(app, async |monitor| {
        let gate = |id| worker(id, (), steady).gates_ready(Duration::ZERO);
        let started = crowd.start_child(gate("added")).await;
        started.expect("starts");
        let started = group.start_child(gate("added")).await;
        started.expect("starts");
        fuse.burn();
        sleep(SECOND / 2).await;
        assert_eq!(monitor.health().table().gates.len(), 0);
        sleep(3 * SECOND).await;
        check(&monitor, &[]);
        assert!(monitor.is_well());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn children_of_a_supervisor_that_was_killed_are_down() {
    // It never ends by itself, so that its supervisor is killed with it.
    let deaf = async |(), _: Context| std::future::pending::<Result>().await;
    let group = Supervisor::new("group")
        .child(worker("gate", (), deaf).gates_ready(Duration::ZERO))
        .shutdown(uptree_supervisor::Shutdown::BrutalKill);
    let app = Supervisor::new("inner").child(group);
    run(App::new("app").child(app.clone()), async |monitor| {
        check(&monitor, &[]);
        app.terminate_child("group").await.expect("is killed");
        check(&monitor, &["app/inner/group/gate: down for 0.0 s"]);
        app.restart_child("group").await.expect("starts");
        check(&monitor, &[]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_up_is_told_in_start_order_without_what_was_added() {
    let slow = async |(), cx: Starting| {
        sleep(SECOND).await;
        cx.ready().shutdown().await;
        Ok(())
    };
    let crowd = DynamicSupervisor::new("crowd");
    let group = Supervisor::new("group")
        .child(uptree_supervisor::service("slow", (), slow))
        .child(worker("later", (), steady));
    let (found, mut monitors) = mpsc::unbounded_channel();
    let app = App::new("app")
        .child(worker("first", found, spy))
        .child(crowd.clone())
        .child(group.clone())
        .child(worker("last", (), steady));
    let stop = async move {
        let monitor = monitors.recv().await.expect("the spy runs");
        let not_up = || lines(&monitor.not_up());
        sleep(SECOND / 2).await;
        assert_eq!(
            not_up(),
            [
                "app/group/slow: starting for 0.5 s",
                "app/group/later: down for 0.5 s",
                "app/last: down for 0.5 s"
            ]
        );
        assert!(!monitor.readiness().is_ready(), "it has not booted");
        sleep(SECOND).await;
        assert_eq!(not_up(), [""; 0]);
        assert!(monitor.readiness().is_ready());
        group.terminate_child("slow").await.expect("stops");
        sleep(SECOND).await;
        assert_eq!(not_up(), ["app/group/slow: down for 1.0 s"]);
        assert!(monitor.readiness().is_ready(), "it gates nothing");
    };
    assert_eq!(app.run_until(stop).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_of_a_change_and_of_the_end_of_a_grace() {
    let fuse = Fuse::default();
    let app = App::new("app").child(fuse.child("gate").gates_ready(SECOND / 2));
    run(app, async |monitor| {
        let mut watch = monitor.watch_readiness();
        watch.changed().await;
        assert!(watch.readiness().is_ready());
        let began = Instant::now();
        fuse.burn();
        let mut seen = Vec::new();
        let mut ready = true;
        while seen.len() < 2 {
            watch.changed().await;
            let now = watch.readiness().is_ready();
            if now != ready {
                ready = now;
                seen.push((began.elapsed().as_millis(), ready));
            }
        }
        assert_eq!(seen, [(500, false), (1000, true)]);
    })
    .await;
}
