//! A socket on which a client of HTTP/2 does not hear GOAWAY.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that keeps GOAWAY frames to itself, if it is to.
pub(super) struct Deaf {
    stream: TcpStream,
    filter: Option<Filter>,
    /// What the filter let through and nobody has read yet.
    heard: Vec<u8>,
}

impl Deaf {
    pub(super) fn new(stream: TcpStream, deaf: bool) -> Self {
        Self {
            stream,
            filter: deaf.then(Filter::default),
            heard: Vec::new(),
        }
    }
}

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(filter) = &mut this.filter else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        while this.heard.is_empty() {
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            filter.pass(read.filled(), &mut this.heard);
        }
        let length = this.heard.len().min(buffer.remaining());
        buffer.put_slice(&this.heard[..length]);
        this.heard.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in a server's frames a stream is. Each begins with its length (three bytes), its type, its
/// flags and its stream (four).
#[derive(Default)]
struct Filter {
    head: Vec<u8>,
    /// How much of the frame's payload is to come.
    left: usize,
    /// It is kept back.
    kept: bool,
}

const HEAD: usize = 9;
const GOAWAY: u8 = 7;

impl Filter {
    fn pass(&mut self, bytes: &[u8], heard: &mut Vec<u8>) {
        for &byte in bytes {
            if self.left > 0 {
                self.left -= 1;
                if !self.kept {
                    heard.push(byte);
                }
                continue;
            }
            self.head.push(byte);
            if self.head.len() == HEAD {
                self.left = self.head[..3]
                    .iter()
                    .fold(0, |length, &byte| length << 8 | usize::from(byte));
                self.kept = self.head[3] == GOAWAY;
                if !self.kept {
                    heard.extend(&self.head);
                }
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("it is short");
        [&[0, 0, length, kind, 0, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn nothing_but_goaway_is_kept_back_however_the_bytes_come() {
        let (settings, data) = (frame(4, b""), frame(0, b"\x07\x07\x07"));
        let goaway = frame(GOAWAY, &[0; 8]);
        let said = [&settings, &goaway, &data, &goaway, &settings].map(|frame| &frame[..]);
        let (said, expected) = (said.concat(), [settings.clone(), data, settings].concat());
        for length in 1..said.len() {
            let (mut filter, mut heard) = (Filter::default(), Vec::new());
            for bytes in said.chunks(length) {
                filter.pass(bytes, &mut heard);
            }
            assert_eq!(heard, expected, "{length} at a time");
        }
    }
}
