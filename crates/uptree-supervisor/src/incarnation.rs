//! One life of one child: its tasks, the words it says to its supervisor, and its end.
//!
//! An incarnation is gone when everything that it owned has been dropped: its own future, the
//! tasks it spawned, and, if it is a supervisor, every incarnation below it. That is counted in
//! its flags; who takes it to zero reports the exit. Nothing else does, so an exit can be neither
//! early nor lost, whether the child returned, panicked or was aborted.

mod rest;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};
use uptree_core::Incarnation as Key;

use self::rest::{Extra, Place, Rest};
use crate::{
    BoxError, ChildSpec, ChildState, Event, EventKind, ExitReason, Options, Result, Snapshot,
    StartError, call::Call, control::Info, scope::Scope, state::TreeState, worker::Polling,
};

/// Why a child is to stop, handed down the tree.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StopCause {
    /// The whole tree goes down.
    Shutdown,
    /// A sibling failed, here or further up; it is started again in a moment.
    GroupRestart,
    /// It alone, or its supervisor, is taken down.
    Terminated,
}

/// What is said to a supervisor.
pub(crate) enum Report {
    /// It is ready.
    Ready(Key),
    /// A task that it spawned panicked; it is to be aborted.
    TaskFailed(Key),
    /// Its own future has ended, and something that it owned is still there.
    Lingers(Key),
    /// It is gone.
    Gone {
        key: Key,
        /// It said that its work is done.
        done: bool,
    },
    /// Its restart is tried again now that everything before has been looked at.
    Retry(Key),
    /// Somebody calls.
    Call(Call),
}

/// The flags of an incarnation, below the number of those of it that are alive.
const READY: u32 = 1;
const DONE: u32 = 1 << 1;
/// Its own future is dropped: it can own nothing new.
const ENDED: u32 = 1 << 2;
/// Its supervisor no longer waits for it.
const RELEASED: u32 = 1 << 3;
/// Its stop deadline is part of what the whole tree may take, and is shared by those below it.
const BUDGET: u32 = 1 << 4;
const CAUSE_SHIFT: u32 = 5;
const CAUSE_MASK: u32 = 3 << CAUSE_SHIFT;
/// One of it that is alive: its own future, a task, an incarnation below it.
const ONE: u32 = 1 << 7;
const CAUSES: [StopCause; 3] = [
    StopCause::Shutdown,
    StopCause::GroupRestart,
    StopCause::Terminated,
];

/// What an incarnation, its tasks and its supervisor share.
///
/// There is one for each child, so every byte of it counts: with the two words before it in its
/// `Arc` it is as large as what is left over by a task's allocation, whose alignment is 128.
/// Times are in nanoseconds since the tree began.
pub(crate) struct Incarnation {
    scope: Arc<Scope>,
    spec: ChildSpec,
    /// The state in the lowest bits, and above them since when: written by its supervisor alone,
    /// read by anybody, without a lock.
    state: AtomicU64,
    /// When it is killed if it is still there, plus 1; 0 if that is not known, or never.
    stop_deadline: AtomicU64,
    flags: AtomicU32,
    slot: u32,
    number: u32,
    rest: Mutex<Rest>,
}

const STATE_BITS: u32 = 3;
const STATES: [ChildState; 7] = [
    ChildState::Down,
    ChildState::Starting,
    ChildState::Running,
    ChildState::Ignored,
    ChildState::Stopping,
    ChildState::Stuck,
    ChildState::BackingOff,
];

impl Incarnation {
    /// An incarnation that starts at `at`.
    pub(crate) fn new(scope: &Arc<Scope>, spec: ChildSpec, key: Key, at: Duration) -> Arc<Self> {
        if let Some(owner) = &scope.owner {
            owner.own_one_more();
        }
        let slot = u32::try_from(key.child);
        Arc::new(Self {
            scope: scope.clone(),
            spec,
            number: key.number,
            state: AtomicU64::new(packed(ChildState::Starting, nanos(at))),
            stop_deadline: AtomicU64::new(0),
            flags: AtomicU32::new(ONE),
            slot: slot.expect("a supervisor has fewer than four billion children"),
            rest: Mutex::default(),
        })
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    pub(crate) fn tree(&self) -> &Arc<TreeState> {
        &self.scope.tree
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            child: self.slot as usize,
            number: self.number,
        }
    }

