//! One connection: a thread a direction, and one more for what is delayed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::{Cut, Shared, Side};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// How long a side may take to read before it is looked whether the connection still stands.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Connection {
    number: u64,
    client: TcpStream,
    server: TcpStream,
    talk: Mutex<Talk>,
    /// Held alone while something is passed on and then cut: no answer to it gets by meanwhile.
    passing: RwLock<()>,
    /// Whether some of it has been swallowed.
    lost: AtomicBool,
    /// An [`End`].
    end: AtomicU8,
}

/// How a connection ends by the proxy's hand.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    Reset = 1,
    Closed = 2,
}

/// Connects to the server, and has what is said passed on until both have ended.
pub(super) fn serve(client: TcpStream, number: u64, shared: &Arc<Shared>) {
    let Some(delay) = shared.admits() else {
        return reset(&client);
    };
    let Ok(server) = TcpStream::connect(shared.target) else {
        return reset(&client);
    };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
        let _ = socket.set_write_timeout(Some(LOOK));
    }
    let connection = Arc::new(Connection {
        number,
        client,
        server,
        talk: Mutex::default(),
        passing: RwLock::default(),
        lost: AtomicBool::new(false),
        end: AtomicU8::new(0),
    });
    let weak = Arc::downgrade(&connection);
    shared.lock().connections.push(weak);
    if shared.lock().closing {
        connection.end(End::Reset);
    }
    let answers = {
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        move || connection.pump(Side::Server, &shared)
    };
    thread::spawn(answers);
    if delay.is_zero() {
        return connection.pump(Side::Client, shared);
    }
    let (late, in_time) = channel();
    let passing_on = {
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        move || connection.pass_on_in_time(&in_time, &shared)
    };
    thread::spawn(passing_on);
    connection.read_for_later(delay, &late, shared);
}

/// What is passed on when it is due; empty, it is the end.
struct Late {
    due: Instant,
    bytes: Vec<u8>,
    after: Option<Cut>,
}

impl Connection {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    fn has_ended(&self) -> bool {
        self.end.load(Ordering::SeqCst) != 0
    }

    /// Ends it. A reset is sent when the last of its threads has let go of the socket, for which
    /// its reading is called off: that says nothing to the other side.
    pub(super) fn end(&self, how: End) {
        self.end.store(how as u8, Ordering::SeqCst);
        for socket in [&self.client, &self.server] {
            let _ = match how {
                End::Closed => socket.shutdown(Shutdown::Both),
                End::Reset => {
                    let _ = set_socket_linger(socket, Some(Duration::ZERO));
                    socket.shutdown(Shutdown::Read)
                }
            };
        }
    }

    fn side(&self, side: Side) -> &TcpStream {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Passes on at once what comes from one side.
    fn pump(&self, from: Side, shared: &Shared) {
        self.read(from, shared, |bytes, after| {
            self.pass_on(from, bytes, after, shared);
        });
    }

    fn read_for_later(&self, delay: Duration, late: &Sender<Late>, shared: &Shared) {
        self.read(Side::Client, shared, |bytes, after| {
            // Who would pass it on is gone when the connection is.
            let _ = late.send(Late {
                due: Instant::now() + delay,
                bytes: bytes.to_vec(),
                after,
            });
        });
    }

    fn pass_on_in_time(&self, in_time: &Receiver<Late>, shared: &Shared) {
        for Late { due, bytes, after } in in_time {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.pass_on(Side::Client, &bytes, after, shared);
        }
    }

    /// Reads one side to its end, and hands on what comes: nothing, last.
    fn read(&self, from: Side, shared: &Shared, mut hand_on: impl FnMut(&[u8], Option<Cut>)) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = self.side(from).read(&mut buffer);
            let length = match read {
                _ if self.has_ended() => return,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.end(End::Reset),
            };
            let bytes = &buffer[..length];
            if bytes.is_empty() {
                return hand_on(bytes, None);
            }
            let cuts = shared.arrived(self, from, bytes);
            if let Some(cut) = cuts.at {
                let is_call = matches!(cut, Cut::Call(_));
                shared.cut(self, cut);
                if is_call {
                    shared.called(self);
                }
            }
            hand_on(bytes, cuts.after);
        }
    }

    fn pass_on(&self, from: Side, bytes: &[u8], after: Option<Cut>, shared: &Shared) {
        let (_alone, _beside) = match after {
            Some(_) => (Some(self.passing.write()), None),
            None => (None, Some(self.passing.read())),
        };
        // In a silence nobody hears of an end either.
        if !shared.passes(self) || self.has_ended() {
            return;
        }
        let to = self.side(match from {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        });
        if bytes.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
        } else if !self.write(to, bytes) {
            self.end(End::Reset);
        }
        if let Some(cut) = after {
            shared.cut(self, cut);
        }
    }

    /// Whether it could.
    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return false,
                },
            }
            if self.has_ended() {
                return false;
            }
        }
        true
    }
}

fn reset(client: &TcpStream) {
    let _ = set_socket_linger(client, Some(Duration::ZERO));
}

/// Whose turn it is, and whether they are past the login.
#[derive(Default)]
pub(super) struct Talk {
    last: Option<Side>,
    server_speaks_first: bool,
    /// Whether the flight that the server answers belongs to the login.
    login: bool,
}

/// The beginning of a flight.
pub(super) struct Turn {
    pub(super) login: bool,
    /// Whether it answers the client.
    pub(super) answer: bool,
}

impl Talk {
    /// `Some` if with these bytes a flight begins.
    pub(super) fn turned(&mut self, from: Side, bytes: &[u8]) -> Option<Turn> {
        let before = self.last.replace(from);
        if before == Some(from) {
            return None;
        }
        match from {
            Side::Server if before.is_none() => {
                self.server_speaks_first = true;
                self.login = true;
            }
            Side::Server => {}
            // MySQL numbers the packets of an exchange: a command begins one.
            Side::Client if self.server_speaks_first => {
                self.login = self.login && bytes.get(3).is_none_or(|number| *number != 0);
            }
            // Postgres has no type for the first packet, and one of its own for passwords.
            Side::Client => {
                let is_login = matches!(bytes.first(), Some(0 | b'p'));
                self.login = is_login && (before.is_none() || self.login);
            }
        }
        Some(Turn {
            login: self.login,
            answer: before.is_some(),
        })
    }
}
