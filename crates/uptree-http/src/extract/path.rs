//! The parts of a path that a route gives names to.

use axum::{
    extract::{
        FromRequestParts, RawPathParams,
        path::ErrorKind,
        rejection::{FailedToDeserializePathParams, PathRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The parameters of a route's path.
///
/// What does not fit is a 400 that names the parameter, in its detail and in `parameter`. A handler that asks for what its route does
/// not have is a mistake of its author's: a 500, and a line in the log.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use uptree_http::Path;
///
/// async fn sensor(Path(id): Path<u32>) -> String {
///     format!("sensor {id}")
/// }
///
/// let routes: Router = Router::new().route("/sensors/{id}", get(sensor));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parameters)) => Ok(Self(parameters)),
            Err(PathRejection::FailedToDeserializePathParams(failed)) => {
                let raw = RawPathParams::from_request_parts(parts, state).await;
                let names = raw.iter().flatten().map(|(name, _)| name);
                Err(problem(failed, &names.collect::<Vec<_>>()))
            }
            Err(rejection) => Err(Problem::internal(rejection.body_text())),
        }
    }
}

/// What is wrong with the parameters of these names, in the order of the path.
fn problem(failed: FailedToDeserializePathParams, names: &[&str]) -> Problem {
    if failed.status().is_server_error() {
        return Problem::internal(failed.body_text());
    }
    let no = |value: &str, expected: &str| format!("`{value}` is no {expected}");
    let name_of = |index: usize| names.get(index).copied().unwrap_or_default().to_owned();
    let (name, what) = match failed.into_kind() {
        ErrorKind::ParseErrorAtKey {
            key,
            value,
            expected_type,
        } => (key, no(&value, expected_type)),
        ErrorKind::ParseErrorAtIndex {
            index,
            value,
            expected_type,
        } => (name_of(index), no(&value, expected_type)),
        ErrorKind::ParseError {
            value,
            expected_type,
        } => (name_of(0), no(&value, expected_type)),
        ErrorKind::InvalidUtf8InPathParam { key } => (key, "not UTF-8".to_owned()),
        ErrorKind::DeserializeError { key, message, .. } => (key, message),
        kind => {
            return Problem::new(StatusCode::BAD_REQUEST).detail(format!("path: {kind}"));
        }
    };
    Problem::new(StatusCode::BAD_REQUEST)
        .detail(format!("path parameter `{name}`: {what}"))
        .extension("parameter", name)
}
