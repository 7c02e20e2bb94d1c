//! The life of one connection: HTTP on it, the orders it gets, and a clean end.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    connection::{Connection, Order},
    gate::Stage,
    limits::{HEADER_LIMIT, IDLE_LIMIT, SILENT_LIMIT, TAKE_PAUSE},
    requests::{Requests, panic_message},
    socket::Socket,
    spoken::{Ahead, Http, Spoken, Version, version},
    tls::Tls,
};

/// A client that has been told to go has this long to do so, or to go on asking all the same.
const TOLD_LIMIT: Duration = Duration::from_secs(1);

/// How long an HTTP/2 peer has to answer GOAWAY when nothing is in flight: longer than a round trip
/// takes, for until then it may ask for more in good faith.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// How long the peer has to close its side once we have closed ours.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a connection until either side ends it, and closes it.
///
/// # Cancel safety
///
/// Dropping it closes the connection, whatever is in flight on it.
pub(crate) async fn serve(mut socket: Socket, http: Arc<Http>, requests: Requests) {
    let connection = requests.connection();
    loop {
        match first_bytes(&mut socket, connection).await {
            None => connection.leave(Some(socket)),
            Some((version, ahead)) => {
                if version == Version::Two {
                    connection.set_http2();
                }
                speak(http.speak(version, ahead, socket, &requests), connection).await;
                if connection.is_taken_over() {
                    // In a task of its own, which is smaller.
                    http.spawn(look_after(Arc::clone(connection)));
                    return;
                }
            }
        }
        let goes_on = connection.goes_on();
        match connection.place.take_left() {
            Some(left) if goes_on => socket = left,
            left => return part(connection, left).await,
        }
        connection.stand_by_farewell();
    }
}

/// Makes the handshake, and serves the connection.
///
/// # Cancel safety
///
/// As [`serve`].
pub(crate) async fn serve_tls(
    stream: TcpStream,
    tls: Arc<Tls>,
    http: Arc<Http>,
    requests: Requests,
) {
    // Boxed, so that it is part of the connection only while it lasts.
    match Box::pin(tls.accept(stream, requests.connection())).await {
        Some(socket) => serve(socket, http, requests).await,
        None => requests.connection().part(),
    }
}

/// Ends a connection on which HTTP is over.
async fn part(connection: &Connection, left: Option<Socket>) {
    connection.part();
    if let Some(left) = left
        && connection.order() < Order::Cut
    {
        // Boxed, so that its buffer is not part of every connection.
        Box::pin(close(left)).await;
    }
}

/// Waits until the app lets go of a connection that it has taken over, and closes it; cuts it when
/// that is the order, and when it is dropped itself, be it before its first poll.
fn look_after(connection: Arc<Connection>) -> impl Future<Output = ()> {
    let taken_over = TakenOver(connection);
    async move {
        let left = poll_fn(|cx| taken_over.poll_left(cx)).await;
        let connection = Arc::clone(&taken_over.0);
        drop(taken_over);
        part(&connection, left).await;
    }
}

/// A connection that the app has; cut when this is dropped.
struct TakenOver(Arc<Connection>);

impl TakenOver {
    fn poll_left(&self, cx: &mut Context<'_>) -> Poll<Option<Socket>> {
        self.0.task.register(cx.waker());
        match self.0.place.take_left() {
            None if self.0.order() < Order::Cut => Poll::Pending,
            left => Poll::Ready(left),
        }
    }
}

impl Drop for TakenOver {
    fn drop(&mut self) {
        self.0.place.cut();
    }
}

/// Waits for the first bytes; `None` if none come, or are not to be waited for any longer.
async fn first_bytes(socket: &mut Socket, connection: &Connection) -> Option<(Version, Ahead)> {
    tokio::select! {
        biased;
        version = version(socket) => version.ok().flatten(),
        () = connection.told(Order::End) => None,
        () = sleep(patience(connection)) => None,
    }
}

/// Speaks HTTP until it ends; the socket is the connection's then.
async fn speak(mut http: Spoken<'_>, connection: &Connection) {
    let mut life = Life {
        connection,
        http: &mut http,
        clock: pin!(sleep(patience(connection))),
        awaited: Awaited::Request,
        asked: connection.times_asked(),
        taken: 0,
        farewell: false,
    };
    poll_fn(|cx| life.poll(cx)).await;
    if http.end() {
        // What was read ahead is lost: what comes next is not the beginning of a request.
        connection.stand_by_farewell();
    }
}

/// How long nothing has to be asked for a connection to be closed. It is looked at this often, so
/// it may take twice as long.
fn patience(connection: &Connection) -> Duration {
    match (connection.is_told(), connection.answered()) {
        (true, _) => TOLD_LIMIT,
        (false, true) => IDLE_LIMIT,
        (false, false) => SILENT_LIMIT,
    }
}

