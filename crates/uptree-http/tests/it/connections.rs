//! Connections: whose they are, and what may come over them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::Request,
    http::{StatusCode, header},
    routing::{get, post},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, oneshot},
};
use uptree_app::{Context, IntoChild, Result, Shutdown, StopCause, Strategy, Supervisor, worker};
use uptree_http::{Endpoint, Ready};

use crate::{
    client::Client,
    service::{Service, settings, test},
};

fn routes() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
}

#[test]
fn a_killed_endpoint_leaves_no_connection_behind() {
    test(async {
        let (dropped, gone) = oneshot::channel::<()>();
        let dropped = Arc::new(std::sync::Mutex::new(Some(dropped)));
        let reached = Arc::new(Notify::new());
        let handler = {
            let reached = Arc::clone(&reached);
            async move || {
                let _dropped = dropped.lock().expect("no panic").take();
                reached.notify_one();
                std::future::pending::<()>().await;
            }
        };
        let endpoint = Endpoint::new(&settings()).routes(Router::new().route("/", get(handler)));
        let mut tree = Supervisor::new("service")
            .child(endpoint.clone().shutdown(Shutdown::BrutalKill))
            .child(Ready::new(&endpoint).shutdown(Shutdown::Infinity))
            .start()
            .await
            .expect("it boots");
        let addr = endpoint.local_addr().expect("it runs");
        let mut idle = Client::connect(addr).await;
        idle.get("/alive").await;
        let mut half = Client::connect(addr).await;
        half.send("GET /al").await;
        let mut busy = Client::connect(addr).await;
        busy.ask("GET", "/").await;
        reached.notified().await;
        // Not a shutdown: readiness does not drain, and the endpoint is killed.
        tree.stop(StopCause::Terminated);
        tree.wait().await.expect("an orderly stop");
        gone.await.expect_err("the handler has been dropped");
        for client in [&mut idle, &mut half, &mut busy] {
            assert!(client.next_response().await.is_err());
        }
        assert!(TcpStream::connect(addr).await.is_err());
        assert!(endpoint.local_addr().is_err());
    });
}

#[test]
fn slow_clients_do_not_hold_up_the_probes() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut slow = Vec::new();
        for number in 0..500 {
            let mut client = service.connect().await;
            client
                .send(&format!("GET /slow/{number} HTTP/1.1\r\nx: "))
                .await;
            slow.push(client);
        }
        let mut took = Vec::new();
        for _ in 0..21 {
            let start = Instant::now();
            let alive = service.connect().await.get("/alive").await;
            assert_eq!(alive.status, 200);
            took.push(start.elapsed());
        }
        took.sort();
        assert!(took[10] < Duration::from_millis(100), "{took:?}");
    });
}

#[test]
fn a_header_without_end_is_refused() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        client.send("GET /hello HTTP/1.1\r\nx: ").await;
        client.send(&"x".repeat(80 * 1024)).await;
        assert_eq!(client.response().await.status, 431);
        client.end().await.expect("FIN, though not all was read");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        let request = |path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let [one, two, three] = ["/hello", "/alive", "/nowhere"].map(request);
        client.send(&format!("{one}{two}{three}")).await;
        assert_eq!(client.response().await.body, "hello");
        assert_eq!(client.response().await.body, "alive");
        assert_eq!(client.response().await.status, 404);
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        // It begins like HTTP/2's preface.
        let request = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
        for byte in request.chars() {
            client.send(&byte.to_string()).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.body, "3");
    });
}

