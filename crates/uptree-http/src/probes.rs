//! `/alive`, `/ready` and `/started`: what asks whether this process is to be killed, whether it is
//! to be given work, and whether it has booted.
//!
//! They are answered before the app's routes and middleware are looked at, whatever the gate says,
//! and do not count as requests in flight. `/alive` says that the process serves: never how its
//! dependencies or its boot are. The others say what is missing and for how long, never why. While
//! all is well an answer costs some atomic reads.

mod accept;
mod told;

use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use uptree_app::{Missing, Monitor};

use self::{accept::wants_json, told::Told};
use crate::{body::Reply, gate::Stage};

/// What the probes of an endpoint's incarnation are answered with.
#[derive(Debug)]
pub(crate) struct Probes {
    /// Without it, outside of an app, nobody knows more than the gate.
    monitor: Option<Monitor>,
    /// Whether more than a word is told.
    detail: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Probe {
    Alive,
    Ready,
    Started,
}

impl Probe {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/alive" => Some(Self::Alive),
            "/ready" => Some(Self::Ready),
            "/started" => Some(Self::Started),
            _ => None,
        }
    }

    /// The word for yes.
    fn yes(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Ready => "ready",
            Self::Started => "started",
        }
    }
}

impl Probes {
    pub(crate) fn new(monitor: Option<Monitor>, detail: bool) -> Self {
        Self { monitor, detail }
    }

    /// The answer to a probe; `None` if the path is not a probe's.
    pub(crate) fn answer<B>(&self, request: &Request<B>, stage: Stage) -> Option<Response<Reply>> {
        let probe = Probe::of(request.uri().path())?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = response(status, Bytes::from_static(b"only GET and HEAD"), false);
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return Some(response);
        }
        let json = wants_json(request.headers());
        if !json && self.is_well(probe, stage) {
            let body = Bytes::from_static(probe.yes().as_bytes());
            return Some(response(StatusCode::OK, body, false));
        }
        let (status, told) = self.look(probe, stage);
        let body = match json {
            true => told.json(),
            false => told.text(),
        };
        Some(response(status, body.into(), json))
    }

    /// Whether the answer is yes, and nothing else is to be told. Reads atomics only; where it says
    /// no, the answer may still be yes.
    fn is_well(&self, probe: Probe, stage: Stage) -> bool {
        match probe {
            Probe::Alive => true,
            Probe::Ready => {
                stage == Stage::Open && self.monitor.as_ref().is_none_or(Monitor::is_well)
            }
            Probe::Started => self.is_started(stage),
        }
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_ref()
    }

    pub(crate) fn is_started(&self, stage: Stage) -> bool {
        match &self.monitor {
            Some(monitor) => monitor.is_booted(),
            None => stage > Stage::Starting,
        }
    }

    /// Looks at what is missing.
    fn look(&self, probe: Probe, stage: Stage) -> (StatusCode, Told) {
        let (no, missing, informative) = match probe {
            Probe::Alive => return (StatusCode::OK, Told::word(probe.yes())),
            Probe::Started if self.is_started(stage) => (None, Vec::new(), Vec::new()),
            Probe::Started => (Some("starting"), self.not_up(), Vec::new()),
            Probe::Ready => self.look_at_readiness(stage),
        };
        let status = match no {
            None => StatusCode::OK,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut told = Told::word(no.unwrap_or(probe.yes()));
        if self.detail {
            told.list(&missing, &informative);
        }
        (status, told)
    }

    /// The word for no if the service is not ready, what is missing, and what else is amiss.
    fn look_at_readiness(
        &self,
        stage: Stage,
    ) -> (Option<&'static str>, Vec<Missing>, Vec<Missing>) {
        let readiness = self.monitor.as_ref().map(Monitor::readiness);
        let booted = readiness.as_ref().is_none_or(|it| it.booted);
        let (missing, informative) =
            readiness.map_or_else(Default::default, |it| (it.missing, it.informative));
        let no = match stage {
            Stage::Open if !booted => Some("starting"),
            Stage::Open if !missing.is_empty() => Some("unready"),
            Stage::Open => None,
            Stage::Starting => Some("starting"),
            Stage::Draining | Stage::LastCall => Some("draining"),
            Stage::Stopping | Stage::Stopped => Some("stopping"),
        };
        if no.is_none() || no == Some("unready") {
            return (no, missing, informative);
        }
        // Whoever is not up keeps it from being ready; those that gate are among them.
        let is_check = |it: &Missing| matches!(it, Missing::Check { .. });
        let mut all = self.not_up();
        all.extend(missing.into_iter().filter(is_check));
        (no, all, informative)
    }

    /// The children that are not up, unless that would not be told.
    fn not_up(&self) -> Vec<Missing> {
        let monitor = self.monitor.as_ref().filter(|_| self.detail);
        monitor.map(Monitor::not_up).unwrap_or_default()
    }
}

fn response(status: StatusCode, body: Bytes, json: bool) -> Response<Reply> {
    let mut response = Response::new(Reply::Fixed(Some(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = match json {
        true => "application/json",
        false => "text/plain; charset=utf-8",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests;
