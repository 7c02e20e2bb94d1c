//! What lives long, at a stop: event streams, long polls, and streams that HTTP/2 clients open in
//! good faith.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::sse::{Event, Sse},
    routing::get,
};
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::Instant};
use uptree_http::{GoingAway, HttpSettings};

use crate::{
    frames::{Frames, Said},
    http2,
    service::{Service, settings, test},
};

fn routes() -> Router {
    let events = async || {
        let one = stream::iter([Ok::<_, Infallible>(Event::default().data("one"))]);
        Sse::new(one.chain(stream::pending()))
    };
    // Never waits, so it never has to be woken.
    let busy = async || {
        Sse::new(stream::repeat_with(|| {
            Ok::<_, Infallible>(Event::default().data("x"))
        }))
    };
    let counted = async || {
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CONTENT_LENGTH, "9"),
        ];
        (headers, "data: x\n\n")
    };
    Router::new()
        .route("/events", get(events))
        .route("/busy", get(busy))
        .route("/stuck", get(std::future::pending::<()>))
        .route("/counted", get(counted))
        .route("/hello", get(|| async { "hello" }))
}

fn with_delay(delay: Duration) -> HttpSettings {
    HttpSettings {
        drain_delay: Some(delay),
        ..settings()
    }
}

#[test]
fn an_event_stream_ends_cleanly_by_itself() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        client.ask("GET", "/events").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        assert_eq!(client.chunk().await.expect("an event"), "data: one\n\n");
        let start = Instant::now();
        service.stop();
        assert_eq!(client.chunk().await.expect("the last chunk"), "");
        client.end().await.expect("FIN");
        service.stopped().await;
        assert!(start.elapsed() < settings().drain_limit);
    });
}

#[test]
fn an_event_stream_that_is_never_idle_ends_too() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        client.ask("GET", "/busy").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        service.stop();
        while !client.chunk().await.expect("a whole chunk").is_empty() {}
        client.end().await.expect("FIN");
        service.stopped().await;
    });
}

#[test]
fn an_event_stream_of_a_length_is_sent_to_its_end() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        assert_eq!(client.get("/counted").await.body, "data: x\n\n");
    });
}

#[test]
fn a_long_poll_answers_when_it_is_to_go() {
    test(async {
        let reached = Arc::new(Notify::new());
        let poll = {
            let reached = Arc::clone(&reached);
            async move |going_away: GoingAway| {
                reached.notify_one();
                going_away.wait().await;
                StatusCode::NO_CONTENT
            }
        };
        let service = Service::start(settings(), Router::new().route("/poll", get(poll))).await;
        let mut client = service.connect().await;
        client.ask("GET", "/poll").await;
        reached.notified().await;
        service.stop();
        let response = client.head().await.expect("a response");
        assert_eq!((response.status, response.closes()), (204, true));
        client.end().await.expect("FIN");
        service.stopped().await;
    });
}

#[test]
fn in_the_drain_delay_what_lives_long_goes_in_its_second_half() {
    test(async {
        let delay = Duration::from_secs(2);
        let service = Service::start(with_delay(delay), routes()).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = service.connect().await;
            client.ask("GET", "/events").await;
            client.head().await.expect("a head");
            client.chunk().await.expect("an event");
            clients.push(client);
        }
        let start = Instant::now();
        service.stop();
        for client in &mut clients {
            assert_eq!(client.chunk().await.expect("the last chunk"), "");
            assert!(start.elapsed() >= delay / 2);
        }
        service.stopped().await;
    });
}

#[test]
fn a_second_signal_has_what_lives_long_go_at_once() {
    test(async {
        let service = Service::start(with_delay(Duration::from_secs(60)), routes()).await;
        let mut client = service.connect().await;
        client.ask("GET", "/events").await;
        client.head().await.expect("a head");
        client.chunk().await.expect("an event");
        service.stop();
        service.until_ready_says("draining").await;
        service.tree.stopper().hurry();
        assert_eq!(client.chunk().await.expect("the last chunk"), "");
        service.stopped().await;
    });
}

#[test]
fn a_restart_behind_the_endpoint_leaves_what_lives_long_alone() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = service.connect().await;
        client.ask("GET", "/events").await;
        client.head().await.expect("a head");
        client.chunk().await.expect("an event");
        service.pool.crash();
        service.pool.has_crashed().await;
        service.until_ready_says("ready").await;
        let more = tokio::time::timeout(Duration::from_millis(100), client.chunk()).await;
        assert!(more.is_err(), "it goes on: {more:?}");
    });
}

#[test]
fn on_http2_a_streams_end_is_clean_and_its_neighbours_are_finished() {
    test(async {
        let release = Arc::new(Notify::new());
        let reached = Arc::new(Notify::new());
        let routes = routes().merge(http2::routes(&reached, &release));
        let service = Service::start(settings(), routes).await;
        let client = http2::Client::connect(service.addr).await;
        let slow = tokio::spawn(client.get("/slow"));
        reached.notified().await;
        let events = tokio::spawn(client.get("/events"));
        let alive = client.get("/alive").await.expect("a response");
        assert_eq!(alive.0, StatusCode::OK);
        service.stop();
        // An error if the stream were reset.
        let (status, body) = events.await.expect("no panic").expect("a clean end");
        assert_eq!((status, &*body), (StatusCode::OK, &b"data: one\n\n"[..]));
        service.until_ready_says("stopping").await;
        release.notify_one();
        let (status, body) = slow.await.expect("no panic").expect("a response");
        assert_eq!((status, &*body), (StatusCode::OK, &b"slow"[..]));
        service.stopped().await;
    });
}

#[test]
fn streams_opened_before_the_second_goaway_are_served() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        let mut client = Frames::connect(service.addr).await;
        client.answered(1, "/hello").await;
        service.stop();
        let ping = client.told_to_go().await;
        // It has not been heard yet: the last call, and after it.
        client.answered(3, "/hello").await;
        service.until_ready_says("stopping").await;
        client.answered(5, "/hello").await;
        client.pong(ping).await;
        assert_eq!(client.said().await, Said::GoAway(5));
        client.next().await.expect_err("the end");
        service.stopped().await;
    });
}

#[test]
fn a_stream_opened_on_an_idle_connection_that_is_told_to_go_is_served() {
    test(async {
        let service = Service::start(settings(), routes()).await;
        // It has not asked for anything yet.
        let mut client = Frames::connect(service.addr).await;
        let mut other = service.connect().await;
        other.get("/hello").await;
        service.stop();
        service.until_ready_says("stopping").await;
        let ping = client.told_to_go().await;
        client.answered(1, "/hello").await;
        client.answered(3, "/hello").await;
        client.pong(ping).await;
        assert_eq!(client.said().await, Said::GoAway(3));
        client.next().await.expect_err("the end");
        service.stopped().await;
    });
}

#[test]
fn when_the_drain_is_over_an_http2_connection_is_served_no_more() {
    test(async {
        let settings = HttpSettings {
            drain_limit: Duration::from_millis(300),
            ..settings()
        };
        let service = Service::start(settings, routes()).await;
        let mut client = Frames::connect(service.addr).await;
        client.answered(1, "/hello").await;
        client.get(3, "/stuck").await;
        service.pool.hold();
        service.stop();
        service.pool.stopping().await;
        let mut late = Frames::connect(service.addr).await;
        late.get(1, "/hello").await;
        assert_eq!(late.said().await, Said::Head(1, false));
        service.pool.release();
        service.stopped().await;
    });
}
