//! The smallest axum service: what `uptree_server` and `examples/minimal` are held against.

use std::{env, io};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:4000".into());
    let routes = Router::new()
        .route("/alive", get(|| async { "alive" }))
        .route("/ready", get(|| async { "ready" }))
        .route("/hello", get(|| async { "hello" }));
    axum::serve(TcpListener::bind(addr).await?, routes).await
}
