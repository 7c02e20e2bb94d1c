//! Bodies that tell their connection when they end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use uptree_app::BoxError;

use crate::{
    connection::{Connection, InFlight},
    limits::BODY_PAUSE,
    requests::panic_message,
};

pin_project! {
    /// The body of a request. It tells its connection, if that wants to know, that it has been read
    /// to its end.
    pub(crate) struct Question<B> {
        #[pin]
        body: B,
        connection: Option<Arc<Connection>>,
        pause: Option<Pause>,
    }
}

/// Who waits for a body is woken sooner than this when its time is over.
const LATE: Duration = Duration::from_secs(1);

/// How long the body has not come, though it is waited for.
struct Pause {
    clock: Pin<Box<Sleep>>,
    goes_on: bool,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the body came for {BODY_PAUSE:?}")]
struct Paused;

impl<B> Question<B> {
    pub(crate) fn new(body: B, connection: Option<Arc<Connection>>) -> Self {
        Self {
            body,
            connection,
            pause: None,
        }
    }
}

impl<B: http_body::Body<Error: Into<BoxError>>> http_body::Body for Question<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            // Made only now: most bodies come with their header.
            let pause = this.pause.get_or_insert_with(Pause::begin);
            return pause.poll(cx).map(|()| Some(Err(Paused.into())));
        };
        if let Some(pause) = this.pause {
            pause.goes_on = false;
        }
        // One whose length is known may not be asked for a frame after its last.
        if (frame.is_none() || this.body.is_end_stream())
            && let Some(connection) = this.connection.take()
        {
            connection.body_read();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Pause {
    fn begin() -> Self {
        Self {
            clock: Box::pin(sleep(BODY_PAUSE)),
            goes_on: true,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.goes_on {
            self.goes_on = true;
            self.reset();
        }
        loop {
            ready!(self.clock.as_mut().poll(cx));
            if self.clock.deadline().elapsed() < LATE {
                return Poll::Ready(());
            }
            // The handler did not wait all along, and what has come meanwhile is read only now.
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.clock.as_mut().reset(Instant::now() + BODY_PAUSE);
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
