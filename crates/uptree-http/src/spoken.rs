//! Which HTTP is spoken on a connection, and how.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use crate::{
    connection::Connection, notice::Noticed, requests::Requests, socket::Socket, stream::Lent,
};

/// The most that is buffered of a connection, each way; a request's header has to fit in.
const BUFFER: usize = 64 * 1024;

/// Where HTTP/2 runs the streams of one connection: each in a task of the endpoint's incarnation.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    tasks: uptree_app::Context,
    connection: Arc<Connection>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stream = self.connection.begin_stream();
        self.tasks.spawn(async move {
            let _stream = stream;
            future.await;
        });
    }
}

/// How HTTP is spoken: HTTP/1.1, or HTTP/2 where the client begins with it.
#[derive(Debug)]
pub(crate) struct Http {
    one: http1::Builder,
    tasks: uptree_app::Context,
}

impl Http {
    pub(crate) fn new(tasks: uptree_app::Context) -> Self {
        let mut one = http1::Builder::new();
        one.max_buf_size(BUFFER)
            // `Life` has a limit of its own: hyper's counts the idle time before a header too, and
            // costs an allocation and a timer for each request.
            .header_read_timeout(None);
        Self { one, tasks }
    }

    fn two(&self, connection: &Arc<Connection>) -> http2::Builder<Streams> {
        let streams = Streams {
            tasks: self.tasks.clone(),
            connection: Arc::clone(connection),
        };
        let mut two = http2::Builder::new(streams);
        two.max_send_buf_size(BUFFER)
            // Websockets over HTTP/2.
            .enable_connect_protocol();
        two
    }

    /// Runs a task of the endpoint's incarnation.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }

    /// Speaks `version` on a socket, as its client has begun to.
    pub(crate) fn speak<'a>(
        &self,
        version: Version,
        socket: Socket,
        requests: &'a Requests,
    ) -> Spoken<'a> {
        let connection = requests.connection();
        let lent = Lent::new(socket, Arc::clone(connection));
        match version {
            Version::One => {
                let io = TokioIo::new(lent);
                Spoken::One(self.one.serve_connection(io, requests).with_upgrades())
            }
            Version::Two => {
                let (two, io) = (self.two(connection), TokioIo::new(Noticed::new(lent)));
                Spoken::Two(Box::new(two.serve_connection(io, requests)))
            }
        }
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Waits for the first bytes, which say which HTTP it is, and leaves them to be read; `None` if the
/// client leaves without any.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn version(socket: &Socket) -> io::Result<Option<Version>> {
    // So begins HTTP/2's preface, and no method of HTTP/1.
    const PREFACE: &[u8; 3] = b"PRI";
    let stream = match socket {
        Socket::Plain(stream) => stream,
        Socket::Tls(tls) if tls.is_http2() => return Ok(Some(Version::Two)),
        Socket::Tls(_) => return Ok(Some(Version::One)),
    };
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        if length == 0 {
            return Ok(None);
        }
        if first[..length] != PREFACE[..length] {
            return Ok(Some(Version::One));
        }
        if length == PREFACE.len() {
            return Ok(Some(Version::Two));
        }
        // The socket is readable all along, so there is nothing to wait for.
        sleep(Duration::from_millis(10)).await;
    }
}

/// HTTP as it is spoken on one connection.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Spoken<'a> {
    One(http1::UpgradeableConnection<TokioIo<Lent>, &'a Requests>),
    Two(Box<http2::Connection<TokioIo<Noticed>, &'a Requests, Streams>>),
}

impl Spoken<'_> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::One(http) => Pin::new(http).poll(cx),
            Self::Two(http) => Pin::new(http).poll(cx),
        }
    }

    /// Asks HTTP to come to an end.
    pub(crate) fn graceful_shutdown(&mut self) {
        match self {
            Self::One(http) => Pin::new(http).graceful_shutdown(),
            Self::Two(http) => Pin::new(&mut **http).graceful_shutdown(),
        }
    }

    /// Gives the socket back; says whether more had been read from it than was used.
    pub(crate) fn end(self) -> bool {
        match self {
            Self::One(http) => {
                let parts = http.into_parts();
                parts.is_some_and(|parts| !parts.read_buf.is_empty())
            }
            Self::Two(_) => true,
        }
    }
}
