//! On paused time, over real sockets: time passes when everybody waits for it.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use http_body_util::BodyExt;
use tokio::{net::TcpStream, task::yield_now};
use uptree_app::{Supervisor, Tree};

use super::*;
use crate::{Endpoint, HttpSettings, limits::BODY_PAUSE};

struct Served {
    endpoint: Endpoint,
    _tree: Tree,
}

impl Served {
    async fn start() -> Self {
        Self::with(Router::new()).await
    }

    /// With the gate open.
    async fn with(routes: Router) -> Self {
        let settings = HttpSettings {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..HttpSettings::default()
        };
        let endpoint = Endpoint::new(&settings).routes(routes);
        endpoint.connections().gate.set(Stage::Open);
        let tree = Supervisor::new("service").child(endpoint.clone());
        Self {
            _tree: tree.start().await.expect("it boots"),
            endpoint,
        }
    }

    /// A client, and its connection as the endpoint has it.
    async fn connect(&self) -> (TcpStream, Arc<Connection>) {
        let addr = self.endpoint.local_addr().expect("it runs");
        let client = TcpStream::connect(addr).await.expect("it listens");
        loop {
            if let [connection] = &self.endpoint.connections().list()[..] {
                return (client, Arc::clone(connection));
            }
            yield_now().await;
        }
    }
}

/// Waits without letting time pass.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

/// When the endpoint closes the connection.
async fn closed_after(client: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("FIN, no reset");
    start.elapsed()
}

