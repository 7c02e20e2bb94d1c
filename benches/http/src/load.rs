//! A client that keeps its connections, and asks again on each as soon as it is answered.
//!
//! It costs little, so that it is the server that is measured: one thread, and two system calls for
//! a request and its answer. That all answers are as long as the first one, and begin as it does, is
//! all that it looks at.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    time::Timespec,
};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);
const OK: &[u8] = b"HTTP/1.1 200";

pub(crate) struct Load {
    connections: Vec<Connection>,
    poll: OwnedFd,
    events: Vec<Event>,
    request: Vec<u8>,
    /// Of an answer, in bytes.
    length: usize,
}

struct Connection {
    stream: TcpStream,
    asked: Instant,
    /// How much of the answer has come.
    came: usize,
}

/// What a stretch of load came to.
pub(crate) struct Stretch {
    time: Duration,
    /// How much was asked and answered, what was on its way at the end included.
    pub(crate) requests: usize,
    /// How long each answer took, in nanoseconds.
    answers: Vec<u64>,
}

impl Load {
    /// Opens connections, and asks once on each.
    pub(crate) fn open(addr: SocketAddr, path: &str, connections: usize) -> Result<Self> {
        let mut this = Self {
            connections: Vec::with_capacity(connections),
            poll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(connections),
            request: request(path),
            length: 0,
        };
        for i in 0..connections {
            let mut stream = connect(addr)?;
            stream.write_all(&this.request)?;
            let answer = read_answer(&mut stream)?;
            ensure!(answer.starts_with(OK), "{}", answer.escape_ascii());
            this.length = answer.len();
            stream.set_nonblocking(true)?;
            let key = EventData::new_u64(u64::try_from(i)?);
            epoll::add(&this.poll, &stream, key, EventFlags::IN)?;
            let asked = Instant::now();
            this.connections.push(Connection {
                stream,
                asked,
                came: 0,
            });
        }
        Ok(this)
    }

    /// Keeps every connection busy for so long.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Stretch> {
        self.until(|began, _| began.elapsed() >= time)
    }

    /// Asks so often, all in all.
    pub(crate) fn ask(&mut self, times: usize) -> Result<Stretch> {
        self.until(|_, answers| answers >= times)
    }

    /// When it is done, all that was asked has been answered.
    fn until(&mut self, done: impl Fn(Instant, usize) -> bool) -> Result<Stretch> {
        let began = Instant::now();
        let mut answers = Vec::new();
        for connection in &mut self.connections {
            connection.ask(&self.request)?;
        }
        let mut open = self.connections.len();
        let mut time = Duration::ZERO;
        let mut is_done = false;
        while open > 0 {
            self.events.clear();
            let limit = Timespec::try_from(LIMIT)?;
            epoll::wait(&self.poll, spare_capacity(&mut self.events), Some(&limit))?;
            ensure!(!self.events.is_empty(), "no answer within {LIMIT:?}");
            for event in &self.events {
                let connection = &mut self.connections[usize::try_from(event.data.u64())?];
                if !connection.is_answered(self.length)? {
                    continue;
                }
                if !is_done {
                    let took = connection.asked.elapsed();
                    answers.push(u64::try_from(took.as_nanos())?);
                    is_done = done(began, answers.len());
                    time = began.elapsed();
                }
                match is_done {
                    true => open -= 1,
                    false => connection.ask(&self.request)?,
                }
            }
        }
        let requests = answers.len() + self.connections.len() - 1;
        Ok(Stretch {
            time,
            requests,
            answers,
        })
    }

    /// Whether `path` is answered with 200; not if nobody listens yet.
    pub(crate) fn is_ok(addr: SocketAddr, path: &str) -> Result<bool> {
        let Ok(mut stream) = connect(addr) else {
            return Ok(false);
        };
        stream.write_all(&request(path))?;
        let mut status = [0; OK.len()];
        stream.read_exact(&mut status)?;
        Ok(status == *OK)
    }
}

impl Connection {
    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.asked = Instant::now();
        self.came = 0;
        let written = self.stream.write(request)?;
        ensure!(written == request.len(), "the server does not read");
        Ok(())
    }

    /// Reads what is there; says whether it is all.
    fn is_answered(&mut self, length: usize) -> Result<bool> {
        let mut bytes = [0; 4096];
        let came = match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(came) => came,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let bytes = &bytes[..came];
        let is_ok = self.came > 0 || bytes.starts_with(OK);
        self.came += came;
        ensure!(is_ok && self.came <= length, "{}", bytes.escape_ascii());
        Ok(self.came == length)
    }
}

impl Stretch {
    pub(crate) fn per_second(&self) -> f64 {
        self.answers.len() as f64 / self.time.as_secs_f64()
    }

    /// What 99 of 100 answers took at most, in microseconds.
    pub(crate) fn p99(&mut self) -> f64 {
        let at = self.answers.len() * 99 / 100;
        let (_, nanos, _) = self.answers.select_nth_unstable(at);
        *nanos as f64 / 1e3
    }
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// One answer, by the length that its header says.
fn read_answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    const LENGTH: &str = "content-length: ";
    let mut answer = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let came = stream.read(&mut bytes)?;
        ensure!(came > 0, "the server closed a connection");
        answer.extend(&bytes[..came]);
        let Some(header) = answer.windows(4).position(|it| it == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&answer[..header]);
        let mut lines = text.lines();
        let length = lines.find_map(|line| line.strip_prefix(LENGTH)?.parse::<usize>().ok());
        let length = header + 4 + length.with_context(|| format!("no length: {text}"))?;
        if answer.len() >= length {
            return Ok(answer);
        }
    }
}
