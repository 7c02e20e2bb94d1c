//! A span for each incarnation, for whoever wants them: its code runs in it.
//!
//! Only where they are asked for is a future boxed and given a span; elsewhere nothing of this costs
//! anything.

use std::{future::Future, pin::Pin};

use tracing::{Instrument, Span, field, instrument::Instrumented};

use crate::{BoxError, Result, incarnation::Incarnation};

/// A future in a span.
pub(crate) type Spanned<T> = Instrumented<Pin<Box<dyn Future<Output = T> + Send>>>;

/// The incarnation's own future, in a span of the incarnation's. It has no parent: it lasts as long
/// as the child runs, which may be for ever.
pub(crate) fn of_incarnation<F>(life: &Incarnation, body: F) -> Spanned<Result>
where
    F: Future<Output = Result> + Send + 'static,
{
    let span = tracing::info_span!(
        parent: None,
        "incarnation",
        otel.name = %life.path(),
        otel.status_code = field::Empty,
        child = %life.path(),
        incarnation = life.restarts(),
        reason = field::Empty,
    );
    let body: Pin<Box<dyn Future<Output = Result> + Send>> = Box::pin(async move {
        let result = body.await;
        if let Err(error) = &result {
            tell(&Span::current(), error);
        }
        result
    });
    body.instrument(span)
}

/// A task of the incarnation's, in the span in which it is spawned.
pub(crate) fn of_task<F>(body: F) -> Spanned<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let body: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(body);
    body.in_current_span()
}

fn tell(span: &Span, error: &BoxError) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    span.record("reason", text);
    span.record("otel.status_code", "ERROR");
}
