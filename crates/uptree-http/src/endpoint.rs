//! The child that listens.

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use uptree_app::{
    Accepting, BoxError, Child, Context, Fact, Guard, Listens, Monitor, Result, Slot, Starting,
    StopCause, Unavailable, help,
};

use crate::{
    admin,
    connection::Order,
    connections::Connections,
    limits::{KEEPALIVE, KEEPALIVE_INTERVAL},
    meters::{self, Meters},
    probes::Probes,
    requests::Requests,
    serve::{serve, serve_tls},
    settings::HttpSettings,
    socket::Socket,
    spoken::Http,
    tls::Tls,
    tls_error::TlsError,
};

/// How many connections may wait to be accepted, as far as the system's own limit allows. tokio's
/// 128 are few for a burst: who finds no place tries again after a second.
const BACKLOG: u32 = 4096;

/// The first wait after a connection could not be accepted; it doubles up to [`LONGEST_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(10);

/// The longest wait between two tries to accept a connection.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What is left of the stop timeout when connections are given up, so that the endpoint ends by
/// itself and says so.
const MARGIN: Duration = Duration::from_millis(200);

/// How long requests in flight have when the endpoint is stopped to be started again: whatever
/// they need has been taken down with it.
const RESTART_LIMIT: Duration = Duration::from_millis(250);

/// How long connections that are closed on our side may wait for the other at a stop.
const PARTING_LIMIT: Duration = Duration::from_millis(100);

