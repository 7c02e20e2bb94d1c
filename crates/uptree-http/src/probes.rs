//! `/alive` and `/ready`: what asks whether this process is to be killed, and whether it is to be
//! given work.
//!
//! They are answered before the app's routes and middleware are looked at, whatever the gate says,
//! and do not count as requests in flight. `/alive` says that the process serves: never how its
//! dependencies or its boot are. `/ready` says in a word what is missing, never why.

use axum::http::{HeaderValue, Method, Response, StatusCode, header};

use crate::{body::Reply, gate::Stage};

/// The answer to a probe; `None` if the path is not a probe's.
pub(crate) fn answer(method: &Method, path: &str, stage: Stage) -> Option<Response<Reply>> {
    let (status, text) = match path {
        "/alive" => (StatusCode::OK, "alive"),
        "/ready" => match stage {
            Stage::Open => (StatusCode::OK, "ready"),
            Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Stage::Draining | Stage::LastCall => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Stage::Stopping | Stage::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        },
        _ => return None,
    };
    let response = match *method {
        Method::GET | Method::HEAD => response(status, text),
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = response(status, "only GET and HEAD");
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    };
    Some(response)
}

fn response(status: StatusCode, text: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::fixed(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, stage: Stage, status: u16, word: &str) {
        let response = answer(method, path, stage).expect("a probe");
        assert_eq!(response.status(), status, "{method} {path} at {stage:?}");
        let Reply::Fixed(Some(body)) = response.body() else {
            panic!("a probe's body is fixed");
        };
        assert_eq!(body, word);
        let retry_after = response.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(retry_after, status == 503);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn what_each_stage_answers() {
        for (stage, ready, word) in [
            (Stage::Starting, 503, "starting"),
            (Stage::Open, 200, "ready"),
            (Stage::Draining, 503, "draining"),
            (Stage::LastCall, 503, "draining"),
            (Stage::Stopping, 503, "stopping"),
        ] {
            for method in [Method::GET, Method::HEAD] {
                check(&method, "/ready", stage, ready, word);
                check(&method, "/alive", stage, 200, "alive");
            }
        }
    }

    #[test]
    fn a_probe_is_only_read() {
        for path in ["/alive", "/ready"] {
            check(&Method::POST, path, Stage::Open, 405, "only GET and HEAD");
            let response = answer(&Method::DELETE, path, Stage::Open).expect("a probe");
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        }
    }

    #[test]
    fn every_other_path_is_the_apps() {
        for path in ["/", "/alive/", "/ready/x", "/aliver", "/ALIVE"] {
            assert!(answer(&Method::GET, path, Stage::Open).is_none(), "{path}");
        }
    }
}
