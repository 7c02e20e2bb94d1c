//! Any bytes on the service's port: what comes back is HTTP, and the next client is served.

use std::{
    future::pending,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::OnceLock,
    thread,
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use tokio::runtime::Runtime;
use uptree_app::App;
use uptree_http::{AdminAddr, AdminSettings, Endpoint, HttpSettings, Ready};

/// Longer than anything takes that does not hang.
const LIMIT: Duration = Duration::from_secs(20);

/// A service that runs for as long as the process does.
struct Service {
    addr: SocketAddr,
    _runtime: Runtime,
}

/// Says `bytes` on a connection, and then nothing; reads what comes.
pub fn http(bytes: &[u8]) {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    let addr = SERVICE.get_or_init(start).addr;
    let answer = ask(addr, bytes, true);
    let is_http2 = bytes.starts_with(b"PRI");
    let is_http = answer.is_empty() || is_http2 || answer.starts_with(b"HTTP/1.");
    assert!(is_http, "{}", answer.escape_ascii());
    let alive = ask(
        addr,
        b"GET /alive HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        false,
    );
    assert!(
        alive.starts_with(b"HTTP/1.1 200"),
        "{}",
        alive.escape_ascii()
    );
}

fn start() -> Service {
    let runtime = Runtime::new().expect("a runtime can be built");
    let admin = AdminSettings {
        admin_addr: Some(AdminAddr::Off),
        ..AdminSettings::default()
    };
    let settings = HttpSettings {
        addr: (Ipv4Addr::LOCALHOST, 0).into(),
        body_limit: 1024,
        admin,
        ..HttpSettings::default()
    };
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: String| async { body }));
    let endpoint = Endpoint::new(&settings).routes(routes);
    let app = App::new("fuzzed")
        .child(endpoint.clone())
        .child(Ready::new(&endpoint));
    runtime.spawn(app.run_until(pending()));
    let addr = loop {
        match endpoint.local_addr() {
            Ok(addr)
                if ask(addr, b"GET / HTTP/1.0\r\n\r\n", false).starts_with(b"HTTP/1.0 200") =>
            {
                break addr;
            }
            _ => thread::sleep(Duration::from_millis(1)),
        }
    };
    Service {
        addr,
        _runtime: runtime,
    }
}

/// Says something, and that this is all if it `ends`: HTTP takes a client that has no more to say
/// before it is answered for one that has left.
fn ask(addr: SocketAddr, bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("it is open");
    stream.set_write_timeout(Some(LIMIT)).expect("it is open");
    let mut answer = Vec::new();
    // It may have heard enough.
    let said = stream.write_all(bytes);
    if ends {
        let _ = said.and_then(|()| stream.shutdown(Shutdown::Write));
    }
    if let Err(error) = stream.read_to_end(&mut answer) {
        let is_slow = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(
            !is_slow,
            "it neither answers nor closes: {}",
            bytes.escape_ascii()
        );
    }
    answer
}