/// Closes a socket so that the peer sees the end of the stream, and not a reset: the kernel resets
/// what is closed with bytes unread, and the peer may lose the response it was sent.
pub(crate) async fn close(mut socket: Socket) {
    let closed = async {
        // An error means that there is nobody left to be polite to. TLS says goodbye itself, which
        // its peer may be slow to take.
        if socket.shutdown().await.is_ok() {
            let mut scrap = [0; 4096];
            while let Ok(1..) = socket.read(&mut scrap).await {}
        }
    };
    let _ = timeout(LINGER, closed).await;
}

/// A connection while HTTP is spoken on it.
struct Life<'a, 'h> {
    connection: &'a Connection,
    http: &'a mut Spoken<'h>,
    clock: Pin<&'a mut Sleep>,
    /// What the clock runs for.
    awaited: Awaited,
    /// How often something had been asked when the clock was set for a request.
    asked: u32,
    /// How often something had been taken when the clock was set for that.
    taken: u32,
    /// HTTP has been asked to come to an end.
    farewell: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Awaited {
    /// A request, or the end of one.
    Request,
    /// The rest of a request's header.
    Header,
    /// The peer, to take some of what is written.
    Taking,
    /// The peer's part in the end of HTTP/2.
    Goodbye,
}

/// What follows from an order.
enum Then {
    Poll,
    Wait,
    Close,
}

impl Life<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.task.register(cx.waker());
        loop {
            // HTTP before orders: a request that has arrived by now is in flight.
            if self.poll_http(cx).is_ready() {
                return Poll::Ready(());
            }
            match self.obey() {
                Then::Poll => {}
                Then::Wait => return self.poll_clock(cx),
                Then::Close => return Poll::Ready(()),
            }
        }
    }

    fn poll_http(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Handlers and bodies have a fence of their own; this one keeps whatever else may panic
        // from taking the endpoint down.
        match catch_unwind(AssertUnwindSafe(|| self.http.poll(cx))) {
            Ok(poll) => match ready!(poll) {
                Ok(()) => return Poll::Ready(()),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(error, "a connection ended");
                }
            },
            Err(panic) => {
                let panic = panic_message(&*panic);
                tracing::error!(panic, "a connection panicked, and is closed");
            }
        }
        // It may have stopped anywhere in a response.
        self.connection.stand_by_farewell();
        Poll::Ready(())
    }

    fn obey(&mut self) -> Then {
        let order = self.connection.order();
        if order == Order::Cut {
            return Then::Close;
        }
        if !self.farewell && self.bids_farewell(order) {
            self.farewell = true;
            self.http.graceful_shutdown();
            return Then::Poll;
        }
        if order < Order::End || self.connection.is_busy() {
            if self.awaited == Awaited::Goodbye {
                // The peer asked for more before it had heard.
                self.await_for(Awaited::Request, patience(self.connection));
            }
            return Then::Wait;
        }
        if !self.connection.http2() {
            // What HTTP still waits for is the rest of a header.
            return Then::Close;
        }
        if self.awaited != Awaited::Goodbye {
            self.await_for(Awaited::Goodbye, GOODBYE_LIMIT);
        }
        Then::Wait
    }

    /// Whether HTTP is to come to an end by itself. On HTTP/1.1 a response says so
    /// ([`Requests`]), so that an idle connection is not closed under a request on its way. On
    /// HTTP/2 there is a [notice](crate::notice) before the end.
    fn bids_farewell(&self, order: Order) -> bool {
        match order {
            Order::Serve => false,
            Order::Retire => {
                let (connection, late) = (self.connection, Stage::LastCall);
                connection.http2() && connection.answered() && connection.all().gate.stage() >= late
            }
            Order::End | Order::Cut => true,
        }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let in_header = self.connection.in_header();
        let blocked = self.connection.is_blocked();
        match self.awaited {
            Awaited::Request if in_header => self.await_for(Awaited::Header, HEADER_LIMIT),
            Awaited::Request if blocked => self.await_taking(),
            Awaited::Header if !in_header => self.await_request(),
            Awaited::Taking if !blocked => self.await_request(),
            _ => {}
        }
        loop {
            ready!(self.clock.as_mut().poll(cx));
            match self.awaited {
                Awaited::Header | Awaited::Goodbye => return Poll::Ready(()),
                Awaited::Taking if self.taken == self.connection.times_taken() => {
                    tracing::debug!(limit = ?TAKE_PAUSE, "a client takes no response, and is left");
                    self.connection.tell(Order::Cut);
                    return Poll::Ready(());
                }
                Awaited::Taking => self.await_taking(),
                Awaited::Request => {
                    let asked = self.connection.times_asked();
                    if asked == self.asked && !self.connection.is_busy() {
                        self.connection.tell(Order::End);
                    }
                    self.asked = asked;
                    self.await_request();
                }
            }
        }
    }

    fn await_request(&mut self) {
        self.await_for(Awaited::Request, patience(self.connection));
    }

    fn await_taking(&mut self) {
        self.taken = self.connection.times_taken();
        self.await_for(Awaited::Taking, TAKE_PAUSE);
    }

    fn await_for(&mut self, awaited: Awaited, limit: Duration) {
        self.awaited = awaited;
        self.clock.as_mut().reset(Instant::now() + limit);
    }
}

#[cfg(test)]
mod tests;
