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

mod budget;
mod kill;
mod restart;
mod start;
mod stop;

const SECOND: Duration = Duration::from_secs(1);

/// What happened, each line with the second at which it did.
#[derive(Clone)]
struct Story {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
    more: Arc<Notify>,
}

impl Story {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            lines: Arc::default(),
            more: Arc::default(),
        }
    }

    fn tell(&self, line: &str) {
        let at = self.began.elapsed().as_secs_f64();
        self.lines
            .lock()
            .expect("no panic")
            .push(format!("{at} {line}"));
        self.more.notify_waiters();
    }

    /// Waits until a line ends with `what`.
    async fn until(&self, what: &str) {
        loop {
            let more = self.more.notified();
            if self.lines().iter().any(|line| line.ends_with(what)) {
                return;
            }
            more.await;
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Forgets what happened so far.
    fn clear(&self) {
        self.lines.lock().expect("no panic").clear();
    }

    #[track_caller]
    fn is(&self, expected: &[&str]) {
        assert_eq!(self.lines(), expected);
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

fn spawn(story: &Story, supervisor: Supervisor) -> Tree {
    supervisor.spawn(TreeOptions {
        observer: Arc::new(story.clone()),
        ..TreeOptions::default()
    })
}

/// Runs until it is asked to stop.
async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

/// Fails when told to.
async fn fuse(fuse: Arc<Notify>, cx: Context) -> Result {
    tokio::select! {
        _ = cx.shutdown() => Ok(()),
        () = fuse.notified() => Err("burnt".into()),
    }
}

async fn deaf((): (), _cx: Context) -> Result {
    pending().await
}

fn steadies(ids: &[&'static str]) -> impl Iterator<Item = ChildSpec> {
    ids.iter().map(|id| worker(*id, (), steady).into_child())
}

/// The chain of an error, one line each.
fn chain(error: &BoxError) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        lines.push(error.to_string());
        source = error.source();
    }
    lines
}

/// Tells when it is dropped.
struct Falls(&'static str, Story);

impl Drop for Falls {
    fn drop(&mut self) {
        self.1.tell(&format!("{} dropped", self.0));
    }
}
