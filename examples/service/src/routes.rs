//! The HTTP interface.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::json;
use uptree::{
    http::{Json, Path, Query},
    prelude::*,
    sqlx::is_unavailable,
};

use crate::{
    Ingestion,
    ingestion::Refused,
    reading::{Readings, is_sensor},
    store::{self, Shown, Summary},
};

#[derive(Clone)]
struct Service {
    repo: Repo,
    ingestion: Ingestion,
}

/// `POST /readings`, `GET /readings`, `GET /sensors/{id}`.
pub fn routes(repo: &Repo, ingestion: &Ingestion) -> Router {
    let service = Service {
        repo: repo.clone(),
        ingestion: ingestion.clone(),
    };
    Router::new()
        .route("/readings", get(newest).post(accept))
        .route("/sensors/{id}", get(sensor))
        .with_state(service)
}

async fn accept(
    State(service): State<Service>,
    Json(Readings(readings)): Json<Readings>,
) -> Result<(StatusCode, axum::Json<serde_json::Value>), Problem> {
    let ids: Vec<_> = readings.iter().map(|reading| reading.id).collect();
    service
        .ingestion
        .accept(readings)
        .map_err(|refused| match refused {
            Refused::TooMany => {
                let limit = service.ingestion.size();
                let detail = format!("at most {limit} readings at once (QUEUE_SIZE)");
                let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE).detail(detail);
                problem.extension("limit", limit)
            }
            Refused::NotNow => unavailable("too many readings wait to be written"),
        })?;
    let accepted = json!({ "accepted": ids.len(), "ids": ids });
    Ok((StatusCode::ACCEPTED, axum::Json(accepted)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    sensor: Option<String>,
    #[serde(default = "hundred", deserialize_with = "limit")]
    limit: i64,
}

fn hundred() -> i64 {
    100
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let limit = String::deserialize(deserializer)?.parse().ok();
    let limit = limit.filter(|limit| (1..=1000).contains(limit));
    limit.ok_or_else(|| D::Error::custom("takes a whole number from 1 to 1000"))
}

async fn newest(
    State(service): State<Service>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Vec<Shown>>, Problem> {
    if which.sensor.as_deref().is_some_and(|name| !is_sensor(name)) {
        return Ok(axum::Json(Vec::new()));
    }
    let pool = service.repo.pool()?;
    let readings = store::newest(&pool, which.sensor.as_deref(), which.limit).await;
    readings.map(axum::Json).map_err(database_problem)
}

async fn sensor(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<axum::Json<Summary>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND).detail("no reading of this sensor");
    if !is_sensor(&id) {
        return Err(unknown());
    }
    let pool = service.repo.pool()?;
    let summary = store::summary(&pool, &id).await.map_err(database_problem)?;
    summary.map(axum::Json).ok_or_else(unknown)
}

fn unavailable(detail: &'static str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail)
}

/// The cause goes to the log, never to the client.
fn database_problem(error: sqlx::Error) -> Problem {
    if is_unavailable(&error) {
        tracing::warn!(%error, "the database does not answer");
        return unavailable("the database does not answer");
    }
    Problem::internal(error)
}
