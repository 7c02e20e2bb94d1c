//! How long a request's body may be.

use axum::{
    extract::DefaultBodyLimit,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::Limited;

use crate::problem::Problem;

/// The bound on every request's body, `BODY_LIMIT`. It is also an extension of each request that
/// has a body, so that who refuses one can name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit(pub(crate) usize);

impl BodyLimit {
    /// Whether a request says of itself that its body is too long.
    pub(crate) fn is_exceeded_by(self, headers: &HeaderMap) -> bool {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        length.is_some_and(|length| length > self.0 as u64)
    }

    /// Makes this the limit for whatever reads the body of `request`.
    pub(crate) fn announce<B>(self, request: &mut Request<B>) {
        // axum's own limit of 2 MB would be in the way of a higher one.
        DefaultBodyLimit::disable().apply(request);
        request.extensions_mut().insert(self);
    }

    /// Bounds a body: one that does not say how long it is is broken off where it is too long.
    pub(crate) fn bound<B>(self, body: B) -> Limited<B> {
        Limited::new(body, self.0)
    }

    /// The answer to a body that is too long.
    pub(crate) fn problem(self) -> Problem {
        let limit = self.0;
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
            .detail(format!("a body may be at most {limit} bytes long"))
            .extension("limit", limit)
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
