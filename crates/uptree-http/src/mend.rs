//! Makes problems of the errors that leave the app's routes without being one.
//!
//! An error (4xx, 5xx) with no body, or with a plain text as axum's own rejections have, becomes
//! `application/problem+json`; status and headers, such as `Allow`, stay. The text of a 4xx becomes
//! the problem's detail. That of a 5xx is as a rule the error itself: it goes to the log, not to
//! the client. A body of any other type is the app's own way of saying it and is left alone, and so
//! is one that is compressed, streamed or longer than [`LONGEST`]. Every 503 gets `Retry-After`.

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::{
    limit::BodyLimit,
    problem::{Problem, retry_after},
    requests::Asked,
};

/// The longest text that is read for a problem's detail.
const LONGEST: u64 = 8 * 1024;

/// Whether a response may need mending.
pub(crate) fn is_error<B>(response: &Response<B>) -> bool {
    let status = response.status();
    status.is_client_error() || status.is_server_error()
}

/// Makes an error fit to leave.
pub(crate) async fn mend(
    response: Response<Body>,
    asked: Asked,
    limit: BodyLimit,
) -> Response<Body> {
    match Said::by(&response) {
        Said::Nothing => {
            let problem = Problem::new(response.status());
            as_problem(response, problem)
        }
        Said::Text => read(response, &asked, limit).await,
        Said::ItsOwnWay => with_retry_after(response),
    }
}

/// What the body of an error says.
enum Said {
    Nothing,
    Text,
    ItsOwnWay,
}

impl Said {
    fn by(response: &Response<Body>) -> Self {
        let headers = response.headers();
        let length = response.body().size_hint().exact();
        let plain = headers.get(header::CONTENT_TYPE).map(|content_type| {
            let content_type = content_type.to_str().unwrap_or_default();
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/plain")
        });
        match (plain, length) {
            (None | Some(true), Some(0)) => Self::Nothing,
            (Some(true), Some(1..=LONGEST)) if !headers.contains_key(header::CONTENT_ENCODING) => {
                Self::Text
            }
            _ => Self::ItsOwnWay,
        }
    }
}

async fn read(response: Response<Body>, asked: &Asked, limit: BodyLimit) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let text = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(_) => String::new(),
    };
    let response = Response::from_parts(parts, Body::empty());
    let status = response.status();
    let problem = Problem::new(status);
    let problem = if status.is_server_error() {
        let (method, path) = (&asked.method, asked.path());
        tracing::error!(%method, path, status = status.as_u16(), error = text, "a request failed");
        problem
    } else if status == StatusCode::PAYLOAD_TOO_LARGE && text.ends_with("length limit exceeded") {
        limit.problem()
    } else if text.is_empty() {
        problem
    } else {
        problem.detail(text)
    };
    as_problem(response, problem)
}

fn as_problem(response: Response<Body>, problem: Problem) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    let (own, body) = problem.into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    replace(&mut parts.headers, own.headers);
    Response::from_parts(parts, body)
}

/// Puts in a problem's headers; a `Retry-After` of the app's own stays.
fn replace(headers: &mut HeaderMap, own: HeaderMap) {
    for (name, value) in own {
        let Some(name) = name else { continue };
        if name != header::RETRY_AFTER || !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}

fn with_retry_after(mut response: Response<Body>) -> Response<Body> {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers
            .entry(header::RETRY_AFTER)
            .or_insert_with(retry_after);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};
    use serde_json::Value;

    use super::*;

    async fn mended(response: Response<Body>) -> Response<Body> {
        let asked = Asked::of(&Request::new(()));
        mend(response, asked, BodyLimit(9)).await
    }

    async fn text(response: Response<Body>) -> String {
        let body = response.into_body().collect().await.expect("a body");
        String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8")
    }

    async fn detail(response: Response<Body>) -> Option<String> {
        let response = mended(response).await;
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        let status = response.status().as_u16();
        let problem: Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(problem["status"], status);
        Some(problem["detail"].as_str()?.to_owned())
    }

    #[tokio::test]
    async fn a_text_becomes_the_detail_of_a_4xx_and_not_of_a_5xx() {
        for (status, text, expected) in [
            (400, "name is missing\n", Some("name is missing")),
            (404, "", None),
            (500, "password 'hunter2' refused", None),
            (
                413,
                "Failed to buffer the request body: length limit exceeded",
                Some("a body may be at most 9 bytes long"),
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = detail((status, text).into_response()).await;
            assert_eq!(found.as_deref(), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn an_empty_error_keeps_its_headers() {
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        let allow = HeaderValue::from_static("GET,HEAD");
        response.headers_mut().insert(header::ALLOW, allow.clone());
        let zero = HeaderValue::from_static("0");
        response.headers_mut().insert(header::CONTENT_LENGTH, zero);
        let response = mended(response).await;
        assert_eq!(response.headers()[header::ALLOW], allow);
        assert!(text(response).await.contains("Method Not Allowed"));
    }

    #[tokio::test]
    async fn what_is_not_a_plain_error_is_left_alone() {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let zipped = [
            (header::CONTENT_TYPE, "text/plain"),
            (header::CONTENT_ENCODING, "gzip"),
        ];
        let long = "x".repeat(9000);
        for (response, body) in [
            ((StatusCode::BAD_REQUEST, json, "{}").into_response(), "{}"),
            ((StatusCode::BAD_REQUEST, zipped, "z").into_response(), "z"),
            (
                (StatusCode::BAD_REQUEST, long.clone()).into_response(),
                &*long,
            ),
        ] {
            assert_eq!(text(mended(response).await).await, body);
        }
    }

    #[test]
    fn what_is_no_error_is_let_through() {
        for (status, error) in [
            (101, false),
            (200, false),
            (304, false),
            (400, true),
            (599, true),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(is_error(&status.into_response()), error, "{status}");
        }
    }

    #[tokio::test]
    async fn every_503_says_when_to_come_again() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let json = [(header::CONTENT_TYPE, "application/json")];
        let own = || [(header::RETRY_AFTER, "60")];
        for (response, expected) in [
            (status.into_response(), None),
            ((status, "down").into_response(), None),
            ((status, json, "{}").into_response(), None),
            ((status, own()).into_response(), Some("60")),
            ((status, own(), "down").into_response(), Some("60")),
        ] {
            let response = mended(response).await;
            let found = response.headers()[header::RETRY_AFTER].to_str();
            let found = found.expect("ASCII");
            assert!(["1", "2", "3", "60"].contains(&found));
            assert!(expected.is_none_or(|expected| expected == found));
        }
    }
}
