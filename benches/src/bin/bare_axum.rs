//! The smallest axum service: what `examples/minimal` is held against.

use std::{env, io};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:4000".into());
    let routes = Router::new().route("/alive", get(|| async { "ok" }));
    axum::serve(TcpListener::bind(addr).await?, routes).await
}
