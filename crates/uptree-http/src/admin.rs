//! What an operator looks at, on ports of its own: metrics, the tree, the boot timeline.
//!
//! The endpoint serves it in its own tasks, from its start to its end. Nothing here has to do with
//! the app's routes, and nothing is changed by a request. Whoever is slow here is slow for others
//! here alone: so many connections at once, so long for each, one request on each.

mod access;
mod answer;
mod settings;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use uptree_app::{BoxError, Context, Monitor, Result, help};

use self::access::Access;
pub use self::settings::{AdminAddr, AdminSettings};
use crate::endpoint::{EndpointError, listen};

/// How many connections each port has at once; further ones wait.
const CONNECTIONS: usize = 64;

/// How long a client has for a request's header.
const HEADER_LIMIT: Duration = Duration::from_secs(2);

/// How long a connection lasts, all told.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of a request is kept, and how much of a response waits for its client.
const BUFFER: usize = 16 * 1024;

/// How long to wait after a connection could not be accepted.
const BACKOFF: Duration = Duration::from_millis(100);

/// A port that is listened on.
pub(crate) struct Admin {
    listener: TcpListener,
    addr: SocketAddr,
    access: Access,
}

/// Listens on the ports that the settings name.
///
/// The admin port has a default that another process may have; then there is none, and a warning.
pub(crate) fn listen_all(settings: &AdminSettings) -> Result<Vec<Admin>, BoxError> {
    let mut all = Vec::new();
    match settings.admin_addr {
        Some(AdminAddr::Off) => {}
        Some(AdminAddr::At(addr)) => {
            let access = Access::to_all(addr, settings.admin_token.clone());
            let remedy = "stop what listens there, or set ADMIN_ADDR to another address, or to off";
            all.push(Admin::listen(addr, access).map_err(|error| help(error, remedy))?);
        }
        None => {
            let addr = settings::DEFAULT;
            match Admin::listen(addr, Access::to_all(addr, settings.admin_token.clone())) {
                Ok(admin) => all.push(admin),
                Err(EndpointError::Bind { source: error, .. }) => tracing::warn!(
                    %addr,
                    %error,
                    "there is no admin port: set ADMIN_ADDR to another address, or to off"
                ),
            }
        }
    }
    if let Some(addr) = settings.metrics_addr {
        let remedy = "stop what listens there, or set METRICS_ADDR to another address";
        let metrics = Admin::listen(addr, Access::to_metrics());
        all.push(metrics.map_err(|error| help(error, remedy))?);
    }
    Ok(all)
}

impl Admin {
    fn listen(addr: SocketAddr, access: Access) -> Result<Self, EndpointError> {
        let bound = listen(addr).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (addr, listener) = bound.map_err(|source| EndpointError::Bind { addr, source })?;
        Ok(Self {
            listener,
            addr,
            access,
        })
    }

    /// Serves it in a task of the endpoint's, for as long as that runs.
    pub(crate) fn serve(self, cx: &Context) {
        tracing::info!(addr = %self.addr, "{} listening", self.access.name());
        let server = Arc::new(Server {
            access: self.access,
            monitor: cx.extension::<Monitor>().cloned(),
        });
        let (cx, listener) = (cx.clone(), self.listener);
        let tasks = cx.clone();
        cx.spawn(async move { accept(&listener, &server, &tasks).await });
    }
}

async fn accept(listener: &TcpListener, server: &Arc<Server>, cx: &Context) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    // It is never closed.
    while let Ok(place) = free.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(server);
                cx.spawn(async move {
                    _ = timeout(LIMIT, speak(stream, server)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(BACKOFF).await,
        }
    }
}

async fn speak(stream: TcpStream, server: Arc<Server>) {
    let answer = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    // An error is the client's.
    _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

struct Server {
    access: Access,
    monitor: Option<Monitor>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let page = match self.access.look_up(&request) {
            Ok(page) => page,
            Err(refusal) => return refusal.answer(),
        };
        let Some(monitor) = self.monitor.clone() else {
            return answer::missing("there is no app around this endpoint");
        };
        // It takes as long as there are children: not on a thread that serves.
        let shown = spawn_blocking(move || {
            catch_unwind(AssertUnwindSafe(|| page.show(&monitor)))
                .unwrap_or_else(|_| answer::failed())
        });
        shown.await.unwrap_or_else(|_| answer::failed())
    }
}

/// What is wrong with the settings.
pub(crate) fn check(settings: &AdminSettings) -> Option<BoxError> {
    let Some(AdminAddr::At(addr)) = settings.admin_addr else {
        return None;
    };
    if addr.ip().is_loopback() || settings.admin_token.is_some() {
        return None;
    }
    let error = io::Error::other(format!(
        "ADMIN_ADDR: {addr} can be reached by others, and there is no ADMIN_TOKEN"
    ));
    Some(help(
        error,
        "set ADMIN_TOKEN or ADMIN_TOKEN_FILE, or ADMIN_ADDR to an address such as 127.0.0.1:4001; \
         for metrics alone set METRICS_ADDR",
    ))
}

#[cfg(test)]
mod tests;
