//! A service for tests of readiness: what gates it can be taken away and given back.
//!
//! | | |
//! |---|---|
//! | `POST /fail` | has the child `feed` fail; it gates readiness, and takes `FEED_START` to start |
//! | `POST /check/{what}` | what the critical check of the child `keeper` does: `pass`, `fail`, `hang`, `block` or `panic` |
//!
//! The routes are behind a layer that answers 401 without `Authorization`.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use tokio::sync::Notify;
use tokio::time::sleep;
use uptree::prelude::*;
use uptree::settings::duration;
use uptree::{Context, HealthCheck, Starting};

#[derive(clap::Args, Debug)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,

    /// How long the child `feed` takes to start
    #[arg(long, env, value_parser = duration, default_value = "0s")]
    feed_start: Duration,

    /// How long it may be down before the service is not ready
    #[arg(long, env, value_parser = duration, default_value = "0s")]
    feed_grace: Duration,
}

#[derive(Clone)]
struct Feed {
    start: Duration,
    fail: Arc<Notify>,
}

async fn feed(feed: Feed, cx: Starting) -> Result {
    sleep(feed.start).await;
    let cx = cx.ready();
    match cx.until_shutdown(feed.fail.notified()).await {
        Some(()) => Err("hunter2: as it was told".into()),
        None => Ok(()),
    }
}

type Told = Arc<Mutex<String>>;

async fn keep(told: Told, cx: Context) -> Result {
    HealthCheck::new("disk")
        .critical()
        .every(Duration::from_millis(50))
        .timeout(Duration::from_millis(500))
        .register(&cx, move || {
            let told = Arc::clone(&told);
            let what = told.lock().expect("no panic").clone();
            async move {
                match &*what {
                    "fail" => Err("hunter2: as it was told".into()),
                    "hang" => pending().await,
                    // Until it is told something else.
                    "block" => {
                        while *told.lock().expect("no panic") == what {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        Ok(())
                    }
                    "panic" => panic!("hunter2: as it was told"),
                    _ => Ok(()),
                }
            }
        });
    cx.shutdown().await;
    Ok(())
}

async fn known_only(request: Request, next: Next) -> Response {
    match request.headers().contains_key(header::AUTHORIZATION) {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let (fail, told) = (Arc::new(Notify::new()), Told::default());
        let hers = || any(|| async { "the app's" });
        let routes = Router::new()
            .route("/alive", hers())
            .route("/ready", hers())
            .route("/started", hers())
            .route(
                "/fail",
                post({
                    let fail = Arc::clone(&fail);
                    async move || fail.notify_one()
                }),
            )
            .route(
                "/check/{what}",
                post({
                    let told = Arc::clone(&told);
                    async move |Path(what): Path<String>| *told.lock().expect("no panic") = what
                }),
            )
            .layer(from_fn(known_only));
        let endpoint = Endpoint::new(&s.http).routes(routes);
        let feed_ = Feed {
            start: s.feed_start,
            fail,
        };
        App::new("healthy")
            .child(endpoint.clone())
            .child(service("feed", feed_, feed).gates_ready(s.feed_grace))
            .child(worker("keeper", told, keep))
            .child(Ready::new(&endpoint))
    })
}
