//! The probes, in an app.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    middleware::{Next, from_fn},
    routing::{any, get},
};
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use uptree_app::{
    App, Context, HealthCheck, IntoChild, Result, Starting, Supervisor, service, worker,
};
use uptree_http::{Endpoint, HttpSettings, Ready};

use crate::{
    client::{Client, Response},
    service::{settings, test},
};

/// Runs an app with an endpoint before, and readiness after, what is given, while somebody looks at
/// it; then drains it.
pub(crate) async fn run(
    settings: HttpSettings,
    routes: Router,
    children: impl FnOnce(App) -> App,
    look: impl AsyncFnOnce(SocketAddr),
) {
    let endpoint = Endpoint::new(&settings).routes(routes);
    let app = children(App::new("app").child(endpoint.clone())).child(Ready::new(&endpoint));
    let looked = async {
        let addr = loop {
            match endpoint.local_addr() {
                Ok(addr) => break addr,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        look(addr).await;
    };
    assert_eq!(app.run_until(looked).await.code(), 0);
}

async fn ask(addr: SocketAddr, path: &str) -> Response {
    Client::connect(addr).await.get(path).await
}

async fn ask_json(addr: SocketAddr, path: &str) -> (u16, Value) {
    let mut client = Client::connect(addr).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    client.send(&request).await;
    let response = client.response().await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = serde_json::from_str(&response.body).expect("JSON");
    (response.status, body)
}

/// Asks until the first line of the answer is this.
async fn until(addr: SocketAddr, path: &str, word: &str) -> Response {
    loop {
        let response = ask(addr, path).await;
        if response.body.lines().next() == Some(word) {
            return response;
        }
    }
}

#[test]
fn no_route_layer_or_fallback_of_the_app_comes_before_a_probe() {
    test(async {
        let hers = || any(|| async { (StatusCode::IM_A_TEAPOT, "the app's") });
        let refuse = from_fn(|_: axum::extract::Request, _: Next| async {
            (StatusCode::UNAUTHORIZED, "who are you?")
        });
        let routes = Router::new()
            .route("/alive", hers())
            .route("/ready", hers())
            .route("/started", hers())
            .route("/{*rest}", hers())
            .fallback(hers())
            .layer(refuse);
        let look = async |addr| {
            until(addr, "/ready", "ready").await;
            let mut client = Client::connect(addr).await;
            for (path, word) in [
                ("/alive", "alive"),
                ("/ready", "ready"),
                ("/started", "started"),
                ("/ready?verbose=1", "ready"),
                ("http://other.example/alive", "alive"),
            ] {
                let response = client.get(path).await;
                assert_eq!((response.status, &*response.body), (200, word), "{path}");
                client.ask("HEAD", path).await;
                let head = client.head().await.expect("a head");
                assert_eq!(head.status, 200);
                let length = head.header("content-length").map(str::to_owned);
                assert_eq!(length, Some(word.len().to_string()), "{path}");
                client.ask("POST", path).await;
                let response = client.response().await;
                assert_eq!(response.status, 405);
                assert_eq!(response.header("allow"), Some("GET, HEAD"));
            }
            for path in ["/", "/alive/", "/hello"] {
                assert_eq!(client.get(path).await.status, 401, "{path}");
            }
        };
        run(settings(), routes, |app| app, look).await;
    });
}

/// A child whose start takes until it is told.
fn held(release: &Arc<Notify>) -> impl IntoChild {
    let start = async |release: Arc<Notify>, cx: Starting| {
        release.notified().await;
        cx.ready().shutdown().await;
        Ok(())
    };
    service("slow", release.clone(), start)
}

#[test]
fn a_boot_is_told_with_what_is_missing() {
    test(async {
        let release = Arc::new(Notify::new());
        let look = async |addr| {
            for path in ["/ready", "/started"] {
                let response = loop {
                    let response = ask(addr, path).await;
                    if response.body.contains("app/slow: starting for ") {
                        break response;
                    }
                };
                assert_eq!(response.status, 503);
                assert_eq!(response.header("retry-after"), Some("1"));
                let lines: Vec<_> = response.body.lines().collect();
                assert_eq!(lines.len(), 3, "{lines:?}");
                assert_eq!(lines[0], "starting");
                assert!(lines[2].starts_with("app/ready: down for "), "{lines:?}");
                let (status, body) = ask_json(addr, path).await;
                assert_eq!((status, &body["status"]), (503, &"starting".into()));
                assert_eq!(body["missing"][0]["child"], "app/slow");
                assert_eq!(body["missing"][0]["state"], "starting");
                assert!(body["missing"][0]["for_ms"].is_u64());
                assert_eq!(body["missing"][1]["child"], "app/ready");
            }
            assert_eq!(ask(addr, "/alive").await.body, "alive");
            release.notify_one();
            assert_eq!(until(addr, "/started", "started").await.status, 200);
            assert_eq!(until(addr, "/ready", "ready").await.status, 200);
            let (status, body) = ask_json(addr, "/ready").await;
            assert_eq!(status, 200);
            assert_eq!(body.to_string(), r#"{"missing":[],"status":"ready"}"#);
        };
        run(
            settings(),
            Router::new(),
            |app| app.child(held(&release)),
            look,
        )
        .await;
    });
}

#[test]
fn with_probe_detail_off_there_is_one_word() {
    test(async {
        let release = Arc::new(Notify::new());
        let settings = HttpSettings {
            probe_detail: false,
            ..settings()
        };
        let look = async |addr| {
            for path in ["/ready", "/started"] {
                assert_eq!(ask(addr, path).await.body, "starting");
                let (_, body) = ask_json(addr, path).await;
                assert_eq!(body.to_string(), r#"{"status":"starting"}"#);
            }
            release.notify_one();
            until(addr, "/ready", "ready").await;
        };
        run(
            settings,
            Router::new(),
            |app| app.child(held(&release)),
            look,
        )
        .await;
    });
}

#[test]
fn a_child_that_gates_and_a_critical_check_take_the_service_out_and_the_routes_go_on() {
    test(async {
        let group = Supervisor::new("group").child(
            worker("feed", (), async |(), cx: Context| -> Result {
                cx.shutdown().await;
                Ok(())
            })
            .gates_ready(Duration::ZERO),
        );
        let (fail, fails) = oneshot::channel::<()>();
        let fails = Arc::new(std::sync::Mutex::new(Some(fails)));
        let keep = async |fails: Arc<std::sync::Mutex<Option<oneshot::Receiver<()>>>>,
                          cx: Context|
               -> Result {
            let mut fails = fails.lock().expect("no panic").take();
            HealthCheck::new("disk")
                .critical()
                .every(Duration::from_millis(10))
                .register(&cx, move || {
                    let told = fails.as_mut().is_some_and(|it| it.try_recv().is_ok());
                    let passes = fails.is_some() && !told;
                    if told {
                        fails = None;
                    }
                    async move {
                        passes
                            .then_some(())
                            .ok_or("postgres://app:hunter2@db".into())
                    }
                });
            cx.shutdown().await;
            Ok(())
        };
        let routes = Router::new().route("/hello", get(|| async { "hello" }));
        let children = |app: App| {
            app.child(group.clone())
                .child(worker("keeper", fails, keep))
        };
        let look = async |addr| {
            until(addr, "/ready", "ready").await;
            group.terminate_child("feed").await.expect("stops");
            let response = until(addr, "/ready", "unready").await;
            assert_eq!(response.status, 503);
            assert!(response.body.contains("\napp/group/feed: down for 0."));
            assert_eq!(ask(addr, "/hello").await.body, "hello");
            group.restart_child("feed").await.expect("starts");
            until(addr, "/ready", "ready").await;

            fail.send(()).expect("it is run");
            let response = until(addr, "/ready", "unready").await;
            assert!(response.body.contains("\napp/keeper/disk: failing for 0."));
            assert!(!response.body.contains("hunter2"), "{}", response.body);
            let (_, body) = ask_json(addr, "/ready").await;
            assert_eq!(body["missing"][0]["check"], "app/keeper/disk");
            assert_eq!(ask(addr, "/hello").await.body, "hello");
            assert_eq!(ask(addr, "/started").await.body, "started");
        };
        run(settings(), routes, children, look).await;
    });
}
