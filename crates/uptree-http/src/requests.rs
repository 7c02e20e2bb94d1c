//! What becomes of a request: a probe is answered at once, the gate is asked, the app's routes
//! are called, and what they answer is made fit to leave.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header},
    response::IntoResponse,
    routing::future::RouteFuture,
};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    body::Reply,
    connection::{Connection, InFlight},
    limit::BodyLimit,
    mend::{self, Mended},
    probes,
    problem::Problem,
};

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Requests {
    connection: Arc<Connection>,
    routes: Router,
    limit: BodyLimit,
}

/// What was asked for, kept to be named in the log if it goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

impl Requests {
    pub(crate) fn new(connection: Arc<Connection>, routes: Router, limit: BodyLimit) -> Self {
        Self {
            connection,
            routes,
            limit,
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn now(&self, response: Response<Reply>) -> Answer {
        Answer::Now {
            response: Some(response),
            connection: Arc::clone(&self.connection),
        }
    }

    fn refuse(&self, problem: Problem) -> Answer {
        self.now(problem.into_response().map(Reply::from))
    }
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let connection = &self.connection;
        connection.header_ended(request.version() == Version::HTTP_2);
        let (method, path) = (request.method(), request.uri().path());
        if let Some(response) = probes::answer(method, path, connection.all().gate.stage()) {
            return self.now(response);
        }
        let Some(in_flight) = connection.enter() else {
            return self.refuse(Problem::new(StatusCode::SERVICE_UNAVAILABLE));
        };
        let asked = Asked {
            method: method.clone(),
            uri: request.uri().clone(),
        };
        let request = match self.limit.apply(request) {
            Ok(request) => request,
            Err(problem) => return self.refuse(problem),
        };
        let mut routes = self.routes.clone();
        match catch_unwind(AssertUnwindSafe(|| routes.call(request))) {
            Ok(route) => Answer::Route {
                route,
                asked,
                limit: self.limit,
                in_flight: Some(in_flight),
            },
            Err(panic) => self.refuse(panicked(&*panic, &asked)),
        }
    }
}

pin_project! {
    /// The answer to a request.
    #[project = AnswerProjection]
    pub(crate) enum Answer {
        /// It needs nothing of the app.
        Now {
            response: Option<Response<Reply>>,
            connection: Arc<Connection>,
        },
        /// The app is asked.
        Route {
            #[pin]
            route: RouteFuture<Infallible>,
            asked: Asked,
            limit: BodyLimit,
            in_flight: Option<InFlight>,
        },
        /// The app has answered with an error that is read to make a problem of it.
        Mend {
            mending: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
            in_flight: Option<InFlight>,
        },
    }
}

impl Future for Answer {
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "HTTP does not poll an answer that it has got";
        loop {
            match self.as_mut().project() {
                AnswerProjection::Now {
                    response,
                    connection,
                } => {
                    let response = response.take().expect(ONCE);
                    return Poll::Ready(Ok(with_farewell(response, connection)));
                }
                AnswerProjection::Route {
                    route,
                    asked,
                    limit,
                    in_flight,
                } => {
                    let response = match catch_unwind(AssertUnwindSafe(|| route.poll(cx))) {
                        Ok(poll) => ready!(poll).unwrap_or_else(|never| match never {}),
                        Err(panic) => panicked(&*panic, asked).into_response(),
                    };
                    let in_flight = in_flight.take().expect(ONCE);
                    match mend::mend(response, asked, *limit) {
                        Mended::Now(response) => {
                            return Poll::Ready(Ok(reply(response, in_flight)));
                        }
                        Mended::Reading(mending) => {
                            let in_flight = Some(in_flight);
                            self.set(Answer::Mend { mending, in_flight });
                        }
                    }
                }
                AnswerProjection::Mend { mending, in_flight } => {
                    let response = ready!(mending.as_mut().poll(cx));
                    let in_flight = in_flight.take().expect(ONCE);
                    return Poll::Ready(Ok(reply(response, in_flight)));
                }
            }
        }
    }
}

/// The app's response; its request is in flight until the body is sent.
fn reply(response: Response<Body>, in_flight: InFlight) -> Response<Reply> {
    let response = with_farewell(response, in_flight.connection());
    response.map(|body| Reply::App {
        body,
        in_flight: Some(in_flight),
    })
}

/// Says goodbye with a response, if the connection is to. On HTTP/2 the connection does it.
fn with_farewell<B>(mut response: Response<B>, connection: &Connection) -> Response<B> {
    let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if connection.answering() && !connection.http2() && !upgrades {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// The answer in place of a handler that panicked; what it said goes to the log.
fn panicked(panic: &(dyn Any + Send), Asked { method, uri }: &Asked) -> Problem {
    let panic = panic_message(panic);
    let path = uri.path();
    tracing::error!(%method, path, panic, "a handler panicked; its client gets a 500");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a panic was told, if it is a text.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}
