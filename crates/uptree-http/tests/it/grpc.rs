//! gRPC health checking, with a real client.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    middleware::{Next, from_fn},
};
use tokio::sync::Notify;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uptree_app::{App, Context, IntoChild, Result, Starting, Supervisor, service, worker};
use uptree_http::HttpSettings;

use crate::{
    client::Client,
    probes::run,
    service::{Service, settings, test},
};

const NO: ServingStatus = ServingStatus::NotServing;
const YES: ServingStatus = ServingStatus::Serving;

async fn connect(addr: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a URI");
    let channel = endpoint.connect().await;
    HealthClient::new(channel.expect("somebody listens"))
}

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<ServingStatus, Code> {
    match client.check(named(service)).await {
        Ok(answer) => Ok(answer.get_ref().status()),
        Err(status) => Err(status.code()),
    }
}

/// A watch, each status as it comes.
struct Watch(tonic::Streaming<tonic_health::pb::HealthCheckResponse>);

impl Watch {
    async fn of(client: &mut HealthClient<Channel>, service: &str) -> Self {
        let stream = client.watch(named(service)).await;
        Self(stream.expect("a stream").into_inner())
    }

    /// The next status; `None` at the end, which is one without an error.
    async fn next(&mut self) -> Option<ServingStatus> {
        let next = self.0.message().await.expect("no error");
        next.map(|answer| answer.status())
    }
}

async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

#[test]
fn a_check_tells_what_the_probes_tell_and_the_apps_middleware_is_not_asked() {
    test(async {
        let release = Arc::new(Notify::new());
        let start = async |release: Arc<Notify>, cx: Starting| {
            release.notified().await;
            cx.ready().shutdown().await;
            Ok(())
        };
        let refuse = from_fn(|_: axum::extract::Request, _: Next| async {
            (StatusCode::UNAUTHORIZED, "who are you?")
        });
        let routes = Router::new()
            .fallback(|| async { "the app's" })
            .layer(refuse);
        let children = |app: App| app.child(service("slow", release.clone(), start));
        let look = async |addr| {
            let mut client = connect(addr).await;
            for (service, status) in [("", NO), ("ready", NO), ("started", NO), ("alive", YES)] {
                assert_eq!(check(&mut client, service).await, Ok(status), "{service:?}");
            }
            for service in ["app", "READY", "ready ", "grpc.health.v1.Health"] {
                assert_eq!(check(&mut client, service).await, Err(Code::NotFound));
            }
            let long = "x".repeat(5000);
            assert_eq!(check(&mut client, &long).await, Err(Code::OutOfRange));
            release.notify_one();
            let mut watch = Watch::of(&mut client, "").await;
            while watch.next().await != Some(YES) {}
            for service in ["", "ready", "started", "alive"] {
                assert_eq!(check(&mut client, service).await, Ok(YES), "{service:?}");
            }
            // What is not gRPC is the app's.
            let mut client = Client::connect(addr).await;
            let response = client.get("/grpc.health.v1.Health/Check").await;
            assert_eq!(response.status, 401);
        };
        run(settings(), routes, children, look).await;
    });
}

#[test]
fn a_watch_tells_each_change_once_and_ends_with_the_drain() {
    test(async {
        let group = Supervisor::new("group")
            .child(worker("feed", (), steady).gates_ready(Duration::from_millis(50)));
        let settings = HttpSettings {
            drain_delay: Some(Duration::from_millis(300)),
            ..settings()
        };
        let mut rests = Vec::new();
        let look = async |addr| {
            let mut client = connect(addr).await;
            let mut ready = Watch::of(&mut client, "ready").await;
            while ready.next().await != Some(YES) {}
            group.terminate_child("feed").await.expect("stops");
            assert_eq!(ready.next().await, Some(NO));
            group.restart_child("feed").await.expect("starts");
            assert_eq!(ready.next().await, Some(YES));

            let mut started = Watch::of(&mut client, "started").await;
            assert_eq!(started.next().await, Some(YES));
            let mut alive = Watch::of(&mut client, "alive").await;
            assert_eq!(alive.next().await, Some(YES));
            let mut unknown = Watch::of(&mut client, "unknown").await;
            assert_eq!(unknown.next().await, Some(ServingStatus::ServiceUnknown));
            for mut watch in [ready, started, alive, unknown] {
                rests.push(tokio::spawn(async move {
                    let mut rest = Vec::new();
                    while let Some(status) = watch.next().await {
                        rest.push(status);
                    }
                    rest
                }));
            }
        };
        run(
            settings,
            Router::new(),
            |app| app.child(group.clone()),
            look,
        )
        .await;
        let mut found = Vec::new();
        for rest in rests {
            found.push(rest.await.expect("no panic"));
        }
        assert_eq!(found, [vec![NO], vec![], vec![], vec![]]);
    });
}

#[test]
fn a_watch_does_not_keep_a_stop_waiting() {
    test(async {
        let service = Service::start(settings(), Router::new()).await;
        let mut client = connect(service.addr).await;
        let mut watch = Watch::of(&mut client, "").await;
        assert_eq!(
            watch.next().await,
            Some(YES),
            "outside of an app the gate is what is known"
        );
        let began = std::time::Instant::now();
        service.stop();
        assert_eq!(watch.next().await, Some(NO));
        assert_eq!(watch.next().await, None);
        service.stopped().await;
        // The drain limit is ten seconds.
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn many_watches_hold_up_nobody() {
    test(async {
        let service = Service::start(settings(), Router::new()).await;
        let mut client = connect(service.addr).await;
        let mut watches = Vec::new();
        for _ in 0..20 {
            let mut watch = Watch::of(&mut client, "ready").await;
            assert_eq!(watch.next().await, Some(YES));
            watches.push(watch);
        }
        // The probes are not held up by any number of watches.
        let mut probe = service.connect().await;
        assert_eq!(probe.get("/ready").await.body, "ready");
        drop(watches);
        assert_eq!(check(&mut client, "").await, Ok(YES));
        service.stop();
        service.stopped().await;
    });
}
