//! What is known of one connection: what it is told, and whether a request is in flight on it.
//!
//! The connection's own task ([`serve`](crate::serve)) reads the order and writes the rest; the
//! drain does the opposite. Neither waits for the other: what a request touches is an atomic.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use atomic_waker::AtomicWaker;

use crate::{
    away::Away,
    connections::Connections,
    gate::{From, Stage},
    socket::{Place, Socket},
};

/// What a connection is told to do; only ever more, never less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Order {
    /// Serve.
    Serve,
    /// Say goodbye with the next response: `Connection: close`, or GOAWAY. While the gate is open
    /// still, a client that takes no notice is served on.
    Retire,
    /// Finish what is in flight and close; close at once if nothing is.
    End,
    /// Close, whatever is in flight.
    Cut,
}

#[derive(Debug)]
pub(crate) struct Connection {
    number: u64,
    /// Opened after the last call: its requests get 503 although older connections are served.
    late: bool,
    all: Arc<Connections>,
    order: AtomicU8,
    /// Requests of the app whose response has not been handed over to the last byte.
    in_flight: AtomicU32,
    /// Streams of HTTP/2, those that have become something else than a request included; on
    /// HTTP/1.1 the one that the app makes of the connection when it takes it over.
    streams: AtomicU32,
    /// Requests so far; it goes round. Written by the connection's own task alone.
    asked: AtomicU32,
    http2: AtomicBool,
    answered: AtomicBool,
    farewell: Farewell,
    /// Bytes have come since the latest request's header: another header, or the request's body.
    heard: AtomicBool,
    /// The latest write did not go through: the peer has yet to take what is written.
    blocked: AtomicBool,
    /// Writes that went through, so far; it goes round. Written by the connection's own task alone.
    taken: AtomicU32,
    /// The connection's task, to be woken for an order.
    pub(crate) task: AtomicWaker,
    /// HTTP is over: the peer is sent FIN, and what it still sends is thrown away.
    parting: AtomicBool,
    /// HTTP is about to hand the socket to the app.
    to_be_taken_over: AtomicBool,
    /// Where the socket is, unless HTTP has it.
    pub(crate) place: Place,
    /// When what lives long on it is to go.
    pub(crate) away: Away,
}

/// The goodbye that an HTTP/1.1 connection is told once in the course of a drain delay.
#[derive(Debug, Default)]
struct Farewell {
    told: AtomicBool,
    /// The response to the request under way tells it.
    pending: AtomicBool,
    /// The client did not ask for the end itself; HTTP may be spoken on should it go on asking.
    revocable: AtomicBool,
    /// The request's body has not been read to its end: what comes next is no request.
    body_left: AtomicBool,
}

impl Connection {
    pub(crate) fn new(number: u64, stage: Stage, all: Arc<Connections>) -> Self {
        let order = if stage < Stage::Draining {
            Order::Serve
        } else {
            Order::Retire
        };
        Self {
            number,
            late: stage >= Stage::LastCall,
            order: AtomicU8::new(order as u8),
            in_flight: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            http2: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            farewell: Farewell::default(),
            heard: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            taken: AtomicU32::new(0),
            task: AtomicWaker::new(),
            parting: AtomicBool::new(false),
            to_be_taken_over: AtomicBool::new(false),
            place: Place::default(),
            away: Away::default(),
            all,
        }
    }

    pub(crate) fn all(&self) -> &Connections {
        &self.all
    }

