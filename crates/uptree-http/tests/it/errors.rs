//! What a client is told when it, or the app, makes a mistake.

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use uptree_http::{HttpSettings, Json, Path, Query};

use crate::service::{Service, settings, test};

#[derive(Deserialize)]
struct Reading {
    value: f64,
}

#[derive(Deserialize)]
struct Page {
    limit: u16,
}

async fn sum(Json(readings): Json<Vec<Reading>>) -> String {
    let sum: f64 = readings.iter().map(|reading| reading.value).sum();
    sum.to_string()
}

fn routes() -> Router {
    Router::new()
        .route("/sum", post(sum))
        .route(
            "/length",
            post(|body: String| async move { body.len().to_string() }),
        )
        .route(
            "/page",
            get(|Query(page): Query<Page>| async move { page.limit.to_string() }),
        )
        .route(
            "/item/{id}",
            get(|Path(id): Path<u32>| async move { id.to_string() }),
        )
        .route(
            "/pair/{a}/{b}",
            get(|Path(pair): Path<(String, u32)>| async move { pair.0 }),
        )
        .route("/panic", get(|| async { panic!("at once") as &str }))
        .route(
            "/leak",
            get(|| async { (StatusCode::BAD_GATEWAY, "password hunter2") }),
        )
}

async fn start() -> Service {
    let settings = HttpSettings {
        body_limit: 100,
        ..settings()
    };
    Service::start(settings, routes()).await
}

#[test]
fn what_the_router_refuses_is_a_problem() {
    test(async {
        let service = start().await;
        let mut client = service.connect().await;
        let unknown = client.get("/nowhere").await;
        assert_eq!(
            unknown.problem(),
            json!({"type": "about:blank", "title": "Not Found", "status": 404})
        );
        let wrong_method = client.get("/sum").await;
        assert_eq!(wrong_method.problem()["title"], "Method Not Allowed");
        assert_eq!(wrong_method.header("allow"), Some("POST"));
    });
}

#[test]
fn a_body_that_is_wrong_is_told_what_and_where() {
    test(async {
        let service = start().await;
        let mut client = service.connect().await;
        let json = "application/json";
        let right = client
            .post("/sum", json, r#"[{"value":1},{"value":2.5}]"#)
            .await;
        assert_eq!(right.body, "3.5");
        let not_json = client.post("/sum", json, "[{]").await.problem();
        assert_eq!(
            (&not_json["line"], &not_json["column"]),
            (&json!(1), &json!(3))
        );
        let body = r#"[{"value":1},{"value":"x"}]"#;
        let wrong_shape = client.post("/sum", json, body).await.problem();
        assert_eq!(wrong_shape["status"], 422);
        assert_eq!(wrong_shape["pointer"], "/1/value");
        let other = client.post("/sum", "text/plain", "[]").await.problem();
        assert_eq!(other["status"], 415);
    });
}

#[test]
fn a_body_that_is_too_long_is_refused_with_the_limit() {
    test(async {
        let service = start().await;
        for path in ["/sum", "/length"] {
            let mut client = service.connect().await;
            let body = "x".repeat(101);
            let told = client.post(path, "application/json", &body).await.problem();
            assert_eq!(
                (&told["status"], &told["limit"]),
                (&json!(413), &json!(100))
            );

            // One that does not say how long it is.
            let mut client = service.connect().await;
            let body = "x".repeat(60);
            client
                .send(&format!(
                    "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                     transfer-encoding: chunked\r\n\r\n3c\r\n{body}\r\n3c\r\n{body}\r\n0\r\n\r\n"
                ))
                .await;
            let told = client.response().await.problem();
            assert_eq!(
                (&told["status"], &told["limit"]),
                (&json!(413), &json!(100))
            );
        }
        let mut client = service.connect().await;
        let body = "x".repeat(100);
        assert_eq!(
            client.post("/length", "text/plain", &body).await.body,
            "100"
        );
    });
}

#[test]
fn parameters_that_are_wrong_are_named() {
    test(async {
        let service = start().await;
        let mut client = service.connect().await;
        let query = client.get("/page?limit=many").await.problem();
        assert_eq!(
            (&query["status"], &query["parameter"]),
            (&json!(400), &json!("limit"))
        );
        let missing = client.get("/page").await.problem();
        assert_eq!(missing["detail"], "query: missing field `limit`");
        let path = client.get("/item/x").await.problem();
        assert_eq!(path["status"], 400);
        assert_eq!(path["detail"], "path parameter `id`: `x` is no u32");
        assert_eq!(path["parameter"], "id");
        let path = client.get("/pair/x/y").await.problem();
        assert_eq!(path["detail"], "path parameter `b`: `y` is no u32");
        let path = client.get("/item/%FF").await.problem();
        assert_eq!(path["detail"], "path parameter `id`: not UTF-8");
        assert_eq!(client.get("/item/7").await.body, "7");
    });
}

#[test]
fn a_handler_that_panics_is_a_500_and_nothing_more() {
    test(async {
        let service = start().await;
        let mut client = service.connect().await;
        for _ in 0..5 {
            let told = client.get("/panic").await.problem();
            assert_eq!(
                told,
                json!({"type": "about:blank", "title": "Internal Server Error", "status": 500})
            );
        }
        assert_eq!(
            client.get("/item/7").await.body,
            "7",
            "the connection goes on"
        );
        service.stop();
        service.stopped().await;
    });
}

#[test]
fn a_text_in_a_5xx_stays_inside() {
    test(async {
        let service = start().await;
        let mut client = service.connect().await;
        let told = client.get("/leak").await;
        assert_eq!(told.problem()["title"], "Bad Gateway");
        assert!(!told.body.contains("hunter2"));
    });
}
