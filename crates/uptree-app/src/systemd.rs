//! Tells systemd how the process is doing, by `sd_notify`'s protocol.
//!
//! On a thread of its own: a service manager that does not take its messages holds up nothing, and a
//! runtime that does not answer is told of by not saying `WATCHDOG=1`.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

use crate::{ChildState, Monitor, StartRecord, Timeline};

/// How often it looks what has changed.
const LOOKS: Duration = Duration::from_millis(200);

/// How long the end of the process waits for what is still to be told.
const TO_TELL: Duration = Duration::from_millis(200);

/// What systemd is given beyond a start's own time, so that the start's own failure comes first.
const MARGIN: Duration = Duration::from_secs(5);

/// Tells systemd until this is dropped.
pub(crate) struct Notifier {
    tell: Sender<Word>,
    is_done: Receiver<()>,
}

enum Word {
    /// The stop has begun.
    Stopping,
    /// The process is about to end.
    End,
}

impl Notifier {
    /// Begins to tell, if systemd wants to know: if `NOTIFY_SOCKET` is set.
    pub(crate) fn start(monitor: &Monitor, start_timeout: Duration) -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        let (tell, told) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let mut teller = Teller {
            monitor: monitor.clone(),
            extension: start_timeout.saturating_add(MARGIN),
            watchdog: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            pinged: None,
            version: None,
            status: String::new(),
            progress: None,
            is_ready: false,
            is_stopping: false,
        };
        let thread = thread::Builder::new().name("systemd".into());
        let thread = thread.spawn(move || {
            teller.run(&told);
            _ = done.send(());
        });
        thread.ok().map(|_| Self { tell, is_done })
    }

    /// The stop has begun.
    pub(crate) fn stopping(&self) {
        _ = self.tell.send(Word::Stopping);
    }
}

impl Drop for Notifier {
    /// Waits a little for the last words to be sent.
    fn drop(&mut self) {
        _ = self.tell.send(Word::End);
        _ = self.is_done.recv_timeout(TO_TELL);
    }
}

struct Teller {
    monitor: Monitor,
    /// What a start that makes progress is given each time.
    extension: Duration,
    /// How often systemd wants to hear that the process works, halved.
    watchdog: Option<Duration>,
    pinged: Option<Instant>,
    /// Of the monitor, when it was looked at.
    version: Option<u64>,
    status: String,
    /// When the latest progress was made that was told.
    progress: Option<Duration>,
    is_ready: bool,
    is_stopping: bool,
}

impl Teller {
    fn run(&mut self, told: &Receiver<Word>) {
        let period = self.watchdog.map_or(LOOKS, |every| every.min(LOOKS));
        // Not so often that it would be work.
        let period = period.max(Duration::from_millis(10));
        loop {
            self.look();
            match told.recv_timeout(period) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Word::Stopping) => self.is_stopping = self.stopping(),
                Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn stopping(&self) -> bool {
        self.is_stopping || send(&[NotifyState::Stopping])
    }

    fn look(&mut self) {
        self.ping();
        let version = Some(self.monitor.version());
        if self.version == version {
            return;
        }
        self.version = version;
        let timeline = self.monitor.timeline();
        if !self.is_ready && self.monitor.is_booted() {
            self.is_ready = send(&[NotifyState::Ready]);
        }
        self.tell_status(&timeline);
        self.extend(&timeline);
    }

    /// `WATCHDOG=1`, unless the process stalls or the runtime has not answered the last time.
    fn ping(&mut self) {
        let Some(every) = self.watchdog else { return };
        let watched = self.monitor.watched();
        let is_due = self.pinged.is_none_or(|pinged| pinged.elapsed() >= every);
        if is_due && watched.silent().is_none() && self.monitor.stall().is_none() {
            self.pinged = Some(Instant::now());
            send(&[NotifyState::Watchdog]);
        }
    }

    fn tell_status(&mut self, timeline: &Timeline) {
        let status = match self.monitor.stall() {
            Some(stall) => format!("stalled: {}", stall.cause),
            None if timeline.stop_at.is_some() => self.stopping_what(),
            None => status(timeline, self.monitor.is_booted()),
        };
        if status != self.status && send(&[NotifyState::Status(&status)]) {
            self.status = status;
        }
    }

    fn stopping_what(&self) -> String {
        let up = self.monitor.snapshot().map(|tree| tree.up());
        let mut up = up.into_iter().flatten();
        let stopping = up.find(|(_, state, _)| *state == ChildState::Stopping);
        match stopping {
            Some((child, ..)) => format!("stopping {child}"),
            None => "stopping".to_owned(),
        }
    }

    /// A start that makes progress has its own time again, and so has the boot.
    fn extend(&mut self, timeline: &Timeline) {
        if self.monitor.is_booted() {
            return;
        }
        let latest = timeline.starts.iter().filter_map(|start| {
            let progress = start.progress.as_ref()?;
            Some(progress.at)
        });
        let latest = latest.max();
        if latest > self.progress {
            self.progress = latest;
            let micros = u32::try_from(self.extension.as_micros()).unwrap_or(u32::MAX);
            send(&[NotifyState::ExtendTimeoutUsec(micros)]);
        }
    }
}

/// What the process is doing, in a line.
fn status(timeline: &Timeline, is_booted: bool) -> String {
    match timeline.underway() {
        Some(start) => starting(start),
        None if is_booted => "running".to_owned(),
        None => "starting".to_owned(),
    }
}

fn starting(start: &StartRecord) -> String {
    let child = &start.child;
    if let Some(progress) = &start.progress {
        let (done, total, what) = (progress.done, progress.total, &progress.what);
        return format!("starting {child}: {what} ({done} of {total})");
    }
    match start.steps.last() {
        Some(step) if step.waiting => format!("starting {child}: waits for {}", step.name),
        Some(step) => format!("starting {child}: {}", step.name),
        None => format!("starting {child}"),
    }
}

/// Says whether it was sent.
fn send(words: &[NotifyState<'_>]) -> bool {
    sd_notify::notify(words).is_ok()
}
