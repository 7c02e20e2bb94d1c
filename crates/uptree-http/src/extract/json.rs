//! JSON in and out.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::{limit::BodyLimit, problem::Problem};

/// A JSON body: of a request as an extractor, of a response as its answer.
///
/// | the request's body is | problem | with |
/// |---|---|---|
/// | not called JSON (`application/json`, `application/…+json`) | 415 | |
/// | longer than `BODY_LIMIT` | 413 | `limit` |
/// | not JSON | 400 | `line`, `column` |
/// | JSON of another shape | 422 | `pointer`, a JSON pointer (RFC 6901) to the place |
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::post};
/// use serde::{Deserialize, Serialize};
/// use uptree_http::Json;
///
/// #[derive(Deserialize, Serialize)]
/// struct Reading {
///     sensor: String,
///     value: f64,
/// }
///
/// async fn double(Json(mut reading): Json<Reading>) -> Json<Reading> {
///     reading.value *= 2.0;
///     Json(reading)
/// }
///
/// let routes: Router = Router::new().route("/double", post(double));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let limit = request.extensions().get::<BodyLimit>().copied();
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| match (rejection.status(), limit) {
            (StatusCode::PAYLOAD_TOO_LARGE, Some(limit)) => limit.problem(),
            (status, _) => Problem::new(status).detail("the body could not be read to its end"),
        })?;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = match essence.strip_prefix("application/") {
        Some(kind) => kind == "json" || kind.ends_with("+json"),
        None => false,
    };
    if is_json {
        return Ok(());
    }
    let found = if essence.is_empty() {
        "missing"
    } else {
        &essence
    };
    Err(
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail(format!(
            "content-type has to be application/json, and is {found}"
        )),
    )
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => wrong_shape(&error, &pointer::<T>(body)),
        Category::Io | Category::Syntax | Category::Eof => not_json(&error),
    })
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST)
        .detail(format!("the body is not JSON: {error}"))
        .extension("line", error.line())
        .extension("column", error.column())
}

fn wrong_shape(error: &serde_json::Error, pointer: &str) -> Problem {
    let message = error.to_string();
    // The pointer says where, and says it better.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = message.strip_suffix(&place).unwrap_or(&message);
    let detail = if pointer.is_empty() {
        what.to_owned()
    } else {
        format!("{pointer}: {what}")
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY)
        .detail(detail)
        .extension("pointer", pointer)
}

/// The place at which `body` is no `T`, as a JSON pointer.
///
/// It is parsed for a second time to learn this: a body that is right pays nothing for it.
fn pointer<T: DeserializeOwned>(body: &[u8]) -> String {
    let mut body = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut body) {
        Ok(_) => String::new(),
        Err(error) => to_pointer(error.path()),
    }
}

fn to_pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            // A variant's name stands in the body as a key.
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&token);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Reading {
        sensor: String,
        #[serde(rename = "a/b~c")]
        value: Option<f64>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    enum Kind {
        Cold { below: f64 },
    }

    async fn problem(content_type: Option<&str>, body: &str) -> Value {
        let mut request = Request::builder().method("POST").uri("/");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let read = Json::<Vec<Reading>>::from_request(request, &()).await;
        let problem = read.err().map_or(json!({}), |problem| json!(problem));
        let mut problem = problem;
        if let Some(problem) = problem.as_object_mut() {
            problem.remove("type");
            problem.remove("title");
        }
        problem
    }

    #[track_caller]
    fn check(found: &Value, expected: &Value) {
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn what_is_right_is_taken() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.readings+json",
        ] {
            let found = problem(Some(content_type), r#"[{"sensor":"a"}]"#).await;
            check(&found, &json!({}));
        }
    }

    #[tokio::test]
    async fn what_is_not_json_is_told_line_and_column() {
        let found = problem(Some("application/json"), "[\n  {\"sensor\" 1}]").await;
        let detail = "the body is not JSON: expected `:` at line 2 column 13";
        check(
            &found,
            &json!({"status": 400, "detail": detail, "line": 2, "column": 13}),
        );
        let found = problem(Some("application/json"), "").await;
        let detail = "the body is not JSON: EOF while parsing a value at line 1 column 0";
        check(
            &found,
            &json!({"status": 400, "detail": detail, "line": 1, "column": 0}),
        );
        let found = problem(Some("application/json"), "[] []").await;
        assert_eq!(found["status"], 400, "nothing may follow");
    }

    #[tokio::test]
    async fn json_of_another_shape_is_pointed_at() {
        for (body, pointer, what) in [
            ("{}", "", "invalid type: map, expected a sequence"),
            ("[{}]", "/0", "missing field `sensor`"),
            (
                r#"[{"sensor":"a"},{"sensor":1}]"#,
                "/1/sensor",
                "invalid type: integer `1`, expected a string",
            ),
            (
                r#"[{"sensor":"a","a/b~c":"x"}]"#,
                "/0/a~1b~0c",
                "invalid type: string \"x\", expected f64",
            ),
            (
                r#"[{"sensor":"a","kind":{"Cold":{"below":"x"}}}]"#,
                "/0/kind/Cold/below",
                "invalid type: string \"x\", expected f64",
            ),
        ] {
            let found = problem(Some("application/json"), body).await;
            let detail = match pointer {
                "" => what.to_owned(),
                pointer => format!("{pointer}: {what}"),
            };
            check(
                &found,
                &json!({"status": 422, "detail": detail, "pointer": pointer}),
            );
        }
    }

    #[tokio::test]
    async fn what_is_not_called_json_is_not_read() {
        for (content_type, found) in [
            (None, "missing"),
            (Some("text/plain; charset=utf-8"), "text/plain"),
            (Some("application/xml"), "application/xml"),
            (Some("text/json"), "text/json"),
        ] {
            let detail = format!("content-type has to be application/json, and is {found}");
            let found = problem(content_type, "[]").await;
            check(&found, &json!({"status": 415, "detail": detail}));
        }
    }
}
