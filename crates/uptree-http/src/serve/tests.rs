//! On paused time, over real sockets: time passes when everybody waits for it.

use std::net::SocketAddr;

use tokio::{net::TcpStream, task::yield_now};
use uptree_app::{Supervisor, Tree};

use super::*;
use crate::{Endpoint, HttpSettings};

struct Served {
    endpoint: Endpoint,
    _tree: Tree,
}

impl Served {
    async fn start() -> Self {
        let settings = HttpSettings {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..HttpSettings::default()
        };
        let endpoint = Endpoint::new(&settings);
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
