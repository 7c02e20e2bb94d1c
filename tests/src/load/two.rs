//! A client of HTTP/2 with prior knowledge.
//!
//! It keeps to what RFC 9113 has clients do: after a GOAWAY it sends nothing more on the connection,
//! and a request that was held back for that reason, and not sent, goes to the next one.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::deaf::Deaf;
use super::{Ask, Outcome, Record, STREAMS, Target, nowhere};

/// How long an answer, its body included, may take.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    runtime: Runtime,
    target: Arc<dyn Target>,
    /// It never hears of a GOAWAY.
    deaf: bool,
    kept: Option<(SocketAddr, SendRequest<Body>)>,
}

impl Client {
    pub(super) fn new(target: Arc<dyn Target>, deaf: bool) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime can be made"),
            target,
            deaf,
            kept: None,
        }
    }

    /// Sends some requests at once.
    pub(super) fn ask(&mut self, ask: Ask) -> Vec<Record> {
        let mut records = Vec::new();
        let mut left = STREAMS;
        // What was not sent goes to a new connection.
        while left > 0 {
            let began = Instant::now();
            let first = self.kept.as_ref().is_none_or(|(_, kept)| kept.is_closed());
            let (to, requests) = match self.connection() {
                Ok(kept) => kept,
                Err((to, error)) => {
                    records.push(Record {
                        began,
                        ended: Instant::now(),
                        to,
                        first,
                        outcome: Outcome::Refused(error),
                    });
                    left -= 1;
                    continue;
                }
            };
            let outcomes = self.runtime.block_on(async {
                let all = (0..left).map(|_| outcome(requests.clone(), ask));
                all.collect::<JoinSet<_>>().join_all().await
            });
            let sent = outcomes.into_iter().flatten();
            let before = records.len();
            records.extend(sent.map(|(ended, outcome)| Record {
                began,
                ended,
                to: Some(to),
                first,
                outcome,
            }));
            left -= records.len() - before;
        }
        records
    }

    /// Lets time pass, in which the connection goes on: a ping is answered, a GOAWAY heard.
    pub(super) fn rest(&self, pause: Duration) {
        self.runtime.block_on(async { sleep(pause).await });
    }

    /// The connection that is kept, or a new one.
    fn connection(
        &mut self,
    ) -> Result<(SocketAddr, SendRequest<Body>), (Option<SocketAddr>, io::Error)> {
        if self.kept.as_ref().is_none_or(|(_, kept)| kept.is_closed()) {
            let addr = self.target.addr().ok_or_else(|| (None, nowhere()))?;
            let connected = self.runtime.block_on(async {
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                let connecting = timeout(TIMEOUT, connect(addr, self.deaf));
                connecting.await.map_err(late).flatten()
            });
            let requests = connected.map_err(|error| (Some(addr), error))?;
            self.kept = Some((addr, requests));
        }
        Ok(self.kept.clone().expect("it is there, or was just made"))
    }
}

async fn connect(addr: SocketAddr, deaf: bool) -> io::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(Deaf::new(stream, deaf));
    let shaken = handshake(TokioExecutor::new(), stream).await;
    let (requests, connection) = shaken.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(requests)
}

/// One request, and when it was known what had come of it; `None` if it was not sent because the
/// connection is going away.
async fn outcome(mut requests: SendRequest<Body>, ask: Ask) -> Option<(Instant, Outcome)> {
    let outcome = match timeout(TIMEOUT, requests.try_send_request(request(ask))).await {
        Err(_) => Outcome::Broken(io::ErrorKind::TimedOut.into()),
        Ok(Ok(response)) => {
            let status = response.status().as_u16();
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            match read(response.into_body()).await {
                Ok(()) => Outcome::Answered {
                    status,
                    closes: requests.is_closed(),
                    retry_after,
                },
                Err(error) => Outcome::Broken(error),
            }
        }
        Ok(Err(mut error)) => {
            if error.take_message().is_some() {
                return None;
            }
            Outcome::Broken(broken(error.error()))
        }
    };
    Some((Instant::now(), outcome))
}

async fn read(body: Incoming) -> io::Result<()> {
    match timeout(TIMEOUT, body.collect()).await {
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(broken(&error)),
    }
}

fn request(ask: Ask) -> Request<Body> {
    let (method, path, json) = ask.parts();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://service{path}"));
    match json {
        None => request.body(Body::empty()),
        Some(json) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json)),
    }
    .expect("it is a request")
}

/// With its causes: hyper's own text says only that HTTP/2 failed.
fn broken(error: &hyper::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    io::Error::other(text)
}
