//! How a server lends the watchdog its listener, and shows it that its accept loop runs.

use std::{
    convert::Infallible,
    fmt,
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::pulse::Pulse;

/// A server that the watchdog looks after, until this is dropped.
///
/// The watchdog asks its accept loop every now and then whether it runs. One that does not answer,
/// has [ended](Accepting), or cannot accept for 10 s is a stall, as is a runtime that does not
/// answer: then the watchdog accepts on its duplicate of the listener and answers 503 to whatever is
/// asked, with the reason, until the loop runs again.
///
/// Made by [`Monitor::guard`](crate::Monitor::guard).
///
/// # Examples
///
/// A server's child:
///
/// ```
/// use std::net::TcpListener as StdListener;
/// use tokio::net::TcpListener;
/// use uptree_app::{Context, Monitor, Result};
///
/// async fn serve((): (), cx: Context) -> Result {
///     let listener = StdListener::bind("127.0.0.1:0")?;
///     listener.set_nonblocking(true)?;
///     let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
///     let guard = monitor.guard(listener.try_clone()?);
///     let listener = TcpListener::from_std(listener)?;
///
///     let accepting = guard.accepting();
///     loop {
///         tokio::select! {
///             biased;
///             _ = cx.shutdown() => return Ok(()),
///             accepted = listener.accept() => match accepted {
///                 Ok(_) => accepting.accepted(),
///                 Err(_) => accepting.failed(),
///             },
///             // Last: that it is reached says that no accept fails.
///             never = accepting.waiting() => match never {},
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "the watchdog gives the listener back when this is dropped"]
pub struct Guard {
    guarded: Arc<Guarded>,
    all: Arc<Guards>,
}

impl Guard {
    /// Has the watchdog say `stalled`, and not the reason, to whoever asks.
    pub fn without_detail(self) -> Self {
        self.guarded.terse.store(true, Ordering::Relaxed);
        self
    }

    /// What the accept loop holds while it runs.
    pub fn accepting(&self) -> Accepting<'_> {
        self.guarded.ended.store(false, Ordering::Relaxed);
        Accepting(&self.guarded)
    }
}

impl Drop for Guard {
    /// Closes the duplicate: from then on nobody can connect to a listener that is closed otherwise.
    fn drop(&mut self) {
        self.all.lock().retain(|it| !Arc::ptr_eq(it, &self.guarded));
        let listener = self.guarded.listener().take();
        drop(listener);
    }
}

/// An accept loop that runs. If this is dropped long before its [`Guard`], it has ended though its
/// server runs on, and that is a stall.
#[derive(Debug)]
pub struct Accepting<'a>(&'a Guarded);

impl Accepting<'_> {
    /// A connection was accepted.
    pub fn accepted(&self) {
        self.0.failing.store(false, Ordering::Relaxed);
        self.0.pulse.beat();
    }

    /// No connection could be accepted, for a reason that is not the connection's, such as that
    /// there is no file descriptor left.
    pub fn failed(&self) {
        self.0.failing.store(true, Ordering::Relaxed);
    }

    /// Never completes; answers the watchdog while it is polled. To be polled after the accept, when
    /// that is pending: that says that accepts do not fail (any more).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn waiting(&self) -> Infallible {
        self.0.failing.store(false, Ordering::Relaxed);
        self.0.pulse.beats().await
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// A server, as the watchdog sees it.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) pulse: Pulse,
    failing: AtomicBool,
    ended: AtomicBool,
    terse: AtomicBool,
    listener: Mutex<Option<TcpListener>>,
}

impl Guarded {
    /// Its last accept failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Its accept loop has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn is_terse(&self) -> bool {
        self.terse.load(Ordering::Relaxed)
    }

    /// The duplicate; none once the guard is dropped. Its owner waits for the lock to close it.
    pub(crate) fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All servers that are looked after.
#[derive(Default)]
pub(crate) struct Guards(Mutex<Vec<Arc<Guarded>>>);

impl Guards {
    pub(crate) fn add(self: &Arc<Self>, listener: TcpListener) -> Guard {
        let guarded = Arc::new(Guarded {
            pulse: Pulse::default(),
            failing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            terse: AtomicBool::new(false),
            listener: Mutex::new(Some(listener)),
        });
        self.lock().push(Arc::clone(&guarded));
        Guard {
            guarded,
            all: Arc::clone(self),
        }
    }

    pub(crate) fn list(&self) -> Vec<Arc<Guarded>> {
        self.lock().clone()
    }

    /// Asks every accept loop whether it runs.
    pub(crate) fn ask(&self) {
        for guarded in self.list() {
            guarded.pulse.ask();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Guarded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter()).finish()
    }
}
