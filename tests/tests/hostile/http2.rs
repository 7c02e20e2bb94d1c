//! HTTP/2, spoken to wear a server out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::victim::Victim;

const A_WHILE: Duration = Duration::from_secs(3);
const CLIENTS: usize = 4;
/// How many frames are sent at a time.
const BATCH: u32 = 500;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("it is short")
        .to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// `GET /readings`, or `POST` if there is a body.
fn request(stream: u32, has_body: bool) -> Vec<u8> {
    let path = "/readings";
    // Of HPACK's own table: the method and `http`; then the path, as it is.
    let method = if has_body { 0x83 } else { 0x82 };
    let mut fields = vec![method, 0x86, 0x04, 9];
    fields.extend(path.bytes());
    let end = if has_body { 0 } else { END_STREAM };
    frame(HEADERS, END_HEADERS | end, stream, &fields)
}

/// A client's streams have odd numbers.
fn stream(number: u32) -> u32 {
    number * 2 + 1
}

/// What came of it.
struct Came {
    frames: u64,
    connections: u64,
    /// Of those that the server has ended.
    goaways: u64,
}

/// Has clients send batches of frames, each until it is turned away; and again, for a while. `first` is
/// sent once on a connection, and `nth` says what frame comes next.
fn flood(addr: SocketAddr, first: &[u8], nth: impl Fn(u32) -> Vec<u8> + Sync, reads: bool) -> Came {
    let (nth, deadline) = (&nth, Instant::now() + A_WHILE);
    let client = || {
        let mut came = Came {
            frames: 0,
            connections: 0,
            goaways: 0,
        };
        while Instant::now() < deadline {
            let mut client = Client::connect(addr, first);
            came.connections += 1;
            let mut number = 0;
            while Instant::now() < deadline && !client.is_over {
                let batch: Vec<u8> = (number..number + BATCH).flat_map(nth).collect();
                number += BATCH;
                client.send(&batch, reads, deadline);
                came.frames += u64::from(BATCH);
            }
            came.goaways += u64::from(client.is_over && client.ends_with_goaway());
        }
        came
    };
    let all = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let clients = clients.into_iter();
        let came = clients.map(|it| it.join().expect("it does not panic"));
        came.reduce(|one, other| Came {
            frames: one.frames + other.frames,
            connections: one.connections + other.connections,
            goaways: one.goaways + other.goaways,
        })
    });
    all.expect("there are some")
}

struct Client {
    stream: TcpStream,
    is_over: bool,
    /// What the server has sent, as far as it has been read.
    read: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr, first: &[u8]) -> Self {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        let hello = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(SETTINGS, 0, 0, b""),
            first,
        ];
        stream.write_all(&hello.concat()).expect("it is open");
        stream.set_nonblocking(true).expect("it is open");
        Self {
            stream,
            is_over: false,
            read: Vec::new(),
        }
    }

    /// Sends all of it, or until the time is up, or nobody is there.
    fn send(&mut self, mut bytes: &[u8], reads: bool, deadline: Instant) {
        while !bytes.is_empty() && !self.is_over && Instant::now() < deadline {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(_) => self.is_over = true,
            }
            if reads {
                self.listen();
            }
        }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.is_over = true,
                Ok(count) => {
                    self.read.extend(&bytes[..count]);
                    // Only the end is looked at.
                    let much = self.read.len().saturating_sub(64 * 1024);
                    if much > 0 {
                        self.read.drain(..much);
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.is_over = true,
            }
            return;
        }
    }

    /// Whether the last that the server said is why it goes.
    fn ends_with_goaway(&mut self) -> bool {
        self.listen();
        let head = [GOAWAY, 0, 0, 0, 0, 0];
        self.read.windows(head.len()).any(|it| it == head)
    }
}

/// How many of a flood's connections the server is to end.
enum Ends {
    All,
    Any,
}

#[track_caller]
fn withstands(first: &[u8], nth: impl Fn(u32) -> Vec<u8> + Sync, reads: bool, ends: &Ends) {
    let mut victim = Victim::boot();
    let came = victim.withstands(60_000, |addr| flood(addr, first, nth, reads));
    let Came {
        frames,
        connections,
        goaways,
    } = came;
    println!("{frames} frames on {connections} connections, {goaways} ended with GOAWAY");
    assert!(frames > 0);
    if matches!(ends, Ends::All) {
        assert!(goaways > 0, "nobody was told to go");
    }
    victim.stops_well();
}

/// CVE-2023-44487.
#[test]
fn streams_that_are_reset_at_once() {
    let nth = |number| {
        let stream = stream(number);
        [
            request(stream, false),
            frame(RST_STREAM, 0, stream, &CANCEL),
        ]
        .concat()
    };
    withstands(b"", nth, true, &Ends::All);
}

/// CVE-2024-27316.
#[test]
fn a_header_that_is_continued_for_ever() {
    let first = frame(HEADERS, 0, 1, b"\x82\x86");
    // A field without an index: `x: yyy…`.
    let field = [&b"\0\x01x\x7f\x81\x06"[..], &[b'y'; 900]].concat();
    let nth = |_| frame(CONTINUATION, 0, 1, &field);
    withstands(&first, nth, true, &Ends::All);
}

/// CVE-2019-9512.
#[test]
fn pings() {
    let nth = |number: u32| frame(PING, 0, 0, &u64::from(number).to_be_bytes());
    withstands(b"", nth, true, &Ends::Any);
}

#[test]
fn pings_whose_answers_nobody_reads() {
    let nth = |number: u32| frame(PING, 0, 0, &u64::from(number).to_be_bytes());
    withstands(b"", nth, false, &Ends::Any);
}

/// CVE-2019-9515.
#[test]
fn settings_whose_acknowledgements_nobody_reads() {
    withstands(b"", |_| frame(SETTINGS, 0, 0, b""), false, &Ends::Any);
}

/// CVE-2019-9518.
#[test]
fn a_body_of_nothing_for_ever() {
    withstands(
        &request(1, true),
        |_| frame(DATA, 0, 1, b""),
        true,
        &Ends::Any,
    );
}

/// CVE-2019-9513.
#[test]
fn priorities_that_change_for_ever() {
    let nth = |number| frame(PRIORITY, 0, stream(number % 100), b"\0\0\0\0\x10");
    withstands(b"", nth, true, &Ends::Any);
}

#[test]
fn windows_that_grow_for_ever() {
    let nth = |_| frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01");
    withstands(b"", nth, true, &Ends::Any);
}

/// Frames of a kind that nobody knows are to be ignored.
#[test]
fn frames_of_no_kind() {
    withstands(b"", |_| frame(0xbe, 0, 0, b"uptree"), true, &Ends::Any);
}

/// A field of 4 kB that is put into the table once, and named four thousand times by a byte each.
#[test]
fn a_header_that_is_short_packed_and_long_unpacked() {
    let long = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
    let nth = |number| {
        let stream = stream(number);
        let fields = [&b"\x82\x86\x84"[..], &long, &[0xbe; 4000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
    };
    withstands(b"", nth, true, &Ends::Any);
}

/// More streams than one connection may have, none of which ever ends.
#[test]
fn streams_without_an_end() {
    withstands(
        b"",
        |number| request(stream(number), true),
        true,
        &Ends::Any,
    );
}
