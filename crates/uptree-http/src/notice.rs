//! The notice that a client of HTTP/2 is given in a drain delay: GOAWAY that takes nothing back.
//!
//! RFC 9113 has a server that shuts down say GOAWAY twice: first with the highest stream there can
//! be, so that whatever the client has begun is served, then with the last stream that was. HTTP
//! here says the second as soon as the client must have heard the first, and serves nothing more. In
//! a drain delay that is too soon: a client that takes no notice is to lose nothing before the gate
//! closes. So the first is written here, and HTTP says both when the delay is over.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Lent;

/// GOAWAY: eight bytes, of the connection; the last stream is 2^31 - 1, and there is no error.
const NOTICE: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, // its head
    0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
];

/// A socket on which HTTP/2 is spoken, with the notice when it is due.
#[derive(Debug)]
pub(crate) struct Noticed {
    lent: Lent,
    /// How much of the notice has been written, once it is begun.
    written: Option<usize>,
}

impl Noticed {
    pub(crate) fn new(lent: Lent) -> Self {
        Self {
            lent,
            written: None,
        }
    }

    /// Writes what is left of a notice that was begun.
    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(written) = &mut self.written else {
            return Poll::Ready(Ok(()));
        };
        while *written < NOTICE.len() {
            let rest = &NOTICE[*written..];
            match ready!(Pin::new(&mut self.lent).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => *written += length,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Noticed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lent).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noticed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_notice(cx))?;
        Pin::new(&mut self.lent).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_notice(cx))?;
        Pin::new(&mut self.lent).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lent.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // HTTP flushes what it has written whole: between two frames, and not within a header that
        // takes several. It does so whenever its connection's task is woken.
        if self.written.is_none() && self.lent.is_notice_due() {
            self.written = Some(0);
        }
        ready!(self.poll_notice(cx))?;
        Pin::new(&mut self.lent).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lent).poll_shutdown(cx)
    }
}
