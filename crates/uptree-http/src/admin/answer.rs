//! What is shown.

use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;
use uptree_app::Monitor;

/// Something to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    Index,
    Metrics,
    Tree,
    Timeline,
}

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";

impl Page {
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Index),
            "/metrics" => Some(Self::Metrics),
            "/tree" => Some(Self::Tree),
            "/timeline" => Some(Self::Timeline),
            _ => None,
        }
    }

    /// The answer. Costs as much as there is to tell.
    pub(super) fn show(self, monitor: &Monitor) -> Answer {
        match self {
            Self::Index => answer(StatusCode::OK, TEXT, "/metrics\n/tree\n/timeline\n"),
            Self::Metrics => match monitor.metrics() {
                Some(metrics) => {
                    let format = "text/plain; version=0.0.4; charset=utf-8";
                    answer(StatusCode::OK, format, metrics)
                }
                None => missing("the program has a recorder of metrics of its own"),
            },
            Self::Tree => match monitor.tree_node() {
                Some(tree) => json(&tree),
                None => missing("there is no tree any more"),
            },
            Self::Timeline => json(&monitor.timeline()),
        }
    }
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => answer(StatusCode::OK, "application/json", text),
        Err(_) => failed(),
    }
}

/// There is nothing to show, and why.
pub(super) fn missing(why: &'static str) -> Answer {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
}

pub(super) fn failed() -> Answer {
    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "see the log")
}

/// Why nothing is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// There is no such page.
    Unknown,
    /// It is not only to be looked at.
    NotAllowed,
    /// The token is missing, or wrong.
    Unauthorized,
    /// It calls the port by a name.
    Misdirected,
}

impl Refusal {
    pub(super) fn answer(self) -> Answer {
        let (status, text) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "no such page"),
            Self::NotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "send `Authorization: Bearer` and the ADMIN_TOKEN",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "call this port by an IP address or as localhost, or send the ADMIN_TOKEN",
            ),
        };
        let more = match self {
            Self::NotAllowed => Some((header::ALLOW, "GET, HEAD")),
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer")),
            Self::Unknown | Self::Misdirected => None,
        };
        let mut answer = answer(status, TEXT, text);
        if let Some((name, value)) = more {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

fn answer(status: StatusCode, format: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, format),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
