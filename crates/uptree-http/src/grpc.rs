//! gRPC health checking (`grpc.health.v1.Health`) on the main port, from the state that the probes
//! tell.
//!
//! The names of services are the probes': `ready`, which the empty name stands for too, `started`
//! and `alive`. Like the probes it is answered before the gate and the app's routes; unlike them a
//! call is in flight, because a watch lasts: it says `NOT_SERVING` when a drain begins, and comes
//! to an end when its connection's streams do ([`GoingAway`]).

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response, Version},
};
use futures_util::stream::{self, Stream};
use hyper::body::Incoming;
use tokio::time::timeout;
use tonic::Status;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower_service::Service;
use uptree_app::{Monitor, Readiness, ReadinessWatch};

use crate::{
    away::GoingAway,
    connection::Connection,
    gate::Stage,
    probes::{Probe, Probes},
};

/// Where the service is.
const PATH: &str = "/grpc.health.v1.Health/";

/// How long a client may take to say which service it asks for.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The longest message that a client may send: the name of a service.
const LONGEST: usize = 4096;

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Whether a request is for the health service. It is on HTTP/2 only, as gRPC is.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && request.uri().path().starts_with(PATH)
}

/// The answer to a request for the health service.
pub(crate) fn answer(
    request: Request<Incoming>,
    probes: &Arc<Probes>,
    connection: &Arc<Connection>,
) -> Answer {
    let asked = Asked {
        probes: Arc::clone(probes),
        connection: Arc::clone(connection),
    };
    let mut server = HealthServer::new(asked).max_decoding_message_size(LONGEST);
    Box::pin(async move {
        let response = match timeout(REQUEST_LIMIT, server.call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => Status::deadline_exceeded("no service was named in time").into_http(),
        };
        response.map(Body::new)
    })
}

/// A call on a connection.
struct Asked {
    probes: Arc<Probes>,
    connection: Arc<Connection>,
}

/// The probe that a service's name stands for.
fn probe(name: &str) -> Option<Probe> {
    match name {
        "" | "ready" => Some(Probe::Ready),
        "started" => Some(Probe::Started),
        "alive" => Some(Probe::Alive),
        _ => None,
    }
}

/// What a probe comes to.
fn status(
    probes: &Probes,
    probe: Probe,
    stage: Stage,
    readiness: Option<&Readiness>,
) -> ServingStatus {
    let yes = match probe {
        Probe::Alive => true,
        Probe::Started => probes.is_started(stage),
        Probe::Ready => stage == Stage::Open && readiness.is_none_or(Readiness::is_ready),
    };
    match yes {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Asked {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let Some(probe) = probe(&request.get_ref().service) else {
            return Err(Status::not_found(
                "the services are `ready`, `started` and `alive`",
            ));
        };
        let stage = self.connection.all().gate.stage();
        let readiness = self.probes.monitor().map(Monitor::readiness);
        let status = status(&self.probes, probe, stage, readiness.as_ref());
        Ok(tonic::Response::new(message(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let told = Told {
            probe: probe(&request.get_ref().service),
            probes: Arc::clone(&self.probes),
            watch: self.probes.monitor().map(Monitor::watch_readiness),
            going_away: GoingAway::new(&self.connection),
            connection: Arc::clone(&self.connection),
            last: None,
        };
        let told = stream::unfold(told, async |mut told| {
            let status = told.next().await?;
            Some((Ok(message(status)), told))
        });
        Ok(tonic::Response::new(Box::pin(told)))
    }
}

/// What a watch has been told.
struct Told {
    /// `None`: of a service that is not known.
    probe: Option<Probe>,
    probes: Arc<Probes>,
    watch: Option<ReadinessWatch>,
    going_away: GoingAway,
    connection: Arc<Connection>,
    last: Option<ServingStatus>,
}

impl Told {
    /// The next status that is another than the last; `None` when the stream is to end.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let gate = &self.connection.all().gate;
            // Before the look: what changes after it is not missed.
            let changed = gate.changed();
            let readiness = self.watch.as_mut().map(ReadinessWatch::readiness);
            let status = match self.probe {
                None => ServingStatus::ServiceUnknown,
                Some(probe) => status(&self.probes, probe, gate.stage(), readiness.as_ref()),
            };
            if self.last != Some(status) {
                self.last = Some(status);
                return Some(status);
            }
            let readiness_changed = async {
                match &self.watch {
                    Some(watch) => watch.changed().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = readiness_changed => {}
                () = self.going_away.wait() => return None,
            }
        }
    }
}
