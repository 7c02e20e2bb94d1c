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
    AutoShutdown, Backoff, BoxError, ChildInfo, ChildSpec, Context, ControlError, Counts,
    DynamicSupervisor, Event, EventKind, ExitReason, ExitWith, IntoChild, Observer, Restart,
    Result, Shutdown, StartError, Started, Starting, StopCause, Strategy, Supervisor, Tree,
    TreeError, TreeOptions, once, service, worker,
};

mod backoff;
mod budget;
mod calls;
mod deadlock;
mod dynamic;
mod ends;
mod flat;
mod forgotten;
mod kill;
mod nested;
mod onlookers;
mod random;
mod restart;
mod start;
mod stop;
mod together;

pub(super) use flat::weigh;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

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

    /// Waits until a line ends with `what`.
    pub(crate) async fn until(&self, what: &str) {
        loop {
            let more = self.more.notified();
            if self.lines().iter().any(|line| line.ends_with(what)) {
                return;
            }
            more.await;
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Forgets what happened so far.
    pub(crate) fn clear(&self) {
        self.lines.lock().expect("no panic").clear();
    }

    #[track_caller]
    pub(crate) fn is(&self, expected: &[&str]) {
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
            EventKind::Restarting { left, delay, .. } => {
                let restarting = format!("restarting, {left} left");
                match delay {
                    Some(_) => {
                        self.tell(&format!("{} {restarting}", event.path()));
                        "backing off".into()
                    }
                    None => restarting,
                }
            }
            EventKind::BackingOff { .. } => "backing off".into(),
            EventKind::AutoShutdown => "auto shutdown".into(),
            EventKind::MaxIntensity { .. } => "too often".into(),
            EventKind::Ending => "ending".into(),
            EventKind::Stopping(cause) => format!("stopping: {cause:?}"),
            EventKind::Killing { .. } => "killing".into(),
            EventKind::Stopped { reason, .. } => format!("stopped: {reason}"),
            EventKind::ShutdownError(reason) => format!("shutdown error: {reason}"),
            EventKind::Stuck { .. } => "stuck".into(),
            EventKind::Step(_)
            | EventKind::Waiting(_)
            | EventKind::Progress { .. }
            | EventKind::AttemptFailed(_)
            | EventKind::Gone { .. }
            | EventKind::Forgotten => return,
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

/// Takes so long to start.
async fn slow(start: Duration, cx: Starting) -> Result {
    sleep(start).await;
    let cx = cx.ready();
    cx.shutdown().await;
    Ok(())
}

/// Takes so long to stop.
async fn tidy(stop: Duration, cx: Context) -> Result {
    cx.shutdown().await;
    sleep(stop).await;
    Ok(())
}

/// Fails when told to.
pub(crate) async fn fuse(fuse: Arc<Notify>, cx: Context) -> Result {
    tokio::select! {
        _ = cx.shutdown() => Ok(()),
        () = fuse.notified() => Err("burnt".into()),
    }
}

/// Fails at its start.
async fn broken((): (), _cx: Starting) -> Result {
    Err("no schema".into())
}

/// Never stops by itself.
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

/// Tells when it is dropped.
struct Falls(&'static str, Story);

impl Drop for Falls {
    fn drop(&mut self) {
        self.1.tell(&format!("{} dropped", self.0));
    }
}

/// What a call was answered, as a line of the story has it.
trait Answer {
    fn line(&self) -> String;
}

impl Answer for () {
    fn line(&self) -> String {
        "done".into()
    }
}

impl Answer for Started {
    fn line(&self) -> String {
        let line = if self.is_ignored() {
            "ignored"
        } else {
            "started"
        };
        line.into()
    }
}

impl Answer for Vec<ChildInfo> {
    fn line(&self) -> String {
        let children = self
            .iter()
            .map(|it| format!("{} {:?}", it.id(), it.status()));
        children.collect::<Vec<_>>().join(", ")
    }
}

impl Answer for Counts {
    fn line(&self) -> String {
        let Self {
            specs,
            active,
            supervisors,
            workers,
        } = self;
        format!("{specs} specs, {active} active, {supervisors} supervisors, {workers} workers")
    }
}

impl Answer for ChildSpec {
    fn line(&self) -> String {
        self.id().to_owned()
    }
}

impl<T: Answer> Answer for std::result::Result<T, ControlError> {
    fn line(&self) -> String {
        match self {
            Ok(answer) => answer.line(),
            Err(ControlError::StartFailed { path, source }) => {
                format!("{path} did not start: {}", chain(source).join(": "))
            }
            Err(error) => error.to_string(),
        }
    }
}

/// Makes calls one after the other, and holds each answer against what is expected.
macro_rules! answers {
    ($($supervisor:ident.$method:ident($($arg:expr),*) => $expected:expr;)*) => {
        $(
            let answer = $supervisor.$method($($arg),*).await;
            assert_eq!(answer.line(), $expected, "{}", stringify!($method($($arg),*)));
        )*
    };
}
use answers;

/// Makes a call from a task of its own; its answer is a line of the story.
macro_rules! call {
    ($story:ident, $supervisor:ident.$method:ident($($arg:expr),*)) => {{
        let (story, supervisor) = ($story.clone(), $supervisor.clone());
        tokio::spawn(async move {
            let answer = supervisor.$method($($arg),*).await;
            story.tell(&format!("> {}: {}", stringify!($method), answer.line()));
        })
    }};
}
use call;

const NO_PROC: &str = "the supervisor is not running";
const NOT_FOUND: &str = "there is no such child";
