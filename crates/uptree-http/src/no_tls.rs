//! In the place of [`tls`](crate::tls) without the feature: nothing of it can be made.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{connection::Connection, socket::Socket, tls_error::TlsError};

#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn load(_: PathBuf, _: PathBuf) -> Result<Self, TlsError> {
        Err(TlsError::NotBuiltIn)
    }

    pub(crate) async fn keep_up(self: Arc<Self>) {
        match *self {}
    }

    pub(crate) async fn accept(&self, _: TcpStream, _: &Connection) -> Option<Socket> {
        match *self {}
    }
}

pub(crate) async fn connect(_: TcpStream, _: IpAddr) -> io::Result<TcpStream> {
    Err(io::Error::other(TlsError::NotBuiltIn))
}

#[derive(Debug)]
pub(crate) enum Stream {}

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match *self {}
    }

    pub(crate) fn is_http2(&self) -> bool {
        match *self {}
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
