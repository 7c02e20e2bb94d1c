//! What becomes of a request: a probe is answered at once, the gate is asked, the app's routes
//! are called, and what they answer is made fit to leave.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderValue, Method, Request, Response, StatusCode, Version, header, uri::PathAndQuery,
    },
    response::IntoResponse,
    routing::future::RouteFuture,
};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

#[cfg(feature = "grpc")]
use crate::grpc;
use crate::{
    away::GoingAway,
    body::{Question, Reply},
    connection::{Connection, InFlight},
    events,
    limit::BodyLimit,
    mend,
    probes::Probes,
    problem::Problem,
};

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Requests {
    connection: Arc<Connection>,
    routes: Router,
    limit: BodyLimit,
    probes: Arc<Probes>,
}

/// What was asked for, kept to be named in the log if it goes wrong.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    path: Option<PathAndQuery>,
}

impl Asked {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }
}

impl Requests {
    pub(crate) fn new(
        connection: Arc<Connection>,
        routes: Router,
        limit: BodyLimit,
        probes: Arc<Probes>,
    ) -> Self {
        Self {
            connection,
            routes,
            limit,
            probes,
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

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        let connection = &self.connection;
        let has_body = !request.body().is_end_stream();
        let is_read_on = connection.asked(|| (keeps(&request), has_body));
        if let Some(response) = self.probes.answer(&request, connection.all().gate.stage()) {
            return self.now(response);
        }
        #[cfg(feature = "grpc")]
        if grpc::is_asked(&request) {
            return Answer::Later {
                since: Instant::now(),
                in_flight: Some(connection.enter_beside_the_gate()),
                response: grpc::answer(request, &self.probes, connection),
            };
        }
        let Some(in_flight) = connection.enter() else {
            if let Some(meters) = connection.all().meters.get() {
                meters.refused();
            }
            return self.refuse(Problem::new(StatusCode::SERVICE_UNAVAILABLE));
        };
        let since = Instant::now();
        let asked = Asked::of(&request);
        let limit = self.limit;
        if *request.method() == Method::CONNECT {
            connection.expect_to_be_taken_over();
        }
        request.extensions_mut().insert(GoingAway::new(connection));
        if has_body {
            if limit.is_exceeded_by(request.headers()) {
                let problem = limit.problem();
                count(connection, problem.status(), since);
                return self.refuse(problem);
            }
            limit.announce(&mut request);
        }
        let request = request.map(|body| {
            if !has_body {
                // Takes no memory, where another body is boxed.
                return Body::empty();
            }
            let reader = is_read_on.then(|| Arc::clone(connection));
            Body::new(Question::new(limit.bound(body), reader))
        });
        let mut routes = self.routes.clone();
        match catch_unwind(AssertUnwindSafe(|| routes.call(request))) {
            Ok(route) => Answer::Route {
                route,
                asked: Some(asked),
                limit,
                since,
                in_flight: Some(in_flight),
            },
            Err(panic) => {
                let problem = panicked(&*panic, &asked);
                count(connection, problem.status(), since);
                self.refuse(problem)
            }
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
            asked: Option<Asked>,
            limit: BodyLimit,
            since: Instant,
            in_flight: Option<InFlight>,
        },
        /// Something else is waited for: an error of the app's that is read to make a problem of
        /// it, or the health service.
        Later {
            response: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
            since: Instant,
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
                    let mut response = response.take().expect(ONCE);
                    bid_farewell(&mut response, connection);
                    return Poll::Ready(Ok(response));
                }
                AnswerProjection::Route {
                    route,
                    asked,
                    limit,
                    since,
                    in_flight,
                } => {
                    let polled = catch_unwind(AssertUnwindSafe(|| route.poll(cx)));
                    let response = match polled {
                        Ok(poll) => ready!(poll).unwrap_or_else(|never| match never {}),
                        Err(panic) => {
                            let asked = asked.as_ref().expect(ONCE);
                            panicked(&*panic, asked).into_response()
                        }
                    };
                    let in_flight = in_flight.take().expect(ONCE);
                    if !mend::is_error(&response) {
                        return Poll::Ready(Ok(reply(response, in_flight, *since)));
                    }
                    let asked = asked.take().expect(ONCE);
                    let response = Box::pin(mend::mend(response, asked, *limit));
                    let (since, in_flight) = (*since, Some(in_flight));
                    self.set(Answer::Later {
                        response,
                        since,
                        in_flight,
                    });
                }
                AnswerProjection::Later {
                    response,
                    since,
                    in_flight,
                } => {
                    let response = ready!(response.as_mut().poll(cx));
                    let in_flight = in_flight.take().expect(ONCE);
                    return Poll::Ready(Ok(reply(response, in_flight, *since)));
                }
            }
        }
    }
}

/// Whether a client keeps its connection after this request.
fn keeps<B>(request: &Request<B>) -> bool {
    let says_close = |value: &HeaderValue| {
        let options = value.to_str().unwrap_or("close").split(',');
        options
            .map(str::trim)
            .any(|option| option.eq_ignore_ascii_case("close"))
    };
    let options = request.headers().get_all(header::CONNECTION);
    request.version() == Version::HTTP_11 && !options.iter().any(says_close)
}

/// The app's response; its request is in flight until the body is sent.
fn reply(mut response: Response<Body>, in_flight: InFlight, since: Instant) -> Response<Reply> {
    let connection = in_flight.connection();
    count(connection, response.status(), since);
    bid_farewell(&mut response, connection);
    events::bound(response, connection).map(|body| Reply::App {
        body,
        in_flight: Some(in_flight),
    })
}

/// Counts an answer to a request of the app that came at `since`.
fn count(connection: &Connection, status: StatusCode, since: Instant) {
    if let Some(meters) = connection.all().meters.get() {
        meters.answered(status, since);
    }
}

/// Says goodbye with a response, if it is to.
fn bid_farewell<B>(response: &mut Response<B>, connection: &Connection) {
    let hands_over = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if hands_over {
        connection.expect_to_be_taken_over();
    }
    if connection.answering() && !hands_over {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
}

/// The answer in place of a handler that panicked; what it said goes to the log.
fn panicked(panic: &(dyn Any + Send), asked: &Asked) -> Problem {
    let panic = panic_message(panic);
    let (method, path) = (&asked.method, asked.path());
    tracing::error!(%method, path, panic, "a handler panicked; its client gets a 500");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a panic was told, if it is a text.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}
