//! The way down.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use http_body::Frame;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    task::JoinSet,
};
use uptree_http::HttpSettings;

use crate::{
    client::Client,
    service::{Pool, Service, settings, test},
};

/// A handler that says when it is reached, waits, and tells how it finds the pool.
#[derive(Clone, Default)]
struct Slow {
    reached: Arc<Notify>,
    release: Arc<Notify>,
}

impl Slow {
    fn routes(&self, pool: &Pool) -> Router {
        let (slow, pool) = (self.clone(), pool.clone());
        let handler = async move || {
            slow.reached.notify_one();
            slow.release.notified().await;
            if pool.is_up() { "up" } else { "down" }
        };
        Router::new()
            .route("/slow", get(handler))
            .route("/hello", get(|| async { "hello" }))
            .route("/echo", post(async |body: String| body))
    }

    async fn start(&self, settings: HttpSettings) -> Service {
        Service::start_with(settings, |pool| self.routes(pool)).await
    }
}

fn with_delay(delay: Duration) -> HttpSettings {
    HttpSettings {
        drain_delay: Some(delay),
        ..settings()
    }
}

#[test]
fn a_request_in_flight_is_finished_before_the_pool_stops() {
    test(async {
        let slow = Slow::default();
        let service = slow.start(settings()).await;
        let mut client = service.connect().await;
        client.ask("GET", "/slow").await;
        slow.reached.notified().await;
        service.stop();
        service.until_ready_says("stopping").await;
        slow.release.notify_one();
        let response = client.response().await;
        assert_eq!((response.status, &*response.body), (200, "up"));
        assert!(response.closes());
        client.end().await.expect("FIN");
        service.stopped().await;
    });
}

