//! Which process of the server works for a session: known to others by an advisory lock.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What a session, its brake and its observer know of each other.
///
/// The number of a process says little: through a pooler it is another client's a moment later. So
/// the process takes an advisory lock that nobody else takes, for as long as it works for the
/// session: with the transaction it ends, on whatever way. Who has the lock may be cancelled.
#[derive(Debug)]
pub(super) struct Badge {
    key: i64,
    /// Whether the server works for the session, or may.
    busy: AtomicBool,
    /// Whether the session is to begin nothing more.
    stopping: AtomicBool,
}

impl Badge {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            key: fastrand::i64(..),
            busy: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Has the process that runs it wear the badge: for the transaction, or for the session.
    pub(super) fn put_on(&self, for_transaction: bool) -> String {
        let scope = if for_transaction { "xact_" } else { "" };
        let key = self.key;
        // It is shared, and so never waited for, when a session takes it again.
        format!("SELECT pg_catalog.pg_try_advisory_{scope}lock_shared({key})")
    }

    /// The lock, of a row of `pg_locks` by the name of `l`.
    pub(super) fn is_worn(&self) -> String {
        let bits = self.key.cast_unsigned();
        let (high, low) = (bits >> 32, bits & 0xffff_ffff);
        format!(
            "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND l.classid = {high}::oid AND l.objid = {low}::oid"
        )
    }

    /// Calls `function` for the process that wears it.
    pub(super) fn signal(&self, function: &str) -> String {
        let is_worn = self.is_worn();
        format!("SELECT pg_catalog.{function}(l.pid) FROM pg_catalog.pg_locks AS l WHERE {is_worn}")
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The server is given work, until what is returned is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        self.busy.store(true, Ordering::Release);
        Working(Arc::clone(self))
    }
}

/// The server has work.
pub(super) struct Working(Arc<Badge>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_halves() {
        let badge = |key| Badge {
            key,
            busy: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        };
        let halves = "l.classid = 4294967295::oid AND l.objid = 4294967294::oid";
        assert!(badge(-2).is_worn().contains(halves));
        let halves = "l.classid = 1::oid AND l.objid = 2::oid";
        assert!(badge((1 << 32) + 2).is_worn().contains(halves));
    }

    #[test]
    fn it_is_busy_for_as_long_as_the_work_lasts() {
        let badge = Badge::new();
        let work = badge.work();
        assert!(badge.is_busy());
        drop(work);
        assert!(!badge.is_busy());
    }
}
