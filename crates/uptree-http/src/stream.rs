//! A connection's socket while HTTP has it, or the app that has taken it over.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{connection::Connection, limits::READS, socket::Socket, spoken::Ahead};

/// A socket lent to HTTP: it tells the connection what passes, and returns to it when dropped.
///
/// HTTP drops its socket at an error, and when it is dropped itself. A socket that is closed then
/// and there, with bytes unread, resets the connection, and the peer may lose the response that it
/// was sent. So it goes back, and is closed with care.
///
/// An app that takes a connection over (a websocket) has it from HTTP, and may keep it in a task
/// that nobody owns. So the socket is put where the connection can cut it, before that.
#[derive(Debug)]
pub(crate) struct Lent {
    /// `None` once it is shared.
    socket: Option<Socket>,
    ahead: Ahead,
    /// How often it has been read from without a pause.
    reads: u8,
    connection: Arc<Connection>,
}

impl Lent {
    pub(crate) fn new(socket: Socket, ahead: Ahead, connection: Arc<Connection>) -> Self {
        Self {
            socket: Some(socket),
            ahead,
            reads: 0,
            connection,
        }
    }

    /// Whether a client of HTTP/2 is to be told that it should go, and is served on.
    pub(crate) fn is_notice_due(&self) -> bool {
        self.connection.is_notice_due()
    }

    fn poll<R>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if self.connection.is_to_be_taken_over()
            && let Some(socket) = self.socket.take()
        {
            self.connection.place.share(socket);
        }
        match &mut self.socket {
            Some(socket) => poll(Pin::new(socket)),
            None => self.connection.place.poll(poll),
        }
    }

    fn written(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.set_blocked(poll.is_pending());
        poll
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.connection.leave(self.socket.take());
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads == READS {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if !self.ahead.read(buffer) {
            let poll = self.poll(|socket| socket.poll_read(cx, buffer));
            self.reads = if poll.is_ready() { self.reads + 1 } else { 0 };
            ready!(poll)?;
        }
        if buffer.filled().len() > before {
            self.connection.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = self.poll(|socket| socket.poll_write(cx, bytes));
        self.written(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = self.poll(|socket| socket.poll_write_vectored(cx, slices));
        self.written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut keeps_back = false;
        let poll = self.poll(|socket| {
            keeps_back = socket.keeps_back();
            socket.poll_flush(cx)
        });
        if keeps_back {
            self.connection.set_blocked(poll.is_pending());
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.goes_on() {
            return Poll::Ready(Ok(()));
        }
        self.poll(|socket| socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, net::TcpListener, task::Poll};

    use tokio::net::TcpStream;

    use super::*;
    use crate::connections::Connections;

    #[tokio::test]
    async fn who_has_much_to_say_lets_others_have_their_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut client = std::net::TcpStream::connect(addr).expect("it listens");
        client.write_all(&[0; 100]).expect("it is open");
        let (server, _) = listener.accept().expect("it is connected");
        server.set_nonblocking(true).expect("it is open");
        let server = TcpStream::from_std(server).expect("it does not block");
        server.readable().await.expect("it is open");

        let connection = Connections::new().open();
        let mut lent = Lent::new(Socket::Plain(server), Ahead::default(), connection);
        let mut turns = Vec::new();
        // Woken by itself when it lets others go before.
        poll_fn(|cx| {
            let mut reads = 0;
            let turn = loop {
                let mut bytes = [0; 10];
                let mut buffer = ReadBuf::new(&mut bytes);
                match Pin::new(&mut lent).poll_read(cx, &mut buffer) {
                    Poll::Ready(read) => read.expect("it is open"),
                    Poll::Pending => break reads,
                }
                reads += 1;
            };
            turns.push(turn);
            match turns.iter().sum::<u8>() {
                ..10 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        assert_eq!(turns, [READS; 5]);
    }
}