/// A body that is sent as it comes.
struct Stream(mpsc::Receiver<&'static str>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let text = self.0.poll_recv(cx);
        text.map(|text| text.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

#[test]
fn a_request_is_in_flight_until_the_last_byte_of_its_body() {
    test(async {
        let (send, receive) = mpsc::channel(1);
        let body = Arc::new(std::sync::Mutex::new(Some(receive)));
        let handler = async move || {
            let body = body.lock().expect("no panic").take();
            Body::new(Stream(body.expect("asked for once")))
        };
        let routes = Router::new().route("/stream", get(handler));
        let service = Service::start(settings(), routes).await;
        let pool = service.pool.clone();
        let mut client = service.connect().await;
        client.ask("GET", "/stream").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        send.send("one").await.expect("it is read");
        assert_eq!(client.chunk().await.expect("a chunk"), "one");
        service.stop();
        service.until_ready_says("stopping").await;
        send.send("two").await.expect("it is read");
        assert_eq!(client.chunk().await.expect("a chunk"), "two");
        assert!(pool.is_up());
        drop(send);
        assert_eq!(client.chunk().await.expect("the last chunk"), "");
        client.end().await.expect("FIN");
        service.stopped().await;
        assert!(!pool.is_up());
    });
}

#[test]
fn idle_connections_end_at_once_and_cleanly() {
    test(async {
        let service = Slow::default().start(settings()).await;
        let mut used = service.connect().await;
        assert_eq!(used.get("/hello").await.body, "hello");
        let mut silent = service.connect().await;
        let mut half = service.connect().await;
        half.send("GET /hello HTTP/1.1\r\nho").await;
        let mut half_of_the_second = service.connect().await;
        half_of_the_second.get("/hello").await;
        half_of_the_second.send("GET /hel").await;
        let start = Instant::now();
        service.stop();
        for client in [&mut used, &mut silent, &mut half, &mut half_of_the_second] {
            client.end().await.expect("FIN, no reset");
        }
        service.stopped().await;
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn with_nobody_connected_a_stop_takes_no_time() {
    test(async {
        let service = Slow::default().start(settings()).await;
        let start = Instant::now();
        service.stop();
        service.stopped().await;
        let took = start.elapsed();
        assert!(took < Duration::from_millis(100), "{took:?}");
    });
}

#[test]
fn a_client_that_never_closes_its_side_does_not_hold_the_stop() {
    test(async {
        let service = Slow::default().start(settings()).await;
        let mut client = service.connect().await;
        client.get("/hello").await;
        let start = Instant::now();
        service.stop();
        service.stopped().await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        client.end().await.expect("FIN");
    });
}

#[test]
fn through_the_drain_delay_requests_are_served_and_each_connection_is_told_once() {
    test(async {
        const CLIENTS: u32 = 3;
        let delay = Duration::from_secs(3);
        let service = Slow::default().start(with_delay(delay)).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = service.connect().await;
            client.get("/hello").await;
            clients.push(client);
        }
        let start = Instant::now();
        service.stop();
        service.until_ready_says("draining").await;
        let mut told = JoinSet::new();
        for mut client in clients {
            told.spawn(async move {
                loop {
                    let response = client.get("/hello").await;
                    assert_eq!(response.body, "hello");
                    if response.closes() {
                        return start.elapsed();
                    }
                }
            });
        }
        let mut moments = told.join_all().await;
        moments.sort();
        for (index, &moment) in (0..).zip(&moments) {
            // The probes' own connections may have had a share.
            let due = delay * index / (CLIENTS + 2);
            assert!(moment >= due, "{moments:?}");
        }
        assert!(moments[CLIENTS as usize - 1] < delay, "{moments:?}");
        // A new connection is told with its first response, which is served.
        let mut client = service.connect().await;
        let response = client.get("/hello").await;
        assert_eq!((&*response.body, response.closes()), ("hello", true));
        drop(client);
        service.stopped().await;
        assert!(start.elapsed() >= delay);
    });
}

#[test]
fn a_client_that_takes_no_notice_loses_no_request_before_the_gate_closes() {
    test(async {
        let delay = Duration::from_secs(2);
        let service = Slow::default().start(with_delay(delay)).await;
        let mut clients = Vec::new();
        for posts in [false, true] {
            let mut client = service.connect().await;
            client.get("/hello").await;
            clients.push((client, posts));
        }
        let start = Instant::now();
        service.stop();
        let mut told = JoinSet::new();
        for (mut client, posts) in clients {
            told.spawn(async move {
                let mut told = 0;
                while start.elapsed() < delay {
                    let response = match posts {
                        false => client.get("/hello").await,
                        true => client.post("/echo", "text/plain", "hello").await,
                    };
                    assert_eq!((response.status, &*response.body), (200, "hello"));
                    told += u32::from(response.closes());
                }
                (client, told)
            });
        }
        for (mut client, told) in told.join_all().await {
            // Once in the delay, and with the last response of all.
            assert!((1..=2).contains(&told), "{told}");
            client.end().await.expect("FIN");
        }
        service.stopped().await;
    });
}

#[test]
fn a_client_that_waits_for_the_end_of_its_connection_gets_it() {
    test(async {
        let service = Slow::default()
            .start(with_delay(Duration::from_secs(60)))
            .await;
        service.stop();
        service.until_ready_says("draining").await;
        let mut waits = service.connect().await;
        assert!(waits.get("/hello").await.closes());
        let mut asks_for_it = service.connect().await;
        let start = Instant::now();
        asks_for_it
            .send("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        assert!(asks_for_it.response().await.closes());
        asks_for_it.end().await.expect("FIN");
        assert!(start.elapsed() < Duration::from_millis(500), "at once");
        waits.end().await.expect("FIN");
        service.tree.stopper().hurry();
        service.stopped().await;
    });
}

#[test]
fn what_was_sent_ahead_of_a_farewell_is_never_taken_for_the_middle_of_a_request() {
    test(async {
        let service = Slow::default()
            .start(with_delay(Duration::from_secs(60)))
            .await;
        service.stop();
        service.until_ready_says("draining").await;
        let hello = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
        let echo = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n";
        let mut client = service.connect().await;
        // The second request's header comes with the first request, its body after the farewell.
        client.send(&format!("{hello}{echo}")).await;
        assert!(client.response().await.closes());
        client.send(hello).await;
        client.end().await.expect("FIN, and no answer");
        service.tree.stopper().hurry();
        service.stopped().await;
    });
}

#[test]
fn after_the_gate_has_closed_old_connections_have_a_last_request_and_new_ones_none() {
    test(async {
        let slow = Slow::default();
        let service = slow.start(settings()).await;
        let mut busy = service.connect().await;
        busy.ask("GET", "/slow").await;
        slow.reached.notified().await;
        let mut old = service.connect().await;
        old.get("/hello").await;
        service.stop();
        service.until_ready_says("draining").await;
        let mut new = service.connect().await;
        let refused = new.get("/hello").await;
        assert_eq!(refused.problem()["status"], 503);
        assert!(refused.closes());
        let last = old.get("/hello").await;
        assert_eq!((last.status, last.closes()), (200, true));
        old.end().await.expect("FIN");
        slow.release.notify_one();
        assert_eq!(busy.response().await.body, "up");
        service.stopped().await;
    });
}

#[test]
fn while_the_rest_stops_the_probes_answer_and_the_routes_do_not() {
    test(async {
        let service = Slow::default().start(settings()).await;
        service.pool.hold();
        service.stop();
        service.pool.stopping().await;
        let mut client = service.connect().await;
        let alive = client.get("/alive").await;
        assert_eq!((alive.status, alive.closes()), (200, true));
        let mut client = service.connect().await;
        let ready = client.get("/ready").await;
        assert_eq!((ready.status, &*ready.body), (503, "stopping"));
        let mut client = service.connect().await;
        assert_eq!(client.get("/hello").await.problem()["status"], 503);
        let addr = service.addr;
        service.pool.release();
        service.stopped().await;
        let refused = TcpStream::connect(addr).await;
        assert!(refused.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_restart_behind_the_endpoint_does_not_drain() {
    test(async {
        let slow = Slow::default();
        let service = slow.start(with_delay(Duration::from_secs(15))).await;
        let mut client = service.connect().await;
        assert_eq!(client.get("/hello").await.body, "hello");
        let mut busy = service.connect().await;
        busy.ask("GET", "/slow").await;
        slow.reached.notified().await;
        let start = Instant::now();
        service.pool.crash();
        // On the connection that was open before; it is never told to close.
        let mut refused = false;
        loop {
            let response = client.get("/hello").await;
            assert!(!response.closes());
            match response.status {
                200 if refused => break,
                // The crash has not been noticed yet, or it is over and was never seen.
                200 if start.elapsed() > Duration::from_millis(200) => break,
                200 => {}
                503 => refused = true,
                status => panic!("{status}"),
            }
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        slow.release.notify_one();
        assert_eq!(busy.response().await.status, 200, "it was left alone");
        client.get("/hello").await;
    });
}

#[test]
fn a_second_signal_skips_the_delay() {
    test(async {
        let service = Slow::default()
            .start(with_delay(Duration::from_secs(60)))
            .await;
        let mut client = service.connect().await;
        client.get("/hello").await;
        service.stop();
        service.until_ready_says("draining").await;
        service.tree.stopper().hurry();
        client.end().await.expect("FIN");
        service.stopped().await;
    });
}

#[test]
fn what_is_in_flight_beyond_the_limit_is_cut() {
    test(async {
        let settings = HttpSettings {
            drain_limit: Duration::from_millis(200),
            ..settings()
        };
        let slow = Slow::default();
        let service = slow.start(settings).await;
        let mut client = service.connect().await;
        client.ask("GET", "/slow").await;
        slow.reached.notified().await;
        let start = Instant::now();
        service.stop();
        assert!(client.next_response().await.is_err(), "it is cut");
        service.stopped().await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(200), "{took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn a_response_that_the_client_is_slow_to_take_is_not_lost() {
    test(async {
        // More than the sockets and HTTP buffer.
        const LONG: usize = 8 << 20;
        let body = || async { "x".repeat(LONG) };
        let routes = Router::new().route("/long", get(body));
        let service = Service::start(settings(), routes).await;
        let mut client = service.connect().await;
        client.ask("GET", "/long").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        service.stop();
        service.until_ready_says("stopping").await;
        let mut rest = LONG;
        while rest > 0 {
            let part = rest.min(100_000);
            client.take(part).await.expect("the rest of it");
            rest -= part;
        }
        client.end().await.expect("FIN");
        service.stopped().await;
    });
}

#[test]
fn clients_that_go_on_through_a_stop_lose_no_request() {
    test(async {
        for _ in 0..20 {
            let service = Slow::default().start(settings()).await;
            let mut clients = JoinSet::new();
            for _ in 0..8 {
                let mut client: Client = service.connect().await;
                client.get("/alive").await;
                clients.spawn(async move {
                    loop {
                        client.ask("GET", "/hello").await;
                        let response = client.response().await;
                        assert_eq!(response.status, 200);
                        if response.closes() {
                            return;
                        }
                    }
                });
            }
            service.stop();
            clients.join_all().await;
            service.stopped().await;
        }
    });
}