#[track_caller]
fn check(found: Duration, expected: Duration) {
    // A timer's tick is a millisecond.
    let late = found.checked_sub(expected).expect("not before its time");
    assert!(
        late < Duration::from_millis(5),
        "{found:?}, not {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left() {
    let served = Served::start().await;
    let (mut client, _) = served.connect().await;
    check(closed_after(&mut client).await, SILENT_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_header_has_to_end_in_time_however_it_drips() {
    let served = Served::start().await;
    let (mut client, connection) = served.connect().await;
    client.write_all(b"GET /alive").await.expect("open");
    until(|| connection.in_header()).await;
    let start = Instant::now();
    let (mut reader, mut writer) = client.split();
    let drip = async {
        loop {
            sleep(HEADER_LIMIT / 7).await;
            writer.write_all(b"x").await.expect("open");
        }
    };
    let mut rest = Vec::new();
    tokio::select! {
        end = reader.read_to_end(&mut rest) => assert_eq!(end.expect("FIN, no reset"), 0),
        () = drip => {}
    }
    check(start.elapsed(), HEADER_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_longer_than_load_balancers_do() {
    let served = Served::start().await;
    let (mut client, connection) = served.connect().await;
    let ask = b"GET /alive HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(ask).await.expect("open");
    until(|| connection.answered()).await;
    let kept = closed_after(&mut client).await;
    assert!((IDLE_LIMIT..2 * IDLE_LIMIT).contains(&kept), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_its_side_is_left_after_a_moment() {
    let served = Served::start().await;
    let (client, connection) = served.connect().await;
    let start = Instant::now();
    connection.tell(Order::End);
    until(|| connection.is_parting()).await;
    drop(connection);
    served.endpoint.connections().all_gone().await;
    check(start.elapsed(), LINGER);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_does_not_answer_goaway_is_left_after_a_moment() {
    let served = Served::start().await;
    let (mut client, connection) = served.connect().await;
    // The preface and empty settings, and not a word after.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.write_all(hello).await.expect("open");
    until(|| connection.http2()).await;
    let start = Instant::now();
    connection.tell(Order::End);
    served.endpoint.connections().none_serving().await;
    check(start.elapsed(), GOODBYE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_the_time_for_a_goodbye_is_not_cut_with_it() {
    let long = 5 * GOODBYE_LIMIT;
    let slow = async move || {
        sleep(long).await;
        "slow"
    };
    let served = Served::with(Router::new().route("/", get(slow))).await;
    let (mut client, connection) = served.connect().await;
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.write_all(hello).await.expect("open");
    until(|| connection.http2()).await;
    connection.tell(Order::End);
    sleep(GOODBYE_LIMIT / 2).await;
    // GET / on stream 1, which the client may ask for until it has heard GOAWAY.
    let ask = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86";
    client.write_all(ask).await.expect("open");
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.expect("FIN, no reset");
    assert!(said.windows(4).any(|window| window == b"slow"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_preface_has_to_come_in_time_and_may_come_byte_by_byte() {
    let served = Served::start().await;
    for begin in [&b"P"[..], b"PR"] {
        let (mut client, connection) = served.connect().await;
        client.write_all(begin).await.expect("open");
        check(closed_after(&mut client).await, HEADER_LIMIT);
        drop(connection);
        served.endpoint.connections().all_gone().await;
    }
    let (mut client, connection) = served.connect().await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        client.write_all(&[*byte]).await.expect("open");
        sleep(Duration::from_millis(10)).await;
    }
    let mut said = [0; 9];
    client.read_exact(&mut said).await.expect("open");
    assert!(connection.http2());
    assert_eq!(said[3], 4, "settings");
}

/// How a body of nine bytes is answered that comes a byte at a time, with such a pause.
async fn body_with_pauses(pause: Duration) -> (String, Duration) {
    let routes = Router::new().route("/", post(async |body: String| body));
    let served = Served::with(routes).await;
    let (mut client, _) = served.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
    client.write_all(head).await.expect("open");
    let start = Instant::now();
    let (mut reader, mut writer) = client.split();
    let drip = async {
        for byte in b"body body" {
            writer.write_all(&[*byte]).await.expect("open");
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = String::new();
    tokio::select! {
        end = reader.read_to_string(&mut answer) => drop(end.expect("FIN, no reset")),
        () = drip => {}
    }
    (answer, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_stop() {
    let (answer, _) = body_with_pauses(BODY_PAUSE / 2).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (answer, took) = body_with_pauses(BODY_PAUSE * 2).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.contains("nothing of the body came for 30s"),
        "{answer}"
    );
    assert!(
        (BODY_PAUSE..BODY_PAUSE + LINGER * 2).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_looks_away_from_a_body_loses_nothing() {
    let routes = Router::new().route(
        "/",
        post(async |mut body: Body| {
            let first = body.frame().await.expect("a frame").expect("no error");
            let none = timeout(Duration::from_secs(1), body.frame()).await;
            assert!(none.is_err(), "it has not come yet");
            sleep(BODY_PAUSE * 3).await;
            let rest = body.collect().await.expect("no error").to_bytes();
            format!(
                "{} and {}",
                first.into_data().expect("data").len(),
                rest.len()
            )
        }),
    );
    let served = Served::with(routes).await;
    let (mut client, _) = served.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\nbody";
    client.write_all(head).await.expect("open");
    sleep(BODY_PAUSE / 2).await;
    client.write_all(b" body").await.expect("open");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("FIN");
    assert!(answer.ends_with("4 and 5"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_response_is_left() {
    // More than the sockets and HTTP buffer.
    const LONG: usize = 32 << 20;
    let routes = Router::new().route("/", get(async || "x".repeat(LONG)));
    let served = Served::with(routes).await;
    let (mut client, connection) = served.connect().await;
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(ask).await.expect("open");
    until(|| connection.is_blocked()).await;
    let start = Instant::now();
    let gone = served.endpoint.connections().none_serving();
    timeout(TAKE_PAUSE * 3, gone).await.expect("it is left");
    let took = start.elapsed();
    assert!((TAKE_PAUSE..=TAKE_PAUSE * 2).contains(&took), "{took:?}");
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_not() {
    const LONG: usize = 32 << 20;
    let routes = Router::new().route("/", get(async || "x".repeat(LONG)));
    let served = Served::with(routes).await;
    let (mut client, connection) = served.connect().await;
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    client.write_all(ask).await.expect("open");
    until(|| connection.is_blocked()).await;
    let mut taken = 0;
    let mut some = vec![0; 4 << 20];
    loop {
        sleep(TAKE_PAUSE * 9 / 10).await;
        let mut length = 0;
        while length < some.len() {
            match client.read(&mut some[length..]).await.expect("no reset") {
                0 => break,
                more => length += more,
            }
        }
        taken += length;
        if length == 0 {
            break;
        }
    }
    assert!(taken > LONG, "{taken}");
}
