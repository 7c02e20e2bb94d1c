//! An HTTP/2 client that does nothing by itself: it sends the frames it is told to, and shows those
//! that come.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The end of a stream; of settings and pings, that they have been heard.
const END: u8 = 1;

/// What a server says that matters here.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// The response on this stream begins; whether it is a 200.
    Head(u32, bool),
    /// The response on this stream has ended.
    End(u32),
    Ping([u8; 8]),
    /// No stream after this one is looked at.
    GoAway(u32),
}

pub(crate) struct Frames {
    stream: TcpStream,
}

impl Frames {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("somebody listens");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(preface).await.expect("it is open");
        let mut frames = Self { stream };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let sent = self.stream.write_all(&frame).await;
        sent.expect("it is open");
    }

    /// Asks for a path on this stream.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        // HPACK: GET and http by number, path and authority as they are.
        let mut block = vec![0x82, 0x86, 0x04];
        block.push(u8::try_from(path.len()).expect("a short path"));
        block.extend(path.as_bytes());
        block.extend([0x01, 4]);
        block.extend(b"test");
        let end_of_headers = 4;
        self.send(HEADERS, END | end_of_headers, stream, &block)
            .await;
    }

    /// Says that this ping has been heard.
    pub(crate) async fn pong(&mut self, ping: [u8; 8]) {
        self.send(PING, END, 0, &ping).await;
    }

    /// What comes next; an error if that is the end.
    pub(crate) async fn next(&mut self) -> io::Result<Said> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await?;
            let stream = u32::from_be_bytes(stream);
            let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
            match kind {
                HEADERS => return Ok(Said::Head(stream, payload[0] == 0x88)),
                DATA if flags & END > 0 => return Ok(Said::End(stream)),
                PING => return Ok(Said::Ping(payload.try_into().expect("eight bytes"))),
                GOAWAY => return Ok(Said::GoAway(word(&payload[..4]))),
                _ => {}
            }
        }
    }

    /// What comes next, which is something.
    pub(crate) async fn said(&mut self) -> Said {
        self.next().await.expect("it is open")
    }

    /// Asks, and gets a 200.
    pub(crate) async fn answered(&mut self, stream: u32, path: &str) {
        self.get(stream, path).await;
        assert_eq!(self.said().await, Said::Head(stream, true));
        assert_eq!(self.said().await, Said::End(stream));
    }

    /// The first GOAWAY, which names no stream, and the ping by which the server knows when it has
    /// been heard.
    pub(crate) async fn told_to_go(&mut self) -> [u8; 8] {
        assert_eq!(self.said().await, Said::GoAway(u32::MAX >> 1));
        match self.said().await {
            Said::Ping(ping) => ping,
            said => panic!("{said:?}"),
        }
    }
}
