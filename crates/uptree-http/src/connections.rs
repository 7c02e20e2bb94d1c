//! All the connections that an endpoint has open, and the gate before its routes.
//!
//! Written once when a connection opens and once when it is gone; requests touch only their own
//! connection. Whoever stops the service walks the list and waits for it to change.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    connection::{Connection, Order},
    gate::{Gate, Stage},
    limits::ROOM,
    meters::Meters,
};

#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) gate: Gate,
    /// What is counted of requests, from the endpoint's first start on.
    pub(crate) meters: OnceLock<Meters>,
    next: AtomicU64,
    /// Weak, so that an entry lasts for as long as anything of its connection does: its task, and
    /// requests that run on in tasks of their own (HTTP/2).
    open: Mutex<HashMap<u64, Weak<Connection>>>,
    /// How many of them speak HTTP still; the others have been sent FIN.
    serving: AtomicUsize,
    /// A connection is gone; or, while the gate closes, a request has ended.
    changed: Notify,
}

impl Connections {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(),
            meters: OnceLock::new(),
            next: AtomicU64::new(0),
            open: Mutex::new(HashMap::new()),
            serving: AtomicUsize::new(0),
            changed: Notify::new(),
        })
    }

    /// Enters a new connection in the list.
    pub(crate) fn open(self: &Arc<Self>) -> Arc<Connection> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // The stage is read under the lock that `list` takes: a connection is either born to the
        // new stage or in the list of whoever set it.
        let mut open = self.lock();
        let connection = Connection::new(number, self.gate.stage(), Arc::clone(self));
        let connection = Arc::new(connection);
        open.insert(number, Arc::downgrade(&connection));
        self.serving.fetch_add(1, Ordering::SeqCst);
        connection
    }

    pub(crate) fn parted(&self) {
        self.serving.fetch_sub(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn remove(&self, number: u64) {
        self.lock().remove(&number);
        self.changed.notify_waiters();
    }

    /// What is open now. To be dropped soon: it keeps entries from leaving.
    pub(crate) fn list(&self) -> Vec<Arc<Connection>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Tells every connection.
    pub(crate) fn tell(&self, order: Order) {
        for connection in self.list() {
            connection.tell(order);
        }
    }

    /// Closes idle connections, so that others can be accepted: those on which nothing has been
    /// asked yet first, and the oldest first. Says how many.
    ///
    /// A client may have a request on its way; but one that is turned away at the door may be who
    /// asks whether the process is alive.
    pub(crate) fn make_room(&self) -> usize {
        let mut idle = self.list();
        idle.retain(|connection| connection.is_idle());
        idle.sort_unstable_by_key(|connection| (connection.answered(), connection.number()));
        idle.truncate(ROOM);
        for connection in &idle {
            connection.tell(Order::Cut);
        }
        idle.len()
    }

    pub(crate) fn request_ended(&self) {
        if self.gate.stage() >= Stage::LastCall {
            self.changed.notify_waiters();
        }
    }

    /// Waits until these are over: closed on our side, with everything sent that was to be, and no
    /// request left. To be told to end first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn until_over(&self, connections: &[Arc<Connection>]) {
        for connection in connections {
            self.until(|| connection.is_over()).await;
        }
    }

    /// How many connections speak HTTP.
    pub(crate) fn serving(&self) -> usize {
        self.serving.load(Ordering::SeqCst)
    }

    /// Waits until no connection speaks HTTP.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn none_serving(&self) {
        self.until(|| self.serving() == 0).await;
    }

    /// Waits until every connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn all_gone(&self) {
        self.until(|| self.lock().is_empty()).await;
    }

    /// Waits until `done`, looked at after each change.
    async fn until(&self, mut done: impl FnMut() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // In the list of waiters before the look: what changes after it is not missed.
            changed.as_mut().enable();
            if done() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_listed_until_nothing_of_it_is_left() {
        let all = Connections::new();
        all.gate.set(Stage::Open);
        let connection = all.open();
        let in_flight = connection.enter().expect("the gate is open");
        drop(connection);
        assert_eq!(all.list().len(), 1, "a request lives on");
        drop(in_flight);
        assert!(all.list().is_empty());
        all.all_gone().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_last_request_is_not_missed() {
        let all = Connections::new();
        all.gate.set(Stage::Open);
        let (one, other) = (all.open(), all.open());
        let requests = [one.enter(), other.enter(), other.enter()];
        all.gate.set(Stage::Stopping);
        let waiter = tokio::spawn({
            let all = Arc::clone(&all);
            async move { all.until_over(&all.list()).await }
        });
        one.part();
        other.part();
        for request in requests {
            tokio::task::yield_now().await;
            assert!(!waiter.is_finished());
            drop(request.expect("the gate was open"));
        }
        waiter.await.expect("no panic");
    }

    #[tokio::test]
    async fn room_is_made_by_those_that_ask_nothing_the_oldest_first() {
        let all = Connections::new();
        all.gate.set(Stage::Open);
        let connections: Vec<_> = (0..ROOM + 9).map(|_| all.open()).collect();
        // The first has asked before, the second is asking, the third is a websocket.
        connections[0].answering();
        let _asks = connections[1].enter();
        let _speaks = connections[2].begin_stream();
        assert_eq!(all.make_room(), ROOM);
        let cut = |connection: &Arc<Connection>| connection.order() == Order::Cut;
        assert!(!connections[..3].iter().any(cut));
        assert!(connections[3..ROOM + 3].iter().all(cut));
        assert!(!connections[ROOM + 3..].iter().any(cut));
        assert_eq!(all.make_room(), 7, "and the one that has asked before");
        assert!(cut(&connections[0]));
        assert_eq!(all.make_room(), 0);
    }

    #[tokio::test]
    async fn everyone_is_told() {
        let all = Connections::new();
        let (one, other) = (all.open(), all.open());
        all.tell(Order::End);
        assert_eq!((one.order(), other.order()), (Order::End, Order::End));
    }
}