    /// How often its child was started before.
    pub(crate) fn restarts(&self) -> u32 {
        let first = self.scope.first_of(self.key());
        self.number.wrapping_sub(first.unwrap_or(self.number))
    }

    /// When it came to be in the state that it is in, counted from when the tree began.
    pub(crate) fn since(&self) -> Duration {
        unpacked(self.state.load(Ordering::Acquire)).1
    }

    pub(crate) fn spec(&self) -> &ChildSpec {
        &self.spec
    }

    pub(crate) fn id(&self) -> &str {
        self.spec.id()
    }

    pub(crate) fn options(&self) -> &Options {
        self.spec.options()
    }

    pub(crate) fn is_root(&self) -> bool {
        self.scope.owner.is_none()
    }

    /// Whether it, or a supervisor above it, was started by a call or is one of many alike.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.scope.is_dynamic(self.slot as usize)
    }

    pub(crate) fn path(&self) -> Path<'_> {
        Path {
            above: self.scope.owner.as_deref(),
            id: self.id(),
        }
    }

    pub(crate) fn emit(&self, kind: EventKind<'_>) {
        let event = Event { life: self, kind };
        self.tree().observer.observe(&event);
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn own_one_more(&self) {
        let before = self.flags.fetch_add(ONE, Ordering::Relaxed);
        assert!(
            before < u32::MAX - ONE,
            "a child owns fewer than 33 million tasks, a supervisor fewer children"
        );
    }

    // ------------------------------------------------------------------ what is shown of it

    /// Publishes that it is in `state` since `since`.
    pub(crate) fn show(&self, state: ChildState, since: Duration) {
        self.state
            .store(packed(state, nanos(since)), Ordering::Release);
    }

    /// It is a supervisor, and this is what is below it.
    pub(crate) fn keep_below(&self, below: &Arc<Scope>) {
        self.rest().extra().below = Arc::downgrade(below);
    }

    /// What is below it, if it is a supervisor, or a child that runs one.
    fn below(&self) -> Option<Arc<Scope>> {
        let below = self.rest().known().map(|extra| extra.below.clone());
        below?.upgrade()
    }

    /// The longest that its orderly stop takes, with those below it who were added by calls;
    /// `None` if there is no limit.
    pub(crate) fn time_to_stop(&self) -> Option<Duration> {
        match self.below() {
            Some(below) if below.ordered => self.spec.stop_budget_with(|| below.time_to_stop()),
            _ => self.spec.stop_budget(),
        }
    }

    /// It and what is below it, as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_with(Scope::snapshots)
    }

    /// The same without what was added by calls.
    pub(crate) fn snapshot_of_list(&self) -> Snapshot {
        self.snapshot_with(Scope::snapshots_of_list)
    }

    fn snapshot_with(&self, shown: impl FnOnce(&Scope) -> Vec<Snapshot>) -> Snapshot {
        let (mut state, since) = unpacked(self.state.load(Ordering::Acquire));
        let runs = matches!(
            state,
            ChildState::Starting | ChildState::Running | ChildState::Stopping
        );
        if runs && self.has(RELEASED) {
            // It is gone, and nobody has looked yet.
            state = ChildState::Down;
        }
        let age = self.scope.now().saturating_sub(since);
        let children = self.below().map_or_else(
            || {
                let children = self.spec.children().unwrap_or_default().iter();
                children.map(|it| Snapshot::unstarted(it, age)).collect()
            },
            |below| shown(&below),
        );
        Snapshot {
            id: self.id().to_owned(),
            child_type: self.spec.child_type(),
            state,
            age,
            incarnation: self.restarts().into(),
            blocks_for: None,
            children,
        }
    }

    /// The incarnation for whom a call is made, among itself and those below.
    pub(crate) fn find(self: &Arc<Self>, polling: &Polling) -> Option<Arc<Self>> {
        if polling.is_for(self) {
            return Some(self.clone());
        }
        self.below()?.find(polling)
    }

    pub(crate) fn is_stuck(&self) -> bool {
        unpacked(self.state.load(Ordering::Acquire)).0 == ChildState::Stuck
    }

    // ------------------------------------------------------------------ the child's words

    pub(crate) fn report_ready(&self) {
        self.flags.fetch_or(READY, Ordering::AcqRel);
        self.report(Report::Ready(self.key()));
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.has(READY)
    }

    pub(crate) fn mark_done(&self) {
        self.flags.fetch_or(DONE, Ordering::AcqRel);
    }

    pub(crate) fn progress(&self, done: u64, total: u64, what: &str) {
        let now = Instant::now();
        self.rest().extra().progress = Some(now);
        self.emit(EventKind::Progress { done, total, what });
    }

    pub(crate) fn attempt_failed(&self, error: BoxError) {
        self.emit(EventKind::AttemptFailed(&*error));
        let before = self.rest().extra().attempt.replace(error);
        // Under no lock: it is a stranger's.
        drop(before);
    }

    pub(crate) fn keep_info(&self, info: Info) {
        self.rest().extra().info = Some(info);
    }

    pub(crate) fn take_info(&self) -> Option<Info> {
        self.rest().known_mut()?.info.take()
    }

    /// Says a word to the supervisor; nobody listens once it has ended, and nobody needs to.
    fn report(&self, report: Report) {
        self.scope.inbox.send(report);
    }

    // ------------------------------------------------------------------ the start timeout

    pub(crate) fn start_timeout(&self) -> Duration {
        let tree = self.tree();
        self.options().start_timeout.unwrap_or(tree.start_timeout)
    }

    /// When the start times out, while it lasts; `None` if never.
    pub(crate) fn start_deadline(&self) -> Option<Instant> {
        let extra = self.rest().known().and_then(|extra| extra.progress);
        extra
            .unwrap_or_else(|| self.tree().began + self.since())
            .checked_add(self.start_timeout())
    }

    /// The start is out of time; this is what it ends with, whatever it does now.
    pub(crate) fn fail_start(&self) {
        let mut rest = self.rest();
        let attempt = rest.known_mut().and_then(|extra| extra.attempt.take());
        let hint = "raise START_TIMEOUT; in its code: is `cx.ready()` called, and `cx.progress(…)`, \
                    which extends the time?";
        let unexplained = attempt.is_none();
        let error = StartError::TimedOut {
            after: self.start_timeout(),
            source: attempt,
        };
        let refused = rest.keep_exit(ExitReason::Error(match unexplained {
            true => crate::help(error, hint),
            false => error.into(),
        }));
        drop(rest);
        drop(refused);
    }

    // ------------------------------------------------------------------ the stop

    /// Asks the child to stop; the first cause is kept.
    pub(crate) fn ask_to_stop(&self, cause: StopCause, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.limit_stop(deadline);
        }
        let code = CAUSES.iter().position(|&each| each == cause);
        let code = u32::try_from(code.unwrap_or_default() + 1).unwrap_or(1);
        let first = |flags: u32| (flags & CAUSE_MASK == 0).then_some(flags | code << CAUSE_SHIFT);
        _ = self
            .flags
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, first);
        let (first, others) = self.rest().take_waiters();
        let others = others.into_values();
        first.into_iter().chain(others).for_each(Waker::wake);
    }

    /// Sets when its stop is to be over; the first word counts.
    pub(crate) fn limit_stop(&self, deadline: Instant) {
        let deadline = nanos(deadline - self.tree().began).saturating_add(1);
        let unset = &self.stop_deadline;
        _ = unset.compare_exchange(0, deadline, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The same, as its part of what the whole tree may take.
    pub(crate) fn limit_stop_budget(&self, deadline: Instant) {
        self.limit_stop(deadline);
        self.flags.fetch_or(BUDGET, Ordering::AcqRel);
    }

    /// When its stop is to be over, if that is to be shared by those below it.
    pub(crate) fn stop_budget(&self) -> Option<Instant> {
        self.has(BUDGET).then(|| self.stop_deadline()).flatten()
    }

    pub(crate) fn stop_cause(&self) -> Option<StopCause> {
        let code = (self.flags.load(Ordering::Acquire) & CAUSE_MASK) >> CAUSE_SHIFT;
        CAUSES.get((code as usize).checked_sub(1)?).copied()
    }

    pub(crate) fn stop_deadline(&self) -> Option<Instant> {
        let deadline = self.stop_deadline.load(Ordering::Relaxed);
        let since = Duration::from_nanos(deadline.checked_sub(1)?);
        Some(self.tree().began + since)
    }

    pub(crate) fn stopping(&self) -> Stopping<'_> {
        Stopping {
            life: self,
            place: None,
        }
    }

    // ------------------------------------------------------------------ the end

    pub(crate) fn reason_of(&self, result: Result) -> ExitReason {
        match result {
            Err(error) => ExitReason::of_error(error),
            Ok(()) if self.stop_cause().is_some() => ExitReason::Shutdown,
            Ok(()) if self.has(READY | DONE) => ExitReason::Normal,
            Ok(()) => ExitReason::Error(StartError::NeverReady.into()),
        }
    }

    /// Keeps the first reason.
    pub(crate) fn set_exit(&self, reason: ExitReason) {
        let refused = self.rest().keep_exit(reason);
        drop(refused);
    }

    /// Looks at how it ended, if it has. Under no lock: who is told of it may take his time, or block
    /// on a log that nobody reads, and others look at this child meanwhile.
    pub(crate) fn with_exit<T>(&self, look: impl FnOnce(&ExitReason) -> T) -> Option<T> {
        let reason = self.take_exit()?;
        let seen = look(&reason);
        let mut rest = self.rest();
        let later = rest.take_exit();
        let refused = rest.keep_exit(reason);
        drop(rest);
        drop((later, refused));
        Some(seen)
    }

    /// How it ended, for whoever is the last to ask.
    pub(crate) fn take_exit(&self) -> Option<ExitReason> {
        self.rest().take_exit()
    }

    /// Its own future is dropped; what else it owned goes too. The first reason is kept.
    pub(crate) fn end(&self, reason: ExitReason) {
        self.flags.fetch_or(ENDED, Ordering::AcqRel);
        let (refused, tasks) = {
            let mut rest = self.rest();
            let refused = rest.keep_exit(reason);
            let tasks = |extra: &mut Extra| std::mem::take(&mut extra.tasks);
            (refused, rest.known_mut().map(tasks))
        };
        drop(refused);
        for task in tasks.into_iter().flatten().filter_map(|(_, task)| task) {
            task.abort();
        }
        // Under the lock or before it a task may have been added.
        if self.flags.load(Ordering::Acquire) >= 2 * ONE {
            self.report(Report::Lingers(self.key()));
        }
        self.release();
    }

    /// One thing less is alive; the last one reports the exit.
    fn release(&self) {
        let before = self.flags.fetch_sub(ONE, Ordering::AcqRel);
        if before >= 2 * ONE {
            return;
        }
        let normal = |exit: &ExitReason| matches!(exit, ExitReason::Normal);
        let done = before & DONE != 0 && self.rest().exit().is_some_and(normal);
        let key = self.key();
        self.report(Report::Gone { key, done });
        let extra = |extra: &mut Extra| (extra.kept.take(), extra.below.upgrade());
        let extra = self.rest().known_mut().map(extra);
        self.release_owner();
        // Last, as what is dropped here is a stranger's: whatever it does, the end is known.
        if let Some((kept, below)) = extra {
            drop(kept);
            if let Some(below) = below {
                below.let_go();
            }
        }
    }

    /// Drops `what` once its end has been reported: who learns of the end from that finds the
    /// supervisor informed.
    pub(crate) fn keep_until_gone(&self, what: Box<dyn Send>) {
        self.rest().extra().kept = Some(what);
    }

    /// Its supervisor no longer waits for it: because it is gone, or because it is stuck. Says
    /// whether that is new.
    pub(crate) fn release_owner(&self) -> bool {
        let before = self.flags.fetch_or(RELEASED, Ordering::AcqRel);
        if before & RELEASED != 0 {
            return false;
        }
        if let Some(owner) = &self.scope.owner {
            owner.release();
        }
        true
    }

    // ------------------------------------------------------------------ its tasks

    /// Counts one more task, unless the incarnation has ended; answers with its number.
    pub(crate) fn open_task(&self) -> Option<u64> {
        let mut rest = self.rest();
        if self.has(ENDED) {
            return None;
        }
        let extra = rest.extra();
        extra.tasks_ever += 1;
        extra.tasks.insert(extra.tasks_ever, None);
        self.own_one_more();
        Some(extra.tasks_ever)
    }

    /// Keeps the handle of a task that runs, to abort it at the end.
    pub(crate) fn keep_task(&self, number: u64, handle: &JoinHandle<()>) {
        // It may be over already.
        if let Some(entry) = self.rest().extra().tasks.get_mut(&number) {
            *entry = Some(handle.abort_handle());
        }
        // The incarnation may have ended before it could see the handle.
        if self.has(ENDED) {
            handle.abort();
        }
    }

    /// The task is over, and all that it held is dropped.
    pub(crate) fn close_task(&self, number: u64) {
        self.rest().extra().tasks.remove(&number);
        self.release();
    }

    /// A task panicked: the child fails with it.
    pub(crate) fn task_failed(&self, reason: ExitReason) {
        self.set_exit(reason);
        self.report(Report::TaskFailed(self.key()));
    }
}

