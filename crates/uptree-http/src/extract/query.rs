//! The part of a URL after the question mark.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The parameters of a request's URL.
///
/// What does not fit is a 400 that names the parameter, in its detail and in `parameter`.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use serde::Deserialize;
/// use uptree_http::Query;
///
/// #[derive(Deserialize)]
/// struct Page {
///     #[serde(default)]
///     skip: u32,
/// }
///
/// async fn list(Query(page): Query<Page>) -> String {
///     format!("from {}", page.skip)
/// }
///
/// let routes: Router = Router::new().route("/list", get(list));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let pairs = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let problem = Problem::new(StatusCode::BAD_REQUEST);
        // Empty where one is missing; the error names it then.
        if error.path().iter().next().is_none() {
            return problem.detail(format!("query: {}", error.inner()));
        }
        let parameter = error.path().to_string();
        problem
            .detail(format!("query parameter `{parameter}`: {}", error.inner()))
            .extension("parameter", parameter)
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Range {
        sensor: String,
        limit: Option<u16>,
    }

    #[test]
    fn what_is_right_is_taken() {
        let range = Range {
            sensor: "a b".to_owned(),
            limit: Some(7),
        };
        assert_eq!(parse("sensor=a%20b&limit=7&other=1"), Ok(range));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, detail, parameter) in [
            (
                "sensor=a&limit=x",
                "query parameter `limit`: invalid digit found in string",
                Some("limit"),
            ),
            ("limit=7", "query: missing field `sensor`", None),
        ] {
            let problem = parse::<Range>(query).expect_err("it is wrong");
            let mut expected = Problem::new(StatusCode::BAD_REQUEST).detail(detail);
            if let Some(parameter) = parameter {
                expected = expected.extension("parameter", json!(parameter));
            }
            assert_eq!(problem, expected, "{query}");
        }
    }
}
