//! What an HTTP API says when it says no (RFC 9457).

use std::{borrow::Cow, error::Error, fmt};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use uptree_app::{BoxError, Unavailable};

/// The media type of a problem.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The members that RFC 9457 defines; an extension cannot take their place.
const MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// An error as a client sees it: `application/problem+json`, RFC 9457.
///
/// It is a response and an error, so a handler returns `Result<_, Problem>` and uses `?`. It says
/// only what its author wrote: the error behind a 5xx goes to the log by
/// [`internal`](Self::internal), never into the body. A 503 carries `Retry-After`.
///
/// # Examples
///
/// ```
/// use axum::http::StatusCode;
/// use uptree_http::Problem;
///
/// async fn sensor(known: bool) -> Result<&'static str, Problem> {
///     if !known {
///         return Err(Problem::new(StatusCode::NOT_FOUND).detail("no sensor has this id"));
///     }
///     Ok("21.5")
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let problem = runtime.block_on(sensor(false)).unwrap_err();
/// assert_eq!(problem.to_string(), "404 Not Found: no sensor has this id");
/// assert_eq!(
///     problem.to_json(),
///     r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no sensor has this id"}"#,
/// );
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a problem does nothing until it is returned"]
pub struct Problem {
    // Boxed, so that a `Result<_, Problem>` is as small as its `Ok`.
    members: Box<Members>,
}

#[derive(Clone, PartialEq)]
struct Members {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    instance: Option<Cow<'static, str>>,
    extensions: Map<String, Value>,
}

impl Problem {
    /// A problem of this status, and nothing else known about it.
    pub fn new(status: StatusCode) -> Self {
        let members = Members {
            status,
            kind: Cow::Borrowed("about:blank"),
            title: None,
            detail: None,
            instance: None,
            extensions: Map::new(),
        };
        Self {
            members: Box::new(members),
        }
    }

    /// A 500 for an error that the client can do nothing about.
    ///
    /// The error and its causes are logged; the body says nothing of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use uptree_http::Problem;
    ///
    /// fn load() -> Result<String, Problem> {
    ///     std::fs::read_to_string("/no/such/file").map_err(Problem::internal)
    /// }
    ///
    /// let problem = load().unwrap_err();
    /// assert_eq!(problem.to_string(), "500 Internal Server Error");
    /// ```
    pub fn internal(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        tracing::error!(error = %chain(&*error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Names the kind of problem by a URI: the member `type`. Defaults to `about:blank`, which
    /// says no more than the status does.
    pub fn kind(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.members.kind = uri.into();
        self
    }

    /// A short summary of the kind of problem. Defaults to the status's own phrase.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.members.title = Some(title.into());
        self
    }

    /// What is wrong this time, for a person to read. Defaults to none.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.members.detail = Some(detail.into());
        self
    }

    /// A URI of this occurrence. Defaults to none.
    pub fn instance(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.members.instance = Some(uri.into());
        self
    }

    /// Adds a member for machines to read. One of RFC 9457's own members is not replaced.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.extensions.insert(name.into(), value.into());
        self
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.members.status
    }

    /// The body of the response.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and JSON values are always JSON")
    }

    fn shown_title(&self) -> Option<&str> {
        let own = self.members.title.as_deref();
        own.or(self.members.status.canonical_reason())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = &*self.members;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &members.kind)?;
        if let Some(title) = self.shown_title() {
            map.serialize_entry("title", title)?;
        }
        map.serialize_entry("status", &members.status.as_u16())?;
        if let Some(detail) = &members.detail {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(instance) = &members.instance {
            map.serialize_entry("instance", instance)?;
        }
        for (name, value) in &members.extensions {
            if !MEMBERS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.members.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        if self.members.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, retry_after());
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.members.status.as_str())?;
        if let Some(title) = self.shown_title() {
            write!(f, " {title}")?;
        }
        match &self.members.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({})", self.to_json())
    }
}

impl Error for Problem {}

/// What a handler needs is down for now: 503, and when to come again. The body does not say what:
/// the parts of a service are not its clients' business.
impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        tracing::debug!(error = %unavailable, "a request was answered 503");
        Self::new(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// 1 to 3 seconds, at random, so that clients turned away together do not come back together.
pub(crate) fn retry_after() -> HeaderValue {
    HeaderValue::from_static(["1", "2", "3"][fastrand::usize(..3)])
}

/// An error and its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors print their cause as well as give it.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: &Problem, json: &str) {
        assert_eq!(problem.to_json(), json);
    }

    #[test]
    fn a_problem_says_what_it_was_given() {
        let gone = Problem::new(StatusCode::GONE);
        check(
            &gone,
            r#"{"type":"about:blank","title":"Gone","status":410}"#,
        );
        let full = gone
            .kind("https://example.com/spent")
            .title("Spent")
            .detail("\"all\" 3 are spent")
            .instance("/vouchers/3")
            .extension("left", 0)
            .extension("status", "an extension cannot lie about the status");
        check(
            &full,
            r#"{"type":"https://example.com/spent","title":"Spent","status":410,"detail":"\"all\" 3 are spent","instance":"/vouchers/3","left":0}"#,
        );
    }

    #[test]
    fn a_status_without_a_phrase_has_no_title() {
        let odd = StatusCode::from_u16(599).expect("a status");
        check(&Problem::new(odd), r#"{"type":"about:blank","status":599}"#);
    }

    #[test]
    fn only_a_503_says_when_to_come_again() {
        for (status, says) in [
            (StatusCode::SERVICE_UNAVAILABLE, true),
            (StatusCode::BAD_GATEWAY, false),
            (StatusCode::NOT_FOUND, false),
        ] {
            let response = Problem::new(status).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
            let retry_after = response.headers().get(header::RETRY_AFTER);
            assert_eq!(retry_after.is_some(), says, "{status}");
        }
    }

    #[test]
    fn clients_turned_away_together_come_back_apart() {
        let mut seen = [false; 4];
        for _ in 0..200 {
            let seconds = retry_after();
            let seconds = seconds.to_str().expect("ASCII");
            seen[seconds.parse::<usize>().expect("whole seconds")] = true;
        }
        assert_eq!(seen, [false, true, true, true]);
    }

    #[test]
    fn the_cause_of_a_500_is_not_in_its_body() {
        let cause = std::io::Error::other("password 'hunter2' refused");
        let problem = Problem::internal(cause);
        check(
            &problem,
            r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#,
        );
    }

    #[test]
    fn a_problem_is_small() {
        assert_eq!(size_of::<Result<(), Problem>>(), size_of::<usize>());
    }
}
