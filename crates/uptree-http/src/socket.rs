//! The socket of a connection, and where it is.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::tls;

/// A socket, as its client speaks on it.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "made by the feature")
    )]
    Tls(Box<tls::Stream>),
}

impl Socket {
    /// Ends both ways at once, whoever reads or writes.
    fn cut(&self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        };
        // An error means that it has ended.
        let _ = SockRef::from(tcp).shutdown(Shutdown::Both);
    }

    /// Whether what has been written may be on this side still, and a flush says when it is not.
    pub(crate) fn keeps_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

/// Where a connection's socket is.
#[derive(Debug, Default)]
pub(crate) struct Place {
    place: Mutex<Where>,
}

#[derive(Debug, Default)]
enum Where {
    /// Whoever reads and writes has it.
    #[default]
    Lent,
    /// HTTP reads and writes here, and is about to hand it to the app.
    Shared(Socket),
    /// The app reads and writes here.
    TakenOver(Socket),
    /// It has been given back.
    Left(Socket),
}

impl Place {
    /// Puts it where the connection can reach it too.
    pub(crate) fn share(&self, socket: Socket) {
        *self.lock() = Where::Shared(socket);
    }

    /// Polls it where it has been put; an error if it is there no longer.
    pub(crate) fn poll<R>(
        &self,
        poll: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match &mut *self.lock() {
            Where::Shared(socket) | Where::TakenOver(socket) => poll(Pin::new(socket)),
            Where::Lent | Where::Left(_) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    /// Notes that HTTP is over; says whether the app has it now.
    pub(crate) fn take_over(&self) -> bool {
        let mut place = self.lock();
        match std::mem::take(&mut *place) {
            Where::Shared(socket) => {
                *place = Where::TakenOver(socket);
                true
            }
            other => {
                *place = other;
                false
            }
        }
    }

    /// Gives it back: this one, or the one that is shared. Says whether the app had it.
    pub(crate) fn leave(&self, socket: Option<Socket>) -> bool {
        let mut place = self.lock();
        let before = std::mem::take(&mut *place);
        let taken_over = matches!(before, Where::TakenOver(_));
        *place = match (socket, before) {
            (Some(socket), _) | (None, Where::Shared(socket) | Where::TakenOver(socket)) => {
                Where::Left(socket)
            }
            (None, before) => before,
        };
        taken_over
    }

    /// Cuts it if it is here: who reads finds the end, who writes an error.
    pub(crate) fn cut(&self) {
        if let Where::Shared(socket) | Where::TakenOver(socket) = &*self.lock() {
            socket.cut();
        }
    }

    /// Takes it if it has been given back.
    pub(crate) fn take_left(&self) -> Option<Socket> {
        let mut place = self.lock();
        match std::mem::take(&mut *place) {
            Where::Left(socket) => Some(socket),
            other => {
                *place = other;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Where> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
