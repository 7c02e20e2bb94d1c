//! Requests that go on, whatever becomes of the service.
//!
//! Each client is a thread that sends one request after the other and notes what came of each. It
//! has manners: it honours `Connection: close`, and does not send a request twice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::http::{Connection, Response};

/// How a client uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It keeps a connection until it is told to close it.
    Keep,
    /// It makes a new one for each request.
    Open,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A GET of this path.
    Get(&'static str),
    /// A POST of this JSON to this path.
    Post(&'static str, &'static str),
}

/// One request, and what came of it.
#[derive(Debug)]
pub struct Record {
    /// When the client set about it: to connect, if it had no connection.
    pub began: Instant,
    /// When it knew what had come of it.
    pub ended: Instant,
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
        /// Whether it said that the connection will be closed.
        closes: bool,
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

    /// Whether the answer said that the connection will be closed.
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
        addr: SocketAddr,
        clients: usize,
        manners: Manners,
        pause: Duration,
        ask: &Ask,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let mut client = Client {
                addr,
                manners,
                ask: ask.clone(),
                connection: None,
            };
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut records = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    records.push(client.request());
                    thread::sleep(pause);
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

struct Client {
    addr: SocketAddr,
    manners: Manners,
    ask: Ask,
    connection: Option<Connection>,
}

impl Client {
    fn request(&mut self) -> Record {
        let began = Instant::now();
        let first = self.connection.is_none();
        let outcome = self.outcome();
        Record {
            began,
            ended: Instant::now(),
            first,
            outcome,
        }
    }

    fn outcome(&mut self) -> Outcome {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(self.addr),
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => return Outcome::Refused(error),
        };
        match self.answer(&mut connection) {
            Err(error) => Outcome::Broken(error),
            Ok(response) => {
                let closes = response.header("connection") == Some("close");
                if !closes && self.manners == Manners::Keep {
                    self.connection = Some(connection);
                }
                let status = response.status;
                Outcome::Answered { status, closes }
            }
        }
    }

    fn answer(&self, connection: &mut Connection) -> io::Result<Response> {
        let mut headers = Vec::new();
        if self.manners == Manners::Open {
            headers.push(("connection", "close"));
        }
        match self.ask {
            Ask::Get(path) => connection.request("GET", path, &headers, b""),
            Ask::Post(path, json) => {
                headers.push(("content-type", "application/json"));
                connection.request("POST", path, &headers, json.as_bytes())
            }
        }
    }
}