#[test]
fn a_head_is_answered_like_a_get_without_its_body() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        for (path, status, length) in [
            ("/alive", 200, Some("5")),
            ("/ready", 200, Some("5")),
            ("/hello", 200, Some("5")),
            ("/nowhere", 404, None),
        ] {
            client.ask("HEAD", path).await;
            let head = client.head().await.expect("a head");
            assert_eq!(head.status, status, "{path}");
            assert!(length.is_none_or(|length| head.header("content-length") == Some(length)));
        }
        // Nothing of a body is in the way.
        assert_eq!(client.get("/hello").await.body, "hello");
    });
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        let ask = "POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n";
        client
            .send(&format!("{ask}content-length: 3\r\n\r\n"))
            .await;
        assert_eq!(client.head().await.expect("a head").status, 100);
        client.send("abc").await;
        assert_eq!(client.response().await.body, "3");
        // A body that will not be taken is not asked for.
        client
            .send(&format!("{ask}content-length: 3000000\r\n\r\n"))
            .await;
        assert_eq!(client.response().await.status, 413);
    });
}

#[test]
fn a_refused_body_does_not_cost_its_client_the_answer() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        // It is all sent before the answer is looked at.
        let body = "x".repeat(5 << 20);
        let refused = client.post("/length", "text/plain", &body).await;
        assert_eq!(refused.problem()["status"], 413);
    });
}

#[test]
fn a_connection_can_be_handed_over_to_another_protocol() {
    test(async {
        let upgrade = async |mut request: Request| {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let upgraded = upgraded.await.expect("the client agrees");
                let mut stream = TokioIo::new(upgraded);
                stream.write_all(b"hello").await.expect("it is open");
            });
            let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "hello")];
            (StatusCode::SWITCHING_PROTOCOLS, headers)
        };
        let routes = Router::new().route("/", get(upgrade));
        let service = Service::start(settings(), routes).await;
        let mut client = service.connect().await;
        client
            .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: hello\r\n\r\n")
            .await;
        assert_eq!(client.head().await.expect("a head").status, 101);
        assert_eq!(client.take(5).await.expect("five bytes"), "hello");
        client.end().await.expect("a clean end");
    });
}

#[test]
fn an_endpoint_that_is_restarted_with_the_others_does_not_wait_for_its_clients() {
    test(async {
        let reached = Arc::new(Notify::new());
        let handler = {
            let reached = Arc::clone(&reached);
            async move || {
                reached.notify_one();
                std::future::pending::<()>().await;
            }
        };
        let endpoint = Endpoint::new(&settings()).routes(routes().route("/slow", get(handler)));
        let crash = Arc::new(Notify::new());
        let pool = async |crash: Arc<Notify>, _: Context| -> Result {
            crash.notified().await;
            Err("crashed".into())
        };
        let _tree = Supervisor::new("service")
            .strategy(Strategy::OneForAll)
            .child(endpoint.clone())
            .child(worker("pool", Arc::clone(&crash), pool))
            .child(Ready::new(&endpoint))
            .start()
            .await
            .expect("it boots");
        let addr = endpoint.local_addr().expect("it runs");
        let mut idle = Client::connect(addr).await;
        idle.get("/hello").await;
        let mut busy = Client::connect(addr).await;
        busy.ask("GET", "/slow").await;
        reached.notified().await;
        let start = Instant::now();
        crash.notify_one();
        idle.end().await.expect("FIN");
        assert!(busy.next_response().await.is_err());
        loop {
            if let Ok(addr) = endpoint.local_addr()
                && TcpStream::connect(addr).await.is_ok()
                && Client::connect(addr).await.get("/hello").await.status == 200
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn the_probes_are_the_endpoints_own() {
    test(async {
        let middleware = axum::middleware::from_fn(async |_: Request, _| StatusCode::UNAUTHORIZED);
        let routes = routes()
            .route("/alive", get(|| async { "the app's" }))
            .layer(middleware);
        let service = Service::start(settings(), routes).await;
        let mut client = service.connect().await;
        assert_eq!(client.get("/hello").await.status, 401);
        let alive = client.get("/alive?x=1").await;
        assert_eq!((alive.status, &*alive.body), (200, "alive"));
        assert_eq!(alive.header("cache-control"), Some("no-store"));
        client.ask("POST", "/ready").await;
        let refused = client.response().await;
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    });
}
