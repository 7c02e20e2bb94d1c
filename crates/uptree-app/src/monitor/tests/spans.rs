//! The spans that a layer of the program's sees.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context as LayerContext, SubscriberExt},
    registry::LookupSpan,
};

use super::*;

/// A layer that keeps spans and events as an exporter sees them: when they close.
#[derive(Clone, Default)]
struct Exporter(Arc<Mutex<Vec<String>>>);

impl Exporter {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Exporter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = cx.span(id).expect("it is new");
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: LayerContext<'_, S>) {
        let span = cx.span(id).expect("it is open");
        let mut extensions = span.extensions_mut();
        values.record(extensions.get_mut::<Fields>().expect("as it was made"));
    }

    fn on_event(&self, event: &Event<'_>, cx: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        if let (Some(span), "said") = (cx.event_span(event), &*message) {
            let extensions = span.extensions();
            let child = &extensions.get::<Fields>().expect("as it was made").0["child"];
            let line = format!("said in {} of {child}", span.name());
            self.0.lock().expect("no panic").push(line);
        }
    }

    fn on_close(&self, id: Id, cx: LayerContext<'_, S>) {
        let span = cx.span(&id).expect("it closes");
        let extensions = span.extensions();
        let fields = &extensions.get::<Fields>().expect("as it was made").0;
        let mut line = span.name().to_owned();
        for name in [
            "child",
            "otel.name",
            "outcome",
            "reason",
            "otel.status_code",
        ] {
            if let Some(value) = fields.get(name).filter(|it| !it.contains("shop/first")) {
                _ = write!(line, " {value}");
            } else if fields.contains_key(name) && name == "child" {
                line += " shop/first";
            }
        }
        if let Some(parent) = span.parent() {
            _ = write!(line, " in {}", parent.name());
        }
        self.0.lock().expect("no panic").push(line);
    }
}

async fn first(fails: bool, cx: Context) -> Result {
    tracing::info!("said");
    let task = cx.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    task.spawn(async move {
        tracing::info!("said");
        _ = tell.send(());
    });
    _ = told.await;
    match fails && cx.incarnation() == 0 {
        true => Err("boom".into()),
        false => steady((), cx).await,
    }
}

async fn life(spans: Spans, fails: bool) -> Vec<String> {
    let exporter = Exporter::default();
    let subscriber = tracing_subscriber::registry().with(exporter.clone());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let app = App::new("shop")
        .child(service("migrator", (), migrate))
        .child(worker("first", fails, first));
    let (task, stopper, monitor) = run_with(app, spans);
    until_booted(&monitor).await;
    sleep(SECOND).await;
    stopper.stop(StopCause::Shutdown);
    assert_eq!(task.await.expect("no panic"), 0);
    exporter.take()
}

#[tokio::test(start_paused = true)]
async fn without_a_wish_there_are_none() {
    assert_eq!(life(Spans::Off, true).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_boot_and_a_stop_are_spans_with_those_of_the_children_in_them() {
    let expected = [
        "step connect in start",
        "step another's lock in start",
        "step apply in start",
        "start shop/migrator start shop/migrator done in boot",
        "start shop/first ready in boot",
        "boot shop ready",
        "stop shop/first in stop",
        "stop shop stop",
    ];
    assert_eq!(life(Spans::Lifecycle, false).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_code_of_each_incarnation_runs_in_a_span_that_ends_with_its_reason() {
    let told = life(Spans::Incarnations, true).await;
    let of_first = told
        .iter()
        .filter(|it| it.contains("incarnation") && it.contains("shop/first"));
    let of_first: Vec<_> = of_first.collect();
    // The child, and a task of it.
    let said = "said in incarnation of shop/first";
    let expected = [
        said,
        said,
        "incarnation shop/first boom ERROR",
        said,
        said,
        "incarnation shop/first",
    ];
    assert_eq!(of_first, expected, "{told:#?}");
}
