//! Requests that go on, whatever becomes of the service.
//!
//! Each client is a thread that sends one request after the other and notes what came of each. None
//! sends a request twice: whatever fails is seen. A client has [`Manners`], and a [`Target`], which it
//! asks for an address whenever it needs a connection.

mod deaf;
mod one;
mod two;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How a client uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// HTTP/1.1: it keeps a connection until it is told `Connection: close`.
    Keep,
    /// HTTP/1.1: it makes a new connection for each request.
    Open,
    /// HTTP/1.1: it takes no notice of `Connection: close` and asks on until the connection ends.
    Insist,
    /// HTTP/2: it keeps a connection until it is told GOAWAY, with [`STREAMS`] requests on it at a
    /// time.
    Http2,
    /// HTTP/2: it never hears of a GOAWAY and asks on until the connection ends.
    InsistOnHttp2,
}

/// How many requests a client of HTTP/2 sends at a time.
pub const STREAMS: usize = 4;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// A GET of this path.
    Get(&'static str),
    /// A POST of this JSON to this path.
    Post(&'static str, &'static str),
}

impl Ask {
    /// Method, path and JSON.
    fn parts(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Get(path) => ("GET", path, None),
            Self::Post(path, json) => ("POST", path, Some(json)),
        }
    }
}

/// Where a new connection goes.
pub trait Target: Send + Sync {
    /// An address, if there is one at the moment.
    fn addr(&self) -> Option<SocketAddr>;
}

impl Target for SocketAddr {
    fn addr(&self) -> Option<SocketAddr> {
        Some(*self)
    }
}

/// One request, and what came of it.
#[derive(Debug)]
pub struct Record {
    /// When the client set about it: to connect, if it had no connection.
    pub began: Instant,
    /// When it knew what had come of it.
    pub ended: Instant,
    /// Where its connection led; `None` if there was nowhere to connect to.
    pub to: Option<SocketAddr>,
    /// Whether it was the first on its connection.
    pub first: bool,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An answer.
    Answered {
        /// Its status.
        status: u16,
        /// Whether the client was told to go: `Connection: close`, or GOAWAY.
        closes: bool,
        /// Its `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// No connection, so that nothing was sent.
    Refused(io::Error),
    /// The connection ended before there was an answer.
    Broken(io::Error),
}

impl Record {
    /// The answer's status; `None` if there was no answer.
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered { status, .. } => Some(status),
            Outcome::Refused(_) | Outcome::Broken(_) => None,
        }
    }

    /// Whether the client was told to go with the answer.
    pub fn closes(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { closes: true, .. })
    }

    /// Whether the client would call it a success.
    pub fn succeeded(&self) -> bool {
        self.status()
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Clients that are at it.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Record>>>,
}

impl Load {
    /// Starts `clients` threads, each of which pauses for so long after each request.
    pub fn start(
        target: impl Target + 'static,
        clients: usize,
        manners: Manners,
        pause: Duration,
        ask: Ask,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let target: Arc<dyn Target> = Arc::new(target);
        let start = |_| {
            let (over, target) = (Arc::clone(&over), Arc::clone(&target));
            thread::spawn(move || {
                let mut client = Client::new(manners, target);
                let mut records = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    client.ask(ask, &mut records);
                    client.rest(pause);
                }
                records
            })
        };
        let clients = (0..clients).map(start).collect();
        Self { over, clients }
    }

    /// Ends it; returns what each client noted, in order.
    #[track_caller]
    pub fn finish(self) -> Vec<Vec<Record>> {
        self.over.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients
            .map(|client| client.join().expect("a client does not panic"))
            .collect()
    }
}

enum Client {
    One(one::Client),
    Two(two::Client),
}

impl Client {
    fn new(manners: Manners, target: Arc<dyn Target>) -> Self {
        match manners {
            Manners::Keep | Manners::Open | Manners::Insist => {
                Self::One(one::Client::new(manners, target))
            }
            Manners::Http2 => Self::Two(two::Client::new(target, false)),
            Manners::InsistOnHttp2 => Self::Two(two::Client::new(target, true)),
        }
    }

    fn ask(&mut self, ask: Ask, records: &mut Vec<Record>) {
        match self {
            Self::One(client) => records.push(client.ask(ask)),
            Self::Two(client) => records.extend(client.ask(ask)),
        }
    }

    fn rest(&self, pause: Duration) {
        match self {
            Self::One(_) => thread::sleep(pause),
            Self::Two(client) => client.rest(pause),
        }
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "there is no endpoint")
}