/// An HTTP server that a tree can start first and stop last.
///
/// It is a handle, cheap to clone, and the child of the same name. From its start on `/alive`
/// answers 200, and `/started` once the boot is over; until [`Ready`](crate::Ready) opens the gate,
/// and after it has closed it, `/ready` and all other routes answer 503 with `Retry-After`. HTTP/1.1 and HTTP/2 are spoken on the same
/// port.
///
/// With the feature `tls`, and `TLS_CERT` and `TLS_KEY` set, it speaks TLS (1.2 and 1.3), and looks
/// at the files every 10 s: a new certificate is used for new connections; one that cannot be used
/// is logged, and the one before it stays. Set without the feature, they fail the boot: what was to
/// be encrypted is not sent in the clear.
///
/// The connections are its own: when it is gone, so are they, however it ended. A handler that
/// panics is a 500 and a line in the log. What else it makes of errors is told at
/// [`routes`](Self::routes).
///
/// # Stop
///
/// It takes no more connections, ends those that are idle, and gives the rest until its stop
/// timeout to finish: 5 s unless the list says otherwise. In a list that ends with `Ready`, which
/// is stopped long before, none of them has a request of the app in flight any more.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use uptree_http::{Endpoint, HttpSettings};
///
/// let settings = HttpSettings::default();
/// let routes = Router::new().route("/hello", get(|| async { "hello" }));
/// let endpoint = Endpoint::new(&settings).routes(routes);
/// assert!(endpoint.local_addr().is_err(), "it does not run yet");
/// ```
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    settings: HttpSettings,
    routes: Mutex<Router>,
    connections: Arc<Connections>,
    local_addr: Slot<SocketAddr>,
}

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address, as it was set.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Endpoint {
    /// An endpoint without routes.
    pub fn new(settings: &HttpSettings) -> Self {
        let shared = Shared {
            settings: settings.clone(),
            routes: Mutex::default(),
            connections: Connections::new(),
            local_addr: Slot::new("endpoint"),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Adds the app's routes, with their middleware. They are served from the next start on.
    ///
    /// `/alive`, `/ready` and `/started` are the endpoint's, whatever the routes say. A request's body may be
    /// as long as [`body_limit`](HttpSettings#structfield.body_limit) says; a route can set itself a lower limit with
    /// [`axum::extract::DefaultBodyLimit`].
    ///
    /// An error (4xx or 5xx) without a body, or with a plain text, leaves as a
    /// [`Problem`](crate::Problem): the text of a 4xx becomes its detail; that of a 5xx goes to the
    /// log. Errors of any other content type are left as they are.
    ///
    /// # Panics
    ///
    /// If a route exists already, as [`Router::merge`] does.
    pub fn routes(self, routes: Router) -> Self {
        {
            let mut all = self
                .shared
                .routes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *all = std::mem::take(&mut *all).merge(routes);
        }
        self
    }

    /// The address that it listens on: with port 0 in the settings, the one it was given.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn local_addr(&self) -> Result<SocketAddr, Unavailable> {
        self.shared.local_addr.get()
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.shared.settings
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Accepts connections until the endpoint is to stop.
    async fn accept(
        &self,
        listener: &TcpListener,
        guard: Option<&Guard>,
        tls: Option<Arc<Tls>>,
        cx: &Context,
    ) -> StopCause {
        let http = Arc::new(Http::new(cx.clone()));
        let monitor = cx.extension::<Monitor>().cloned();
        let probes = Arc::new(Probes::new(monitor, self.settings().probe_detail));
        let routes = self.shared.routes.lock();
        // Readied once here, not for every connection.
        let routes = routes
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .with_state(());
        let mut stop = pin!(cx.shutdown());
        let accepting = guard.map(Guard::accepting);
        let accepting = accepting.as_ref();
        let mut failures = Failures::default();
        loop {
            let accepted = tokio::select! {
                biased;
                cause = &mut stop => return cause,
                accepted = listener.accept() => accepted,
                // Last: where it is reached no accept fails.
                never = waiting(accepting) => match never {},
            };
            match accepted {
                Ok((stream, _)) => {
                    failures.end();
                    if let Some(accepting) = accepting {
                        accepting.accepted();
                    }
                    self.spawn(stream, tls.clone(), &http, &routes, &probes, cx);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    let wait = failures.next(&error, self.connections().make_room());
                    if let Some(accepting) = accepting {
                        accepting.failed();
                    }
                    if cx.until_shutdown(sleep(wait)).await.is_none() {
                        return stop.await;
                    }
                }
            }
        }
    }

    fn spawn(
        &self,
        stream: TcpStream,
        tls: Option<Arc<Tls>>,
        http: &Arc<Http>,
        routes: &Router,
        probes: &Arc<Probes>,
        cx: &Context,
    ) {
        // Without it small responses may wait for the peer's acknowledgement. An error means that
        // the peer is gone, which will be noticed.
        let _ = stream.set_nodelay(true);
        let connection = self.shared.connections.open();
        let limit = self.shared.settings.body_limit();
        let requests = Requests::new(connection, routes.clone(), limit, Arc::clone(probes));
        let http = Arc::clone(http);
        match tls {
            None => cx.spawn(serve(Socket::Plain(stream), http, requests)),
            Some(tls) => cx.spawn(serve_tls(stream, tls, http, requests)),
        }
    }

    /// Ends the connections. What is left afterwards is aborted with the incarnation.
    async fn end(&self, cause: StopCause, cx: &Context) {
        let connections = self.connections();
        connections.tell(Order::End);
        let limit = match (cause, cx.stop_time_left()) {
            (StopCause::Shutdown, Some(left)) => left.saturating_sub(MARGIN),
            (StopCause::Shutdown, None) => Duration::MAX,
            _ => RESTART_LIMIT,
        };
        let in_time = timeout(limit, connections.none_serving()).await.is_ok();
        if in_time {
            let _ = timeout(PARTING_LIMIT, connections.all_gone()).await;
        } else {
            let connections = connections.serving();
            tracing::warn!(connections, "connections that did not end in time are cut");
        }
    }
}

impl Child for Endpoint {
    fn facts(&self) -> Vec<Fact> {
        vec![Box::new(Listens {
            addr: self.shared.settings.addr,
            tls: self.shared.settings.tls_cert.is_some(),
        })]
    }

    fn check(&self) -> Vec<BoxError> {
        let tls = self.settings().tls();
        let tls = tls.err().map(TlsError::helped);
        let admin = admin::check(&self.settings().admin);
        tls.into_iter().chain(admin).collect()
    }

    async fn run(&self, cx: Starting) -> Result {
        let tls = self.settings().tls().map_err(TlsError::helped)?;
        let tls = tls.map(Arc::new);
        let addr = self.shared.settings.addr;
        let listener = listen(addr).map_err(|source| explained(addr, source))?;
        let addr = listener.local_addr()?;
        let admin = admin::listen_all(&self.shared.settings.admin)?;
        let _published = self.shared.local_addr.publish(addr)?;
        let monitor = cx.extension::<Monitor>();
        let guard = monitor.map(|monitor| guarded(&listener, monitor));
        let mut guard = guard.transpose()?;
        if !self.settings().probe_detail {
            guard = guard.map(Guard::without_detail);
        }
        let connections = &self.shared.connections;
        connections.meters.get_or_init(|| Meters::new(&cx.path()));
        let cx = cx.ready();
        let _measured = meters::measure(connections, &cx);
        tracing::info!(%addr, "listening");
        if let Some(tls) = &tls {
            cx.spawn(Arc::clone(tls).keep_up());
        }
        for port in admin {
            port.serve(&cx);
        }
        let cause = self.accept(&listener, guard.as_ref(), tls, &cx).await;
        drop((guard, listener));
        self.end(cause, &cx).await;
        Ok(())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("settings", &self.shared.settings)
            .field("local_addr", &self.shared.local_addr)
            .finish_non_exhaustive()
    }
}

pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Lets a restarted process have its port although old connections are still fading away. On
    // Windows it means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // What is accepted has it from the socket that listens.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Has the watchdog look after the listener.
fn guarded(listener: &TcpListener, monitor: &Monitor) -> io::Result<Guard> {
    #[cfg(unix)]
    let duplicate = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
    #[cfg(windows)]
    let duplicate = std::os::windows::io::AsSocket::as_socket(listener).try_clone_to_owned()?;
    Ok(monitor.guard(duplicate.into()))
}

/// Tells the watchdog, whenever it asks, that connections are waited for. Never completes.
async fn waiting(accepting: Option<&Accepting<'_>>) -> Infallible {
    match accepting {
        Some(accepting) => accepting.waiting().await,
        None => pending().await,
    }
}

/// A bind error with what to do about it.
fn explained(addr: SocketAddr, source: io::Error) -> BoxError {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or set ADDR to another port",
        io::ErrorKind::PermissionDenied => {
            "set ADDR to a port from 1024 on, or give the process CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "set ADDR to an address of this machine; 0.0.0.0 or [::] is all of them"
        }
        _ => return EndpointError::Bind { addr, source }.into(),
    };
    help(EndpointError::Bind { addr, source }, remedy)
}

/// Whether an accept failed because the connection was over before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Accepts that fail one after the other, as when the process has no file descriptor left: told
/// once, and tried again at growing intervals.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
}

