//! The body of a response, which ends a request when it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{connection::InFlight, requests::panic_message};

/// What HTTP sends as a response's body, and drops when it has all of it.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The endpoint's own words.
    Fixed(Option<Bytes>),
    /// Anything else, with the request that is in flight until it is sent.
    App {
        body: Body,
        #[expect(dead_code, reason = "held, not read")]
        in_flight: Option<InFlight>,
    },
}

impl From<Body> for Reply {
    fn from(body: Body) -> Self {
        Self::App {
            body,
            in_flight: None,
        }
    }
}

impl Reply {
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self::Fixed(Some(Bytes::from_static(text.as_bytes())))
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::App { body, .. } => {
                // The response's head is sent: all that is left to say "failed" with is to break
                // off, which HTTP does on an error.
                let poll = || Pin::new(body).poll_frame(cx);
                catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|panic| {
                    let panic = panic_message(&*panic);
                    tracing::error!(panic, "a response's body panicked, and is broken off");
                    let error = axum::Error::new("the response's body panicked");
                    Poll::Ready(Some(Err(error)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Fixed(bytes) => bytes.is_none(),
            Self::App { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Fixed(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::App { body, .. } => body.size_hint(),
        }
    }
}
