//! How long a request's body may be.

use axum::{
    extract::DefaultBodyLimit,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::Limited;
use hyper::body::{Body, Incoming};

use crate::problem::Problem;

/// The bound on every request's body, `BODY_LIMIT`. It is also an extension of each request that
/// has a body, so that who refuses one can name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit(pub(crate) usize);

impl BodyLimit {
    /// Puts the bound on a request. A body that says it is longer is refused unread; one that does
    /// not say is broken off where it is too long.
    pub(crate) fn apply(
        self,
        request: Request<Incoming>,
    ) -> Result<Request<Limited<Incoming>>, Problem> {
        if self.is_exceeded_by(request.headers()) {
            return Err(self.problem());
        }
        let has_body = !request.body().is_end_stream();
        let mut request = request.map(|body| Limited::new(body, self.0));
        if has_body {
            // axum's own limit of 2 MB would be in the way of a higher one.
            DefaultBodyLimit::disable().apply(&mut request);
            request.extensions_mut().insert(self);
        }
        Ok(request)
    }

    /// The answer to a body that is too long.
    pub(crate) fn problem(self) -> Problem {
        let limit = self.0;
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
            .detail(format!("a body may be at most {limit} bytes long"))
            .extension("limit", limit)
    }

    fn is_exceeded_by(self, headers: &HeaderMap) -> bool {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        length.is_some_and(|length| length > self.0 as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_refused_by_what_it_says_of_itself() {
        for (length, exceeded) in [
            (None, false),
            (Some("0"), false),
            (Some("1024"), false),
            (Some("1025"), true),
            (Some("18446744073709551615"), true),
            (Some("x"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, length.parse().expect("ASCII"));
            }
            assert_eq!(
                BodyLimit(1024).is_exceeded_by(&headers),
                exceeded,
                "{length:?}"
            );
        }
    }

    #[test]
    fn the_refusal_names_the_limit() {
        let problem = BodyLimit(1024).problem();
        assert_eq!(
            problem.to_string(),
            "413 Payload Too Large: a body may be at most 1024 bytes long"
        );
    }
}
