//! What is counted of requests and connections.
//!
//! Counters are looked up once, when the endpoint starts; a request of the app costs two of them
//! and two looks at the clock. Probes are not counted, nor is what is refused with a look at the
//! gate alone counted as served.

use std::{sync::Arc, time::Instant};

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use uptree_app::{Context, Measuring, Monitor};

use crate::connections::Connections;

/// The classes of status codes.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of one endpoint.
#[derive(Debug)]
pub(crate) struct Meters {
    served: [Counter; CLASSES.len()],
    duration: Histogram,
    refused: Counter,
}

impl Meters {
    /// The counters of the endpoint at `path`.
    pub(crate) fn new(path: &str) -> Self {
        describe();
        let path = || path.to_owned();
        Self {
            served: CLASSES.map(
                |class| counter!("uptree_http_requests_total", "child" => path(), "class" => class),
            ),
            duration: histogram!("uptree_http_request_duration_seconds", "child" => path()),
            refused: counter!("uptree_http_requests_refused_total", "child" => path()),
        }
    }

    /// The app has answered a request that came at `since`.
    pub(crate) fn answered(&self, status: StatusCode, since: Instant) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        self.served[class - 1].increment(1);
        self.duration.record(since.elapsed().as_secs_f64());
    }

    /// The gate has let a request in no more, or not yet.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }
}

/// Has the connections counted whenever somebody asks, for as long as the guard lives.
pub(crate) fn measure(connections: &Arc<Connections>, cx: &Context) -> Option<Measured> {
    let path = || cx.path();
    let open = gauge!("uptree_http_connections", "child" => path());
    let in_flight = gauge!("uptree_http_requests_in_flight", "child" => path());
    let monitor = cx.extension::<Monitor>()?;
    let measuring = monitor.measured({
        let (connections, open, in_flight) = (connections.clone(), open.clone(), in_flight.clone());
        move || {
            let list = connections.list();
            let requests: u32 = list.iter().map(|connection| connection.in_flight()).sum();
            open.set(number(list.len()));
            in_flight.set(requests);
        }
    });
    Some(Measured {
        measuring: Some(measuring),
        gauges: [open, in_flight],
    })
}

/// While it lives connections are counted; then there are none.
pub(crate) struct Measured {
    measuring: Option<Measuring>,
    gauges: [Gauge; 2],
}

impl Drop for Measured {
    fn drop(&mut self) {
        drop(self.measuring.take());
        for gauge in &self.gauges {
            gauge.set(0.0);
        }
    }
}

/// So many requests were cut at the end of a drain.
pub(crate) fn cut(requests: u32) {
    counter!("uptree_http_requests_cut_total").increment(requests.into());
}

fn number(number: usize) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    for (name, text) in [
        (
            "uptree_http_requests_total",
            "Requests that the app has answered, by class of status code; probes are not counted",
        ),
        (
            "uptree_http_requests_refused_total",
            "Requests that got 503 because the service was not ready, or drained",
        ),
        (
            "uptree_http_requests_cut_total",
            "What was in flight, and cut, when the drain limit was over",
        ),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    describe_histogram!(
        "uptree_http_request_duration_seconds",
        Unit::Seconds,
        "How long the app took from a request's header to its response's"
    );
    describe_gauge!(
        "uptree_http_connections",
        Unit::Count,
        "Connections that are open, probes' included"
    );
    describe_gauge!(
        "uptree_http_requests_in_flight",
        Unit::Count,
        "Requests of the app whose response is not sent to its end"
    );
}
