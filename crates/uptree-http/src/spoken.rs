//! Which HTTP is spoken on a connection, and how.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, ReadBuf},
    time::timeout,
};

use crate::{
    connection::Connection,
    limits::{BUFFER, HEADER_LIMIT, REFUSED, STREAM_HEADER, STREAMS, TAKEN_BACK},
    notice::Noticed,
    requests::Requests,
    socket::Socket,
    stream::Lent,
};

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
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(STREAM_HEADER)
            .max_pending_accept_reset_streams(TAKEN_BACK)
            .max_local_error_reset_streams(REFUSED)
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
        ahead: Ahead,
        socket: Socket,
        requests: &'a Requests,
    ) -> Spoken<'a> {
        let connection = requests.connection();
        let lent = Lent::new(socket, ahead, Arc::clone(connection));
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

/// So begins HTTP/2's preface, and no method of HTTP/1.
const PREFACE: &[u8; 3] = b"PRI";

/// First bytes that had to be read to know which HTTP it is, for HTTP to read them again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    bytes: [u8; PREFACE.len()],
    length: usize,
}

impl Ahead {
    /// Hands over what there is room for; says whether it was anything.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let length = self.length.min(buffer.remaining());
        buffer.put_slice(&self.bytes[..length]);
        self.bytes.copy_within(length.., 0);
        self.length -= length;
        length > 0
    }

    fn version(self) -> Option<Version> {
        Version::told_by(&self.bytes[..self.length])
    }
}

impl Version {
    /// Which it is by these first bytes, if they tell.
    fn told_by(first: &[u8]) -> Option<Self> {
        match PREFACE.strip_prefix(first) {
            None => Some(Self::One),
            Some([]) => Some(Self::Two),
            Some(_) => None,
        }
    }
}

/// Waits for the first bytes, which say which HTTP it is; `None` if the client leaves without, or
/// takes too long.
///
/// # Cancel safety
///
/// What has been read is lost.
pub(crate) async fn version(socket: &mut Socket) -> io::Result<Option<(Version, Ahead)>> {
    let mut ahead = Ahead::default();
    let stream = match socket {
        Socket::Plain(stream) => stream,
        Socket::Tls(tls) if tls.is_http2() => return Ok(Some((Version::Two, ahead))),
        Socket::Tls(_) => return Ok(Some((Version::One, ahead))),
    };
    // As a rule they come together, and are left to be read with what follows them.
    let length = stream.peek(&mut ahead.bytes).await?;
    if let Some(version) = Version::told_by(&ahead.bytes[..length]) {
        return Ok(Some((version, Ahead::default())));
    }
    let rest = async {
        loop {
            match stream.read(&mut ahead.bytes[ahead.length..]).await? {
                0 => return Ok(None),
                length => ahead.length += length,
            }
            if let Some(version) = ahead.version() {
                return Ok(Some((version, ahead)));
            }
        }
    };
    timeout(HEADER_LIMIT, rest).await?
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
