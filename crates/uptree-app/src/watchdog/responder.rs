//! Answers 503 for a process that stalls, on the watchdog's own thread.
//!
//! It never waits: each round takes what has come, and goes on. What it keeps is bounded in number,
//! size and time, so that no client can hold it up.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

/// So many clients are answered at once; one more, and who has waited longest is given up.
const MOST: usize = 128;

/// From when a client is accepted until it has sent the header of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(2);

/// How much of a request is read before it is answered all the same.
const MOST_BYTES: usize = 8 * 1024;

/// How long a client that was answered has to close its side.
const LINGER: Duration = Duration::from_millis(500);

/// Connections that were accepted on the duplicate of a listener.
#[derive(Default)]
pub(super) struct Responder {
    clients: Vec<Client>,
    /// A file descriptor to spare, for when the process has none left: with it one client after the
    /// other can be accepted.
    spare: Option<File>,
}

struct Client {
    stream: TcpStream,
    /// Of the request, as far as it is here.
    request: Vec<u8>,
    until: Instant,
    answered: bool,
}

/// What is said to every client.
pub(super) struct Answer {
    body: String,
}

impl Answer {
    /// With this reason; without one it is a word alone.
    pub(super) fn new(reason: Option<&str>) -> Self {
        let body = match reason {
            Some(reason) => format!("stalled\n{reason}\n"),
            None => "stalled\n".to_owned(),
        };
        Self { body }
    }

    fn to(&self, request: &[u8]) -> String {
        // What is asked does not matter; but a HEAD has no body.
        let body = match request.starts_with(b"HEAD ") {
            true => "",
            false => &self.body,
        };
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\ncache-control: no-store\r\nretry-after: 1\r\n\
             connection: close\r\n\r\n{body}",
            self.body.len()
        )
    }
}

impl Responder {
    /// Keeps a file descriptor to spare, if there is one.
    pub(super) fn prepare(&mut self) {
        if self.spare.is_none() {
            self.spare = File::open(std::env::current_exe().unwrap_or_default()).ok();
        }
    }

    /// Whether somebody is still to be answered.
    pub(super) fn is_busy(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Accepts who waits, and answers who has asked.
    pub(super) fn accept(&mut self, listener: &TcpListener, answer: &Answer) {
        // More than this in a round is left for the next one.
        for _ in 0..MOST {
            match self.accept_one(listener) {
                Ok(stream) => self.take(stream, answer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It may be that connection's alone; if not, the next round tries again.
                Err(_) => {}
            }
        }
        self.prepare();
    }

    fn accept_one(&mut self, listener: &TcpListener) -> io::Result<TcpStream> {
        let accept = || listener.accept().map(|(stream, _)| stream);
        let is_short = |error: &io::Error| error.kind() != io::ErrorKind::WouldBlock;
        match accept() {
            Err(error) if is_short(&error) && !self.clients.is_empty() => {
                self.clients.remove(0);
                accept()
            }
            Err(error) if is_short(&error) && self.spare.is_some() => {
                self.spare = None;
                accept()
            }
            accepted => accepted,
        }
    }

    fn take(&mut self, stream: TcpStream, answer: &Answer) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.clients.len() == MOST {
            self.clients.remove(0);
        }
        let mut client = Client {
            stream,
            request: Vec::new(),
            until: Instant::now() + HEADER_LIMIT,
            answered: false,
        };
        if client.goes_on(answer) {
            self.clients.push(client);
        }
    }

    /// Goes on with those who were accepted.
    pub(super) fn go_on(&mut self, answer: &Answer) {
        self.clients.retain_mut(|client| client.goes_on(answer));
    }
}

impl Client {
    /// Takes a step; says whether there are more.
    fn goes_on(&mut self, answer: &Answer) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        let mut bytes = [0; 1024];
        // So much in a round, however fast it comes.
        for _ in 0..2 * MOST_BYTES / bytes.len() {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) if self.answered => {}
                Ok(count) => {
                    self.request.extend_from_slice(&bytes[..count]);
                    // A TLS client would not understand the answer.
                    if self.request.first() == Some(&0x16) {
                        return false;
                    }
                    if self.is_complete() && !self.answer(answer) {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn is_complete(&self) -> bool {
        let end = self.request.windows(4).any(|four| four == b"\r\n\r\n");
        end || self.request.len() >= MOST_BYTES
    }

    fn answer(&mut self, answer: &Answer) -> bool {
        let answer = answer.to(&self.request);
        self.answered = true;
        self.until = Instant::now() + LINGER;
        // The socket is new: there is room for so little.
        let written = self.stream.write_all(answer.as_bytes());
        // Closed on this side alone: with bytes unread the kernel would reset it, and the client
        // might lose the answer.
        written.is_ok() && self.stream.shutdown(Shutdown::Write).is_ok()
    }
}
