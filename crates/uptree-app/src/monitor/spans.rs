//! Spans of the boot, the starts, the steps and the stops, for whoever wants them.

use std::collections::HashMap;

use tracing::{Span, field};
use uptree_supervisor::{Event, EventKind, StopCause};

/// Which spans of `tracing` an app has, for a layer of the program's such as OpenTelemetry's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spans {
    /// None.
    #[default]
    Off,
    /// `boot` and `stop`, and below them a `start` and a `stop` for each child of the lists; below
    /// a start its steps. Later starts and stops stand alone.
    Lifecycle,
    /// Those, and an `incarnation` for each life of each child, in which its code runs.
    Incarnations,
}

/// The spans that are open.
#[derive(Debug, Default)]
pub(super) struct Open {
    boot: Option<Span>,
    stop: Option<Span>,
    starts: HashMap<String, Start>,
    stops: HashMap<String, Span>,
}

#[derive(Debug)]
struct Start {
    span: Span,
    step: Option<(String, Span)>,
}

impl Open {
    /// Takes note of an event that happened to the child at `path`.
    pub(super) fn note(&mut self, event: &Event<'_>, path: &str) {
        match &event.kind {
            EventKind::Starting => self.on_starting(event, path),
            EventKind::Step(name) => self.on_step(path, name, false),
            EventKind::Waiting(what) => self.on_step(path, what, true),
            EventKind::Ready { .. } => self.end_start(path, "ready", None),
            EventKind::Ignored { .. } => self.end_start(path, "done", None),
            EventKind::StartFailed(reason) => {
                self.end_start(path, "failed", Some(reason.to_string()));
            }
            EventKind::Stopping(cause) => {
                self.end_start(path, "called_off", None);
                self.on_stopping(event, path, *cause);
            }
            EventKind::Stopped { .. } => drop(self.stops.remove(path)),
            EventKind::ShutdownError(reason) => {
                if let Some(span) = self.stops.remove(path) {
                    fail(&span, &reason.to_string());
                }
            }
            _ => {}
        }
    }

    fn on_starting(&mut self, event: &Event<'_>, path: &str) {
        if event.is_root() {
            let boot = tracing::info_span!(
                parent: None,
                "boot",
                otel.status_code = field::Empty,
                child = path,
                outcome = field::Empty,
                reason = field::Empty,
            );
            let span = boot.clone();
            self.boot = Some(boot);
            self.starts
                .insert(path.to_owned(), Start { span, step: None });
            return;
        }
        let above = path.rsplit_once('/').map(|(above, _)| above);
        let above = above.and_then(|above| self.starts.get(above));
        let parent = above.map(|above| &above.span).and_then(Span::id);
        let span = tracing::info_span!(
            parent: parent,
            "start",
            otel.name = format!("start {path}"),
            otel.status_code = field::Empty,
            child = path,
            incarnation = event.incarnation(),
            outcome = field::Empty,
            reason = field::Empty,
        );
        self.starts
            .insert(path.to_owned(), Start { span, step: None });
    }

    fn on_step(&mut self, path: &str, name: &str, waiting: bool) {
        let Some(start) = self.starts.get_mut(path) else {
            return;
        };
        if start.step.as_ref().is_some_and(|(last, _)| last == name) {
            return;
        }
        // The one before ends first.
        start.step = None;
        let parent = start.span.id();
        let span = tracing::info_span!(parent: parent, "step", otel.name = name, waiting);
        start.step = Some((name.to_owned(), span));
    }

    fn end_start(&mut self, path: &str, outcome: &'static str, reason: Option<String>) {
        let Some(Start { span, step }) = self.starts.remove(path) else {
            return;
        };
        drop(step);
        span.record("outcome", outcome);
        if let Some(reason) = reason {
            fail(&span, &reason);
        }
        if self
            .boot
            .as_ref()
            .is_some_and(|boot| boot.id() == span.id())
        {
            self.boot = None;
        }
    }

    fn on_stopping(&mut self, event: &Event<'_>, path: &str, cause: StopCause) {
        let parent = self.stop.as_ref().and_then(Span::id);
        let span = tracing::info_span!(
            parent: parent,
            "stop",
            otel.name = format!("stop {path}"),
            otel.status_code = field::Empty,
            child = path,
            incarnation = event.incarnation(),
            ?cause,
            reason = field::Empty,
        );
        self.stops.insert(path.to_owned(), span);
    }

    /// The whole tree begins to stop.
    pub(super) fn on_stop(&mut self, root: &str) {
        let stop = || tracing::info_span!(parent: None, "stop", otel.name = "stop", child = root);
        self.stop.get_or_insert_with(stop);
    }

    /// Nothing of the tree is left: nor of its spans.
    pub(super) fn on_ended(&mut self) {
        // Those below before those above.
        self.stops.clear();
        let boot = self.boot.take();
        for (_, start) in self.starts.drain() {
            start.span.record("outcome", "called_off");
        }
        drop(boot);
        self.stop = None;
    }
}

fn fail(span: &Span, reason: &str) {
    span.record("reason", reason);
    span.record("otel.status_code", "ERROR");
}