    /// Tells the connection what to do, unless it has been told more.
    pub(crate) fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::SeqCst) < order as u8 {
            if order >= Order::End {
                self.away.tell(Duration::ZERO);
            }
            self.task.wake();
        }
    }

    /// Waits until it has been told this, or more. For the connection's own task.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn told(&self, order: Order) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if self.order() >= order {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    pub(crate) fn order(&self) -> Order {
        match self.order.load(Ordering::SeqCst) {
            0 => Order::Serve,
            1 => Order::Retire,
            2 => Order::End,
            _ => Order::Cut,
        }
    }

    /// Lets a request in, and counts it until the guard is dropped; `None` if the gate is closed.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<InFlight> {
        // Counted before the gate is asked: see `Gate::stage`.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let guard = InFlight {
            connection: Arc::clone(self),
        };
        self.all.gate.admits(self.from()).then_some(guard)
    }

    /// Counts a request that the gate does not concern until the guard is dropped.
    #[cfg(feature = "grpc")]
    pub(crate) fn enter_beside_the_gate(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight {
            connection: Arc::clone(self),
        }
    }

    fn from(&self) -> From {
        if self.late {
            From::Late
        } else if self.http2() && self.order() < Order::Cut {
            From::Parting
        } else {
            From::Early
        }
    }

    /// Counts a stream of HTTP/2 until the guard is dropped.
    pub(crate) fn begin_stream(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Ordering::SeqCst);
        Stream {
            connection: Arc::clone(self),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing is asked on it, and it has not been told to be gone.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_engaged() && !self.is_parting() && self.order() < Order::Cut
    }

    /// Whether it was opened after the last call.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// How much goes on that is no request, or no longer one: a websocket.
    pub(crate) fn others(&self) -> u32 {
        let streams = self.streams.load(Ordering::SeqCst);
        streams.saturating_sub(self.in_flight())
    }

    /// Whether requests, or what has become of them, go on.
    pub(crate) fn is_engaged(&self) -> bool {
        self.in_flight() > 0 || self.streams.load(Ordering::SeqCst) > 0
    }

    /// Whether closing now would take something from the peer. To be asked by the connection's own
    /// task: only between its polls is a write either through or blocked.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_engaged() || self.is_blocked()
    }

    /// Whether the latest write did not go through. As [`is_busy`](Self::is_busy), for the
    /// connection's own task.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// How often the peer has taken something: while it stays the same, it took nothing.
    pub(crate) fn times_taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How often something has been asked: while it stays the same, nothing new was.
    pub(crate) fn times_asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether a request's header has begun to come and has not ended.
    pub(crate) fn in_header(&self) -> bool {
        // What comes on HTTP/2 outside of requests is pings and settings.
        self.heard.load(Ordering::Relaxed) && !self.http2() && self.in_flight() == 0
    }

    pub(crate) fn http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Whether a response has been given on it.
    pub(crate) fn answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }

    pub(crate) fn set_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
        if !blocked {
            let taken = self.times_taken();
            self.taken.store(taken.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Notes a request. `goes_on` is whether its client wants to keep the connection, and whether it
    /// has a body; it is asked only where it matters, which the answer tells.
    pub(crate) fn asked(&self, goes_on: impl FnOnce() -> (bool, bool)) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        self.asked.store(asked.wrapping_add(1), Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
        let farewell = &self.farewell;
        if self.http2() || !self.is_retiring() || farewell.told.swap(true, Ordering::Relaxed) {
            return false;
        }
        let (revocable, has_body) = goes_on();
        farewell.pending.store(true, Ordering::Relaxed);
        farewell.revocable.store(revocable, Ordering::Relaxed);
        farewell.body_left.store(has_body, Ordering::Relaxed);
        has_body
    }

    /// Notes that the body of the request that is answered with a farewell has been read.
    pub(crate) fn body_read(&self) {
        self.farewell.body_left.store(false, Ordering::Relaxed);
    }

    /// Notes a response; says whether it is to say `Connection: close`.
    pub(crate) fn answering(&self) -> bool {
        // The task may be told to retire at this moment, and looks at `answered` then: one of the
        // two sees the other, as with the gate.
        if !self.answered() {
            self.answered.store(true, Ordering::SeqCst);
        }
        let order = self.order();
        if order == Order::Serve {
            return false;
        }
        if self.http2() {
            // It says goodbye itself.
            self.task.wake();
            return false;
        }
        let pending = self.farewell.pending.swap(false, Ordering::Relaxed);
        pending || order >= Order::End || self.all.gate.stage() >= Stage::LastCall
    }

    /// Whether HTTP, which ends after a farewell, is to be spoken on should the client go on asking:
    /// a client that takes no notice of it loses no request before the gate closes.
    pub(crate) fn goes_on(&self) -> bool {
        let farewell = &self.farewell;
        farewell.revocable.load(Ordering::Relaxed)
            && !farewell.body_left.load(Ordering::Relaxed)
            && self.is_retiring()
    }

    /// Makes the farewell the end, or the only one that was not: HTTP is spoken on, or cannot be.
    pub(crate) fn stand_by_farewell(&self) {
        self.farewell.revocable.store(false, Ordering::Relaxed);
    }

    /// Whether it has been told to go while the gate is open still.
    pub(crate) fn is_told(&self) -> bool {
        self.farewell.told.load(Ordering::Relaxed)
    }

    /// Whether a client of HTTP/2 is to be told that it should go, and is served on. One that gets
    /// GOAWAY before its first response would try again, for ever.
    pub(crate) fn is_notice_due(&self) -> bool {
        self.answered() && self.is_retiring()
    }

    fn is_retiring(&self) -> bool {
        self.order() == Order::Retire && self.all.gate.stage() == Stage::Draining
    }

    /// Notes that HTTP is over on it.
    pub(crate) fn part(&self) {
        if !self.parting.swap(true, Ordering::SeqCst) {
            self.all.parted();
        }
    }

    pub(crate) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::SeqCst)
    }

    /// Whether nothing of it is left but to wait for the peer to close its side.
    pub(crate) fn is_over(&self) -> bool {
        // HTTP/2 may end before its requests notice, and a socket be cut before the app does.
        self.is_parting() && !self.is_engaged()
    }

    /// Notes that HTTP may hand its socket to the app: it is put where it can be cut.
    pub(crate) fn expect_to_be_taken_over(&self) {
        self.to_be_taken_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_to_be_taken_over(&self) -> bool {
        self.to_be_taken_over.load(Ordering::Relaxed)
    }

    /// Notes that HTTP is over; says whether the app has the socket now. It is in flight then until
    /// the app lets go of it.
    pub(crate) fn is_taken_over(&self) -> bool {
        // Counted first: the app may let go of it at this moment.
        self.streams.fetch_add(1, Ordering::SeqCst);
        let taken_over = self.place.take_over();
        if !taken_over {
            self.stream_ended();
        }
        taken_over
    }

    /// Takes the socket back from HTTP, or from the app, which has none to give.
    pub(crate) fn leave(&self, socket: Option<Socket>) {
        if self.place.leave(socket) {
            self.stream_ended();
        }
        self.task.wake();
    }

    fn stream_ended(&self) {
        self.streams.fetch_sub(1, Ordering::SeqCst);
        if self.order() >= Order::End {
            // An HTTP/2 request ends in a task of its own.
            self.task.wake();
        }
        self.all.request_ended();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.part();
        self.all.remove(self.number);
    }
}

/// A request that is being answered, from its header to the last byte of its response.
#[derive(Debug)]
pub(crate) struct InFlight {
    connection: Arc<Connection>,
}

impl InFlight {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let connection = &*self.connection;
        // What came since the header was the request's body.
        connection.heard.store(false, Ordering::Relaxed);
        connection.in_flight.fetch_sub(1, Ordering::SeqCst);
        if connection.order() >= Order::End {
            // An HTTP/2 request ends in a task of its own.
            connection.task.wake();
        }
        connection.all.request_ended();
    }
}

/// A stream of HTTP/2, for as long as its task lives.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Arc<Connection>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.stream_ended();
    }
}

#[cfg(test)]
mod tests;
