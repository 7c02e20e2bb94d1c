//! Connections that the app takes over, with a real websocket client, over HTTP/1.1 and HTTP/2.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{
        Request,
        ws::{CloseFrame, Message as Said, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{Method, StatusCode, header},
    response::Response,
    routing::{any, get},
};
use futures_util::{SinkExt, StreamExt};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        protocol::{Role, frame::coding::CloseCode},
    },
};
use uptree_app::{IntoChild, Shutdown, StopCause, Supervisor};
use uptree_http::{Endpoint, GoingAway, HttpSettings, Ready};

use crate::{
    client::Client,
    http2,
    service::{Service, settings, test},
};

/// Echoes until it is told to go, and then says so and waits for the client's answer.
async fn polite(mut socket: WebSocket, going_away: GoingAway) {
    let mut told = false;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Some(Ok(message)) = message else { return };
                if !told && socket.send(message).await.is_err() {
                    return;
                }
            }
            () = going_away.wait(), if !told => {
                told = true;
                let close = CloseFrame { code: close_code::AWAY, reason: "".into() };
                socket.send(Said::Close(Some(close))).await.expect("it is open");
            }
        }
    }
}

/// Echoes, and takes no notice.
async fn stubborn(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

pub(crate) fn routes() -> Router {
    let polite_one = async |upgrade: WebSocketUpgrade, going_away| -> Response {
        upgrade.on_upgrade(|socket| polite(socket, going_away))
    };
    let stubborn_one =
        async |upgrade: WebSocketUpgrade| -> Response { upgrade.on_upgrade(stubborn) };
    Router::new()
        .route("/polite", any(polite_one))
        .route("/stubborn", any(stubborn_one))
        .route("/hello", get(|| async { "hello" }))
}

async fn connect(service: &Service, path: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(service.addr).await.expect("it listens");
    let (socket, response) = client_async(format!("ws://test{path}"), stream)
        .await
        .expect("a websocket");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    socket
}

async fn connect_http2(
    client: &mut http2::Client,
    path: &str,
) -> WebSocketStream<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .extension(Protocol::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .uri(format!("http://test{path}"))
        .body(Body::empty())
        .expect("a request");
    let response = client.requests.send_request(request).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(response).await.expect("a websocket");
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

pub(crate) async fn echoes<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    socket.send("hello".into()).await.expect("it is open");
    let echo = socket.next().await.expect("a message").expect("no error");
    assert_eq!(echo, Message::text("hello"));
}

/// The server says that it goes away.
async fn is_told<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let message = socket.next().await.expect("a message").expect("no error");
    let Message::Close(Some(close)) = message else {
        panic!("{message:?}");
    };
    assert_eq!(close.code, CloseCode::Away);
}

/// The server says that it goes away, and the closing handshake is made.
pub(crate) async fn is_left<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    is_told(socket).await;
    match socket.next().await {
        None => {}
        end => panic!("{end:?}"),
    }
}

fn with_limit(limit: Duration) -> HttpSettings {
    HttpSettings {
        drain_limit: limit,
        ..settings()
    }
}

#[test]
fn a_websocket_is_told_that_the_service_goes_away() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut socket = connect(&service, "/polite").await;
        echoes(&mut socket).await;
        let start = Instant::now();
        service.stop();
        is_left(&mut socket).await;
        service.stopped().await;
        assert!(start.elapsed() < settings().drain_limit);
    });
}

#[test]
fn over_http2_too() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = http2::Client::connect(service.addr).await;
        let mut one = connect_http2(&mut client, "/polite").await;
        let mut other = connect_http2(&mut client, "/polite").await;
        echoes(&mut one).await;
        echoes(&mut other).await;
        let start = Instant::now();
        service.stop();
        is_told(&mut one).await;
        is_told(&mut other).await;
        // The answer. The stream may be reset without an error then: the handler looks no further.
        while let Some(Ok(_)) = one.next().await {}
        while let Some(Ok(_)) = other.next().await {}
        let end = client.connection.await.expect("no panic");
        end.expect("GOAWAY, and a clean end");
        service.stopped().await;
        assert!(start.elapsed() < settings().drain_limit);
    });
}

#[test]
fn a_websocket_is_waited_for_before_the_pool_stops() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut one = connect(&service, "/stubborn").await;
        let mut client = http2::Client::connect(service.addr).await;
        let mut two = connect_http2(&mut client, "/stubborn").await;
        service.stop();
        service.until_ready_says("stopping").await;
        echoes(&mut one).await;
        echoes(&mut two).await;
        assert!(service.pool.is_up());
        one.close(None).await.expect("it is open");
        while one.next().await.is_some() {}
        echoes(&mut two).await;
        assert!(service.pool.is_up());
        // The stream may be reset without an error when the handler has answered.
        let _ = two.close(None).await;
        while let Some(Ok(_)) = two.next().await {}
        service.stopped().await;
    });
}