impl Failures {
    /// Notes one more, for which so many connections were closed to make room; says how long to
    /// wait before the next try.
    fn next(&mut self, error: &io::Error, closed: usize) -> Duration {
        if self.count == 0 {
            tracing::error!(%error, closed, "cannot accept connections; trying on");
        }
        let wait = BACKOFF.saturating_mul(1 << self.count.min(16));
        self.count = self.count.saturating_add(1);
        wait.min(LONGEST_BACKOFF)
    }

    fn end(&mut self) {
        if self.count > 0 {
            tracing::info!(failures = self.count, "accepting connections again");
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_at_growing_intervals_until_one_succeeds() {
        let mut failures = Failures::default();
        let emfile = io::Error::from_raw_os_error(24);
        let mut waits = || failures.next(&emfile, 0).as_millis();
        let found = [(); 9].map(|()| waits());
        assert_eq!(found, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        failures.end();
        assert_eq!(failures.next(&emfile, 0), BACKOFF);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_accepted_is_asked_whether_it_is_still_there() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(addr).expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let _client = TcpStream::connect(addr).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().expect("it is open"));
        assert_eq!(
            accepted.tcp_keepalive_time().expect("it is open"),
            KEEPALIVE
        );
    }

    #[test]
    fn a_bind_error_says_address_and_cause_apart() {
        let addr = HttpSettings::default().addr;
        let source = io::Error::from_raw_os_error(98);
        let error = EndpointError::Bind { addr, source };
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:4000");
        let cause = std::error::Error::source(&error).expect("a cause");
        assert_eq!(cause.to_string(), "Address already in use (os error 98)");
    }
}
