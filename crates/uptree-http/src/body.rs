//! Bodies that tell their connection when they end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    connection::{Connection, InFlight},
    requests::panic_message,
};

pin_project! {
    /// The body of a request. It tells its connection, if that wants to know, that it has been read
    /// to its end.
    pub(crate) struct Question<B> {
        #[pin]
        body: B,
        connection: Option<Arc<Connection>>,
    }
}

impl<B> Question<B> {
    pub(crate) fn new(body: B, connection: Option<Arc<Connection>>) -> Self {
        Self { body, connection }
    }
}

impl<B: http_body::Body> http_body::Body for Question<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // One whose length is known may not be asked for a frame after its last.
        if (frame.is_none() || this.body.is_end_stream())
            && let Some(connection) = this.connection.take()
        {
            connection.body_read();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
