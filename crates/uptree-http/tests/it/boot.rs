//! The way up.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::sync::Notify;
use uptree_app::{BoxError, Help, IntoChild, Result, Shutdown, Starting, Supervisor, service};
use uptree_http::{Endpoint, HttpSettings, Ready};

use crate::{
    client::Client,
    service::{settings, test},
};

fn routes() -> Router {
    Router::new().route("/hello", get(|| async { "hello" }))
}

#[test]
fn the_probes_answer_first_and_the_routes_last() {
    test(async {
        let [reached, release] = [(); 2].map(|()| Arc::new(Notify::new()));
        let slow = async |(reached, release): (Arc<Notify>, Arc<Notify>), cx: Starting| -> Result {
            reached.notify_one();
            release.notified().await;
            cx.ready().shutdown().await;
            Ok(())
        };
        let endpoint = Endpoint::new(&settings()).routes(routes());
        let mut tree = Supervisor::new("service")
            .child(endpoint.clone())
            .child(service("slow", (reached.clone(), release.clone()), slow))
            .child(Ready::new(&endpoint))
            .spawn(uptree_app::TreeOptions::default());
        reached.notified().await;
        let addr = endpoint.local_addr().expect("it has started");
        let mut client = Client::connect(addr).await;
        let alive = client.get("/alive").await;
        assert_eq!((alive.status, &*alive.body), (200, "alive"));
        let ready = client.get("/ready").await;
        assert_eq!((ready.status, &*ready.body), (503, "starting"));
        let hello = client.get("/hello").await;
        assert_eq!(hello.problem()["title"], "Service Unavailable");
        assert_eq!(client.get("/no/such").await.status, 503);

        release.notify_one();
        tree.ready().await.expect("it boots");
        assert_eq!(client.get("/ready").await.body, "ready");
        assert_eq!(client.get("/hello").await.body, "hello");
        assert_eq!(client.get("/no/such").await.status, 404);
    });
}

/// The lines of an error's chain, and the remedy in it.
fn chain(error: &BoxError) -> (Vec<String>, Option<String>) {
    let mut lines = vec![];
    let mut remedy = None;
    let mut next: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(error) = next {
        lines.push(error.to_string());
        if let Some(help) = error.downcast_ref::<Help>() {
            remedy = Some(help.remedy().to_owned());
        }
        next = error.source();
    }
    (lines, remedy)
}

#[test]
fn a_port_that_is_taken_is_named_with_cause_and_remedy() {
    test(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = taken.local_addr().expect("an address");
        let settings = HttpSettings { addr, ..settings() };
        let tree = Supervisor::new("service").child(Endpoint::new(&settings));
        let error = tree.start().await.expect_err("the port is taken");
        let (lines, remedy) = chain(&error);
        assert_eq!(
            lines,
            [
                "service/endpoint did not start".to_owned(),
                format!("cannot listen on {addr}"),
                "Address already in use (os error 98)".to_owned(),
            ]
        );
        let remedy = remedy.expect("a remedy");
        assert!(remedy.contains("ADDR"), "{remedy}");
    });
}

#[test]
fn too_little_time_to_drain_is_found_at_the_start() {
    test(async {
        let settings = HttpSettings {
            drain_delay: Some(Duration::from_secs(3)),
            ..settings()
        };
        let endpoint = Endpoint::new(&settings);
        let tree = Supervisor::new("service")
            .child(endpoint.clone())
            .child(Ready::new(&endpoint).shutdown(Shutdown::Timeout(Duration::from_secs(10))));
        let error = tree.start().await.expect_err("10 s are too little");
        let (lines, remedy) = chain(&error);
        assert_eq!(lines[0], "service/ready did not start");
        assert!(lines[1].contains("a stop needs 15s"), "{}", lines[1]);
        assert!(remedy.is_some());
        assert!(endpoint.local_addr().is_err(), "nothing is left");
    });
}
