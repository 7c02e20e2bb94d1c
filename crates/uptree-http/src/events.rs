//! Event streams, which end by themselves when they are to go.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, header},
};
use bytes::Bytes;
use http_body::{Body as _, Frame};

use crate::{away::GoingAway, connection::Connection};

/// Has an event stream (`text/event-stream`) end when its connection is to go. Its client comes
/// again by itself, and an event that was not sent to its end does not count.
///
/// One whose length has been said is left alone: to end it early would be an error.
pub(crate) fn bound(response: Response<Body>, connection: &Arc<Connection>) -> Response<Body> {
    let endless = response.body().size_hint().exact().is_none();
    if !endless || !is_event_stream(response.headers()) {
        return response;
    }
    let going_away = GoingAway::new(connection);
    response.map(|body| {
        Body::new(Events {
            body,
            going_away: Box::pin(async move { going_away.wait().await }),
            ended: false,
        })
    })
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = kind.map(|kind| kind.split(|&byte| byte == b';').next().unwrap_or_default());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    }) && !headers.contains_key(header::CONTENT_LENGTH)
}

struct Events {
    body: Body,
    going_away: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.ended && self.going_away.as_mut().poll(cx).is_ready() {
            self.ended = true;
            // What feeds it is let go now, not when the client has taken the end.
            self.body = Body::empty();
        }
        if self.ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_an_event_stream() {
        for (kind, length, expected) in [
            ("text/event-stream", None, true),
            ("text/event-stream; charset=utf-8", None, true),
            ("Text/Event-Stream ;x", None, true),
            ("text/event-stream", Some("99"), false),
            ("text/event-streams", None, false),
            ("text/plain", None, false),
            ("", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            assert_eq!(is_event_stream(&headers), expected, "{kind} {length:?}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