#[test]
fn a_websocket_that_does_not_end_in_time_is_cut() {
    test(async {
        let limit = Duration::from_millis(300);
        let service = Service::start(with_limit(limit), routes()).await;
        let mut one = connect(&service, "/stubborn").await;
        let mut client = http2::Client::connect(service.addr).await;
        let mut two = connect_http2(&mut client, "/stubborn").await;
        echoes(&mut one).await;
        echoes(&mut two).await;
        let start = Instant::now();
        service.stop();
        // No closing handshake.
        assert!(matches!(
            one.next().await,
            Some(Err(Error::Protocol(_) | Error::Io(_)))
        ));
        assert!(matches!(
            two.next().await,
            Some(Err(Error::Protocol(_) | Error::Io(_)))
        ));
        service.stopped().await;
        let took = start.elapsed();
        assert!(took >= limit, "{took:?}");
        assert!(took < limit + Duration::from_secs(2), "{took:?}");
    });
}

/// A route that takes the connection over and keeps it in a task of nobody's, without looking at
/// it; the second half says when it has it, the sender lets it look.
fn keeper() -> (
    Router,
    oneshot::Receiver<()>,
    oneshot::Sender<oneshot::Sender<bool>>,
) {
    let (has_it, taken) = oneshot::channel();
    let (look, asked) = oneshot::channel::<oneshot::Sender<bool>>();
    let both = Arc::new(Mutex::new(Some((has_it, asked))));
    let keep = async move |mut request: Request| {
        let upgraded = hyper::upgrade::on(&mut request);
        let (has_it, asked) = both.lock().expect("no panic").take().expect("asked once");
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.expect("the client agrees"));
            has_it.send(()).expect("the test waits");
            let answer = asked.await.expect("the test asks");
            let mut byte = [0];
            let read = stream.read(&mut byte).await.is_ok_and(|length| length > 0);
            let written = stream.write(b"x").await.is_ok();
            answer.send(read || written).expect("the test waits");
        });
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "x")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    };
    (Router::new().route("/", get(keep)), taken, look)
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

#[test]
fn a_connection_is_cut_though_nobody_looks_at_it() {
    test(async {
        let (routes, taken, look) = keeper();
        let limit = Duration::from_millis(100);
        let service = Service::start(with_limit(limit), routes).await;
        let mut client = service.connect().await;
        client.send(UPGRADE).await;
        assert_eq!(client.head().await.expect("a head").status, 101);
        taken.await.expect("it is taken over");
        service.stop();
        assert!(client.take(1).await.is_err(), "it has ended");
        service.stopped().await;
        let (answer, works) = oneshot::channel();
        look.send(answer).expect("it waits");
        assert!(!works.await.expect("an answer"), "the app finds it cut");
    });
}

#[test]
fn a_killed_endpoint_leaves_no_websocket_behind() {
    test(async {
        let (routes, taken, _look) = keeper();
        let endpoint = Endpoint::new(&settings()).routes(routes);
        let mut tree = Supervisor::new("service")
            .child(endpoint.clone().shutdown(Shutdown::BrutalKill))
            .child(Ready::new(&endpoint).shutdown(Shutdown::Infinity))
            .start()
            .await
            .expect("it boots");
        let mut client = Client::connect(endpoint.local_addr().expect("it runs")).await;
        client.send(UPGRADE).await;
        assert_eq!(client.head().await.expect("a head").status, 101);
        taken.await.expect("it is taken over");
        tree.stop(StopCause::Terminated);
        tree.wait().await.expect("an orderly stop");
        assert!(client.take(1).await.is_err(), "it has ended");
    });
}

#[test]
fn a_restart_behind_the_endpoint_leaves_websockets_alone() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut socket = connect(&service, "/polite").await;
        echoes(&mut socket).await;
        service.pool.crash();
        service.pool.has_crashed().await;
        service.until_ready_says("ready").await;
        echoes(&mut socket).await;
    });
}

#[test]
fn a_client_that_vanishes_is_not_waited_for() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut socket = connect(&service, "/polite").await;
        echoes(&mut socket).await;
        drop(socket);
        let mut client = http2::Client::connect(service.addr).await;
        let mut socket = connect_http2(&mut client, "/polite").await;
        echoes(&mut socket).await;
        client.connection.abort();
        drop((socket, client));
        let start = Instant::now();
        service.stop();
        service.stopped().await;
        assert!(start.elapsed() < settings().drain_limit);
    });
}

#[test]
fn a_tunnel_that_is_refused_does_not_hold_up_a_stop() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        client
            .send("CONNECT /hello HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
        let refused = client.head().await.expect("a head");
        assert!((400..500).contains(&refused.status), "{refused:?}");
        let start = Instant::now();
        service.stop();
        service.stopped().await;
        assert!(start.elapsed() < settings().drain_limit);
    });
}
