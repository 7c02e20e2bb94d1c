//! The watchdog: sees from outside the runtime what keeps it from working.
//!
//! A thread of its own looks twice a second: at what each thread does for children
//! ([`uptree_supervisor::polling`]), whether the runtime answers, and whether the accept loops of
//! servers do. Those it looks at do nothing for it but write a word that is theirs alone.
//!
//! Its clock counts the time in which it runs itself: what happens to the whole process (SIGSTOP, a
//! paused machine, no processor time) is nobody's fault in it.

mod calls;
mod clock;
mod guard;
mod measures;
mod pulse;
mod responder;
mod stalls;
mod watched;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, RuntimeMetrics};
use uptree_supervisor::{Polling, Stopper, polling};

use self::{
    calls::{Calls, Change},
    clock::Clock,
    guard::Guarded,
    responder::{Answer, Responder},
    stalls::{Server, Stalls},
};
pub use self::{
    guard::{Accepting, Guard},
    watched::{Blocked, Stall, StallCause},
};
pub(crate) use self::{
    pulse::Pulse,
    watched::{Watched, seconds},
};
use crate::{Monitor, exit::aside};

/// How often it looks.
const LOOKS: Duration = Duration::from_millis(500);

/// How often it answers while it has somebody to answer.
const ROUNDS: Duration = Duration::from_millis(10);

/// A runtime that has not answered for so long is told of.
const SILENT_LIMIT: Duration = calls::LIMIT;

/// A watchdog that runs until this is dropped.
pub(crate) struct Watchdog {
    _runs: Sender<Infallible>,
}

impl Watchdog {
    /// Watches over a tree and its runtime, on which `pulse` beats. What does not work for
    /// `stall_limit` is a stall; without a limit nothing is.
    pub(crate) fn start(
        monitor: &Monitor,
        tree: &Stopper,
        runtime: &Handle,
        pulse: &Arc<Pulse>,
        stall_limit: Option<Duration>,
    ) -> io::Result<Self> {
        measures::describe();
        let (runs, ended) = mpsc::channel();
        let mut dog = Dog {
            monitor: monitor.clone(),
            tree: tree.clone(),
            runtime: runtime.metrics(),
            pulse: Arc::clone(pulse),
            beats: 0,
            clock: Clock::new(LOOKS, Instant::now()),
            calls: Calls::new(),
            stalls: Stalls::new(stall_limit, Duration::ZERO),
            responder: Responder::default(),
            silent: None,
            stalled: None,
        };
        let thread = thread::Builder::new().name("watchdog".into());
        thread.spawn(move || dog.run(&ended))?;
        Ok(Self { _runs: runs })
    }
}

struct Dog {
    monitor: Monitor,
    tree: Stopper,
    runtime: RuntimeMetrics,
    pulse: Arc<Pulse>,
    /// Of the pulse, at the last look.
    beats: u64,
    clock: Clock,
    calls: Calls<Polling>,
    stalls: Stalls,
    responder: Responder,
    /// For how long the runtime does not answer, once that was told.
    silent: Option<Duration>,
    stalled: Option<Stalled>,
}

/// A stall that was told of.
struct Stalled {
    cause: StallCause,
    age: Duration,
    /// Whose clients are answered.
    servers: Vec<Arc<Guarded>>,
}

