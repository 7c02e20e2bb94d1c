//! HTTPS: the certificate and its key, kept up with their files, and the handshake.

use std::{
    fmt, fs, io,
    io::IoSlice,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        Error, InconsistentKeys, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};
use uptree_app::chain;

use crate::{
    connection::{Connection, Order},
    limits::HANDSHAKE_LIMIT,
    serve::close,
    socket::Socket,
    tls_error::TlsError,
};

mod client;

pub(crate) use self::client::connect;

/// How often the files are looked at. A certificate is renewed days before it is needed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The first byte of a handshake. HTTP begins with a letter.
const HANDSHAKE: u8 = 0x16;

/// What HTTP gets where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 35\r\n\
    connection: close\r\n\r\n\
    this port speaks TLS: use https://\n";

/// A certificate and its key, as they are now.
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    used: Mutex<Used>,
}

struct Used {
    pem: Pem,
    config: Arc<ServerConfig>,
}

/// What the files say.
#[derive(Eq, PartialEq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// New files that cannot be used: told when they are still there at the second look, because two
/// files are not written at once.
#[derive(Debug, Default)]
struct Refused {
    why: Option<String>,
    told: bool,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let pem = Pem::read(&cert, &key)?;
        let config = pem.config(&cert, &key)?;
        let used = Mutex::new(Used { pem, config });
        Ok(Self { cert, key, used })
    }

    /// Reads the files again and again, and uses what they say from then on. What they cannot be
    /// used for is told, and the certificate before it stays.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        let mut refused = Refused::default();
        loop {
            sleep(LOOK_EVERY).await;
            let this = Arc::clone(&self);
            let Ok(looked) = spawn_blocking(move || this.look()).await else {
                continue;
            };
            match looked {
                Ok(renewed) => {
                    if renewed {
                        tracing::info!("the certificate is renewed");
                    }
                    refused = Refused::default();
                }
                Err(error) => refused.note(&error),
            }
        }
    }

    /// Reads the files; says whether there was something new.
    fn look(&self) -> Result<bool, TlsError> {
        let pem = Pem::read(&self.cert, &self.key)?;
        if pem == self.used().pem {
            return Ok(false);
        }
        let config = pem.config(&self.cert, &self.key)?;
        *self.used() = Used { pem, config };
        Ok(true)
    }

    /// Makes the handshake; `None` if there is none in time, or the connection is to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub(crate) async fn accept(&self, tcp: TcpStream, connection: &Connection) -> Option<Socket> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.used().config));
        let shaken = tokio::select! {
            biased;
            () = connection.told(Order::End) => return None,
            shaken = timeout(HANDSHAKE_LIMIT, shake(acceptor, tcp)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

async fn shake(acceptor: TlsAcceptor, mut tcp: TcpStream) -> io::Result<Option<Socket>> {
    let mut first = [HANDSHAKE];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first != [HANDSHAKE] {
        tcp.write_all(NOT_TLS).await?;
        close(Socket::Plain(tcp)).await;
        return Ok(None);
    }
    let stream = acceptor.accept(tcp).await?;
    Ok(Some(Socket::Tls(Box::new(Stream(stream)))))
}

impl Pem {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |setting, path: &Path| {
            fs::read(path).map_err(|source| TlsError::Read {
                setting,
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            cert: read("TLS_CERT", cert)?,
            key: read("TLS_KEY", key)?,
        })
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        // A parser's error may have a line of the file: of a key, that is.
        let nothing = |what, setting, path: &Path| TlsError::Nothing {
            what,
            setting,
            path: path.to_owned(),
        };
        let no_cert = || nothing("certificate", "TLS_CERT", cert);
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| no_cert())?;
        if chain.is_empty() {
            return Err(no_cert());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| nothing("private key", "TLS_KEY", key))?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
            error => TlsError::Unusable {
                source: error.into(),
            },
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl Refused {
    fn note(&mut self, error: &TlsError) {
        let why = chain(error);
        if self.why.as_ref() != Some(&why) {
            *self = Self {
                why: Some(why),
                told: false,
            };
        } else if !self.told {
            self.told = true;
            tracing::error!(
                error = why,
                "the new certificate cannot be used; the one before it stays"
            );
        }
    }
}

/// A socket on which TLS is spoken.
#[derive(Debug)]
pub(crate) struct Stream(TlsStream<TcpStream>);

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0
    }

    /// Whether the client has asked for HTTP/2, which it does in the handshake.
    pub(crate) fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