fn packed(state: ChildState, since: u64) -> u64 {
    since << STATE_BITS | state as u64
}

fn unpacked(packed: u64) -> (ChildState, Duration) {
    let code = usize::try_from(packed & ((1 << STATE_BITS) - 1)).unwrap_or_default();
    (STATES[code], Duration::from_nanos(packed >> STATE_BITS))
}

/// Five centuries fit; a deadline beyond them is as good as the last of them.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().to_string();
        write!(f, "Incarnation({path} #{})", self.number)
    }
}

/// Completes when the incarnation is asked to stop.
pub(crate) struct Stopping<'a> {
    life: &'a Incarnation,
    place: Option<Place>,
}

impl Future for Stopping<'_> {
    type Output = StopCause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StopCause> {
        if let Some(cause) = self.life.stop_cause() {
            return Poll::Ready(cause);
        }
        let mut rest = self.life.rest();
        // Whoever asks says the cause first and then takes the lock: it is seen here, or it sees
        // the waker.
        if let Some(cause) = self.life.stop_cause() {
            return Poll::Ready(cause);
        }
        let place = rest.wait(self.place, cx.waker());
        drop(rest);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        // Once it is asked to stop, whoever waits is taken out by whoever asks.
        if let Some(place) = self.place
            && self.life.stop_cause().is_none()
        {
            let waker = self.life.rest().give_up(place);
            drop(waker);
        }
    }
}

/// A path, put together only when it is shown.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    above: Option<&'a Incarnation>,
    id: &'a str,
}

impl<'a> Path<'a> {
    pub(crate) fn below(owner: &'a Incarnation, id: &'a str) -> Self {
        let above = Some(owner);
        Self { above, id }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            write!(f, "{}/", above.path())?;
        }
        f.write_str(self.id)
    }
}
