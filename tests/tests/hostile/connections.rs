//! Connections on which nothing is asked, or not to its end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::victim::{Victim, may_open};

/// What the endpoint gives a header, from its first byte to its last, and something for a machine
/// that has much to do.
const HEADER_LIMIT: Duration = Duration::from_secs(10 + 20);

/// Long enough for many probes.
const A_WHILE: Duration = Duration::from_secs(3);

const SLOW: usize = 3_000;
const IDLE: usize = 10_000;

/// Clients that say something at once, and then a little every now and then.
struct Slow {
    connections: Vec<TcpStream>,
    drip: &'static [u8],
}

impl Slow {
    fn open(addr: SocketAddr, clients: usize, first: &[u8], drip: &'static [u8]) -> Self {
        let open = |_| {
            let mut stream = TcpStream::connect(addr).expect("it listens");
            stream.set_nodelay(true).expect("it is open");
            stream.write_all(first).expect("it is open");
            stream.set_nonblocking(true).expect("it is open");
            stream
        };
        let connections = (0..clients).map(open).collect();
        Self { connections, drip }
    }

    /// Goes on for so long, or until the server has closed all of them; says how many are left.
    fn go_on(&mut self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && !self.connections.is_empty() {
            thread::sleep(Duration::from_millis(250));
            let drip = self.drip;
            self.connections.retain_mut(|stream| {
                let is_open = match stream.read(&mut [0; 1024]) {
                    Ok(0) => false,
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                is_open && stream.write(drip).is_ok()
            });
        }
        self.connections.len()
    }
}

/// Slowloris: another line of the header before each timeout of the usual kind.
#[test]
fn headers_that_do_not_end_are_given_up() {
    if !may_open(SLOW as u64 + 200) {
        return;
    }
    let mut victim = Victim::boot();
    let left = victim.withstands(100_000, |addr| {
        let first = b"GET /alive HTTP/1.1\r\nhost: x\r\n";
        Slow::open(addr, SLOW, first, b"x: y\r\n").go_on(HEADER_LIMIT)
    });
    assert_eq!(left, 0, "are open still");
    victim.stops_well();
}

/// A server that looks every now and then for the rest would have much to do.
#[test]
fn half_a_preface_of_http2_costs_nothing() {
    if !may_open(SLOW as u64 + 200) {
        return;
    }
    let mut victim = Victim::boot();
    victim.withstands(100_000, |addr| {
        Slow::open(addr, SLOW, b"PR", b"").go_on(A_WHILE);
    });
    let Victim { used, .. } = victim;
    assert!(
        used < A_WHILE / 2,
        "{used:?} of processor time in {A_WHILE:?}"
    );
    victim.stops_well();
}

#[test]
fn ten_thousand_idle_connections_hold_up_nobody() {
    if !may_open(IDLE as u64 + 200) {
        return;
    }
    let mut victim = Victim::boot();
    let left = victim.withstands(150_000, |addr| {
        Slow::open(addr, IDLE, b"", b"").go_on(A_WHILE)
    });
    assert_eq!(left, IDLE, "are open still");
    victim.stops_well();
}

#[test]
fn ten_thousand_connections_that_have_asked_once_hold_up_nobody() {
    if !may_open(IDLE as u64 + 200) {
        return;
    }
    let mut victim = Victim::boot();
    let left = victim.withstands(250_000, |addr| {
        let request = b"GET /readings?limit=1 HTTP/1.1\r\nhost: x\r\n\r\n";
        Slow::open(addr, IDLE, request, b"").go_on(A_WHILE)
    });
    assert_eq!(left, IDLE, "are open still");
    victim.stops_well();
}

#[test]
fn more_idle_connections_than_it_may_have_files_open_do_not_shut_out_the_probes() {
    const FILES: u64 = 100;
    const CLIENTS: usize = 500;
    let mut victim = Victim::boot();
    victim.limit_files(FILES);
    victim.withstands(50_000, |addr| {
        Slow::open(addr, CLIENTS, b"", b"").go_on(A_WHILE)
    });
    victim.withstands(50_000, |addr| {
        let request = b"GET /readings?limit=1 HTTP/1.1\r\nhost: x\r\n\r\n";
        Slow::open(addr, CLIENTS, request, b"").go_on(A_WHILE)
    });
    victim.stops_well();
}