impl Dog {
    fn run(&mut self, ended: &Receiver<Infallible>) {
        self.responder.prepare();
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next || self.is_back() {
                self.look();
                next = Instant::now() + LOOKS;
            }
            self.answer();
            let until_next = next.saturating_duration_since(Instant::now());
            let wait = match self.stalled.is_some() || self.responder.is_busy() {
                true => until_next.min(ROUNDS),
                false => until_next,
            };
            match ended.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(never) => match never {},
            }
        }
    }

    /// Whether a runtime that stalled has answered: then nobody is to be told otherwise any more.
    fn is_back(&self) -> bool {
        let runtime = |stalled: &Stalled| stalled.cause == StallCause::Runtime;
        self.stalled.as_ref().is_some_and(runtime) && self.pulse.count() != self.beats
    }

    fn look(&mut self) {
        if self.clock.tick(Instant::now()) {
            let now = self.clock.now();
            self.calls.forgive(now);
            self.stalls.forgive(now);
        }
        let now = self.clock.now();
        let servers = self.monitor.watched().guards.list();
        let seen: Vec<_> = servers.iter().map(server_of).collect();
        self.beats = self.pulse.count();
        let found = self.stalls.look(now, self.beats, &seen);
        // Of a runtime that does not answer it is told who blocks it, if only since the last look.
        let limit = match found.silent >= SILENT_LIMIT {
            true => LOOKS / 2,
            false => calls::LIMIT,
        };
        let changes = self
            .calls
            .look(now, polling(), limit, &parks(&self.runtime), |call| {
                self.tree.path_of(call)
            });
        self.publish(now, &changes, &found);
        for change in changes {
            self.tell_of_call(change);
        }
        self.tell_of_silence(found.silent);
        self.stall(found, servers);
        // For the next look.
        self.pulse.ask();
        self.monitor.watched().guards.ask();
    }

    fn publish(&self, now: Duration, changes: &[Change], found: &stalls::Found) {
        let blocked = self.calls.blocking();
        let blocked = blocked.map(|(path, since)| (path.to_owned(), now.saturating_sub(since)));
        let watched = self.monitor.watched();
        let is_new = watched.publish(blocked, found);
        measures::set(self.calls.blocking().count(), found.stall.is_some());
        if is_new || !changes.is_empty() {
            self.monitor.tell_changed();
        }
    }

    fn tell_of_call(&self, change: Change) {
        if matches!(change, Change::Blocks(..)) {
            self.monitor.watched().count_blocked();
            measures::count_blocked();
        }
        aside(move || match change {
            Change::Blocks(child, time) => {
                let blocked = seconds(time);
                tracing::warn!(child, %blocked, "blocks a worker thread");
            }
            Change::Over(child, time) => {
                let blocked = seconds(time);
                tracing::info!(child, %blocked, "no longer blocks a worker thread");
            }
        });
    }

    /// Tells once of a runtime that does not answer, and once when it does.
    fn tell_of_silence(&mut self, silent: Duration) {
        match self.silent {
            None if silent >= SILENT_LIMIT => {
                self.silent = Some(silent);
                let blocked = self.monitor.blocked();
                let by: Vec<_> = blocked.into_iter().map(|it| it.path).collect();
                aside(move || {
                    let silent = seconds(silent);
                    if by.is_empty() {
                        tracing::warn!(
                            %silent,
                            "the runtime does not answer, and no child blocks it: does code in \
                             `tokio::spawn` or in a library?"
                        );
                    } else {
                        let by = by.join(", ");
                        tracing::warn!(%silent, by, "the runtime does not answer");
                    }
                });
            }
            Some(_) if silent >= SILENT_LIMIT => self.silent = Some(silent),
            Some(total) if silent.is_zero() => {
                self.silent = None;
                aside(move || {
                    let silent = seconds(total);
                    tracing::info!(%silent, "the runtime answers again");
                });
            }
            _ => {}
        }
    }

    fn stall(&mut self, found: stalls::Found, mut servers: Vec<Arc<Guarded>>) {
        let Some((cause, age)) = found.stall else {
            if let Some(stalled) = self.stalled.take() {
                aside(move || {
                    let (reason, stalled) = (stalled.cause.to_string(), seconds(stalled.age));
                    tracing::info!(reason, %stalled, "no longer stalled");
                });
            }
            return;
        };
        if let Some(id) = found.server {
            servers.retain(|server| id_of(server) == id);
        }
        let is_new = self.stalled.as_ref().map(|stalled| stalled.cause) != Some(cause);
        self.stalled = Some(Stalled {
            cause,
            age,
            servers,
        });
        if is_new && let Some(stall) = self.monitor.stall() {
            measures::count_stall(cause);
            let reason = stall.to_string();
            aside(move || {
                tracing::error!(reason, "stalled: every request is answered 503");
            });
        }
    }

    /// Answers the clients of what stalls.
    fn answer(&mut self) {
        let Some(stalled) = &self.stalled else {
            if self.responder.is_busy() {
                self.responder.go_on(&Answer::new(None));
            }
            return;
        };
        let reason = self.monitor.stall().map(|stall| stall.to_string());
        let detailed = Answer::new(reason.as_deref());
        let terse = Answer::new(None);
        let is_terse = stalled.servers.iter().any(|server| server.is_terse());
        self.responder
            .go_on(if is_terse { &terse } else { &detailed });
        for server in &stalled.servers {
            let answer = if server.is_terse() { &terse } else { &detailed };
            if let Some(listener) = &*server.listener() {
                self.responder.accept(listener, answer);
            }
        }
    }
}

/// How often each worker has parked and unparked.
fn parks(runtime: &RuntimeMetrics) -> Vec<u64> {
    #[cfg(target_has_atomic = "64")]
    return (0..runtime.num_workers())
        .map(|worker| runtime.worker_park_unpark_count(worker))
        .collect();
    #[cfg(not(target_has_atomic = "64"))]
    Vec::new()
}

fn id_of(server: &Arc<Guarded>) -> usize {
    Arc::as_ptr(server).addr()
}

fn server_of(server: &Arc<Guarded>) -> Server {
    Server {
        id: id_of(server),
        beats: server.pulse.count(),
        is_failing: server.is_failing(),
        has_ended: server.has_ended(),
    }
}
