//! Clients that talk until they are turned away, and begin again.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// For how long clients that are turned away come back.
const A_WHILE: Duration = Duration::from_secs(3);

/// Enough to keep a server busy; more would but keep the probes from the processors.
const CLIENTS: usize = 4;

/// Longer than anything takes on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

/// More than systems keep for a connection that nobody reads.
const MUCH: usize = 64 * 1024 * 1024;

/// What came of a flood.
pub(crate) struct Flood {
    pub(crate) clients: usize,
    /// How many were given each status; the others were cut without one.
    pub(crate) answers: BTreeMap<u16, usize>,
}

/// Has clients say `first`, and then `more` over and over, each until it is turned away; and again,
/// for a while.
pub(crate) fn flood(addr: SocketAddr, first: &[u8], more: &[u8]) -> Flood {
    let client = || {
        let deadline = Instant::now() + A_WHILE;
        let mut answers = Vec::new();
        while Instant::now() < deadline {
            answers.push(talk(addr, first, more));
        }
        answers
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let clients = clients.into_iter();
        clients
            .flat_map(|it| it.join().expect("a client fails the test"))
            .collect()
    });
    let mut flood = Flood {
        clients: answers.len(),
        answers: BTreeMap::new(),
    };
    for status in answers.into_iter().flatten() {
        *flood.answers.entry(status).or_default() += 1;
    }
    flood
}

/// Says all that, for as long as somebody listens; returns the status of the answer.
fn talk(addr: SocketAddr, first: &[u8], more: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("it is open");
    stream.set_write_timeout(Some(LONG)).expect("it is open");
    let mut said = 0;
    let mut words = Some(first);
    while let Some(bytes) = words.take() {
        // Who is answered looks at the answer.
        stream.set_nonblocking(true).expect("it is open");
        let is_answered = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).expect("it is open");
        if !is_answered && stream.write_all(bytes).is_ok() {
            said += bytes.len();
            assert!(said < MUCH, "it listens to anything");
            words = Some(more);
        }
    }
    let mut status = [0; b"HTTP/1.1 431".len()];
    stream.read_exact(&mut status).ok()?;
    let status = str::from_utf8(&status).ok()?;
    status.strip_prefix("HTTP/1.1 ")?.parse().ok()
}
