//! HTTP/2 with prior knowledge, on the same port.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode},
    routing::get,
};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::Instant,
};

use crate::{
    frames::{Frames, Said},
    service::{Service, settings, test},
};

pub(crate) struct Client {
    pub(crate) requests: SendRequest<Body>,
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("somebody listens");
        Self::over(stream).await
    }

    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (requests, connection) = shaken.expect("HTTP/2 is spoken");
        let connection = tokio::spawn(connection);
        Self {
            requests,
            connection,
        }
    }

    pub(crate) fn get(
        &self,
        path: &str,
    ) -> impl Future<Output = hyper::Result<(StatusCode, Bytes)>> + use<> {
        let request = Request::get(format!("http://test{path}"));
        let request = request.body(Body::empty()).expect("a request");
        let mut requests = self.requests.clone();
        async move {
            let response = requests.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?;
            Ok((status, body.to_bytes()))
        }
    }
}

pub(crate) fn routes(reached: &Arc<Notify>, release: &Arc<Notify>) -> Router {
    let (reached, release) = (Arc::clone(reached), Arc::clone(release));
    let slow = async move || {
        reached.notify_one();
        release.notified().await;
        "slow"
    };
    Router::new()
        .route("/slow", get(slow))
        .route("/panic", get(|| async { panic!("at once") as &str }))
}

fn with_hello(reached: &Arc<Notify>, release: &Arc<Notify>) -> Router {
    routes(reached, release).route("/hello", get(|| async { "hello" }))
}

#[test]
fn requests_of_one_connection_are_served_side_by_side() {
    test(async {
        let [reached, release] = [(); 2].map(|()| Arc::new(Notify::new()));
        let service = Service::start(settings(), with_hello(&reached, &release)).await;
        let client = Client::connect(service.addr).await;
        let slow = tokio::spawn(client.get("/slow"));
        reached.notified().await;
        let hello = client.get("/hello").await.expect("a response");
        assert_eq!(hello, (StatusCode::OK, "hello".into()));
        let alive = client.get("/alive").await.expect("a response");
        assert_eq!(alive, (StatusCode::OK, "alive".into()));
        let (status, _) = client.get("/panic").await.expect("a response");
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        release.notify_one();
        let slow = slow.await.expect("no panic").expect("a response");
        assert_eq!(slow, (StatusCode::OK, "slow".into()));
    });
}

#[test]
fn at_a_stop_what_is_in_flight_is_finished_and_the_connection_goes_away() {
    test(async {
        let [reached, release] = [(); 2].map(|()| Arc::new(Notify::new()));
        let service = Service::start(settings(), with_hello(&reached, &release)).await;
        let busy = Client::connect(service.addr).await;
        let slow = tokio::spawn(busy.get("/slow"));
        reached.notified().await;
        let idle = Client::connect(service.addr).await;
        idle.get("/hello").await.expect("a response");
        service.stop();
        service.until_ready_says("stopping").await;
        idle.connection
            .await
            .expect("no panic")
            .expect("GOAWAY, and a clean end");
        assert!(service.pool.is_up());
        release.notify_one();
        let slow = slow.await.expect("no panic").expect("a response");
        assert_eq!(slow, (StatusCode::OK, "slow".into()));
        busy.connection
            .await
            .expect("no panic")
            .expect("GOAWAY, and a clean end");
        service.stopped().await;
    });
}

#[test]
fn over_the_drain_delay_a_busy_connection_is_told_to_go_and_loses_nothing() {
    test(async {
        let [reached, release] = [(); 2].map(|()| Arc::new(Notify::new()));
        let settings = uptree_http::HttpSettings {
            drain_delay: Some(Duration::from_millis(400)),
            ..settings()
        };
        let asked = Arc::new(AtomicU32::new(0));
        let count = {
            let asked = Arc::clone(&asked);
            async move || asked.fetch_add(1, Ordering::SeqCst).to_string()
        };
        let routes = with_hello(&reached, &release).route("/count", get(count));
        let service = Service::start(settings, routes).await;
        let client = Client::connect(service.addr).await;
        client.get("/count").await.expect("a response");
        service.stop();
        // Until GOAWAY is heard; from then on the client does not send what it is asked to.
        let mut answered = 1;
        while let Ok((status, _)) = client.get("/count").await {
            assert_eq!(status, StatusCode::OK);
            answered += 1;
        }
        client
            .connection
            .await
            .expect("no panic")
            .expect("a clean end");
        assert_eq!(
            answered,
            asked.load(Ordering::SeqCst),
            "every request was answered"
        );
        // A new connection is not told before it has had an answer.
        let new = Client::connect(service.addr).await;
        let hello = new.get("/hello").await.expect("a response");
        assert_eq!(hello, (StatusCode::OK, "hello".into()));
        new.connection
            .await
            .expect("no panic")
            .expect("a clean end");
        service.stopped().await;
    });
}

#[test]
fn who_takes_no_notice_of_the_goaway_of_a_drain_delay_is_served_until_the_gate_closes() {
    test(async {
        let delay = Duration::from_millis(500);
        let settings = uptree_http::HttpSettings {
            drain_delay: Some(delay),
            ..settings()
        };
        let routes = Router::new().route("/hello", get(|| async { "hello" }));
        let service = Service::start(settings, routes).await;
        let mut client = Frames::connect(service.addr).await;
        client.answered(1, "/hello").await;
        let began = Instant::now();
        service.stop();
        let (mut last, mut notices) = (1, 0);
        // Two at a time, so that the notice comes between the frames of answers.
        let ping = 'told: loop {
            client.get(last + 2, "/hello").await;
            client.get(last + 4, "/hello").await;
            last += 4;
            let mut ends = 0;
            while ends < 2 {
                match client.said().await {
                    Said::Head(_, fine) => assert!(fine),
                    Said::End(_) => ends += 1,
                    // Whatever it asks is served.
                    Said::GoAway(stream) => {
                        assert_eq!(stream, u32::MAX >> 1);
                        notices += 1;
                    }
                    Said::Ping(ping) => break 'told ping,
                }
            }
        };
        // Once in the delay, and once when it is over: now in earnest.
        assert_eq!(notices, 2);
        assert!(began.elapsed() >= delay);
        client.pong(ping).await;
        loop {
            match client.said().await {
                Said::Head(_, fine) => assert!(fine),
                Said::End(_) => {}
                said => break assert_eq!(said, Said::GoAway(last)),
            }
        }
        while let Ok(said) = client.next().await {
            assert!(matches!(said, Said::Head(_, true) | Said::End(_)));
        }
        service.stopped().await;
    });
}
