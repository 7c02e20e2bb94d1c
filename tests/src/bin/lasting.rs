//! A service whose requests last until one of both sides ends them.
//!
//! | | |
//! |---|---|
//! | `GET /events` | an event stream, with an event every 20 ms |
//! | `GET /poll` | a long poll, which has nothing to tell |
//! | `GET /socket` | a websocket that echoes |

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::stream;
use tokio::time::sleep;
use uptree::http::GoingAway;
use uptree::prelude::*;

fn main() -> Exit {
    uptree::main(|http: HttpSettings| {
        let endpoint = Endpoint::new(&http).routes(routes());
        App::new("lasting")
            .child(endpoint.clone())
            .child(Ready::new(&endpoint))
    })
}

fn routes() -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/poll", get(poll))
        .route("/socket", any(socket))
}

async fn events() -> Response {
    let ticks = stream::unfold(0_u64, |number| async move {
        sleep(Duration::from_millis(20)).await;
        let event = Event::default().data(number.to_string());
        Some((Ok::<_, Infallible>(event), number + 1))
    });
    Sse::new(ticks).into_response()
}

async fn poll(going_away: GoingAway) -> StatusCode {
    going_away.wait().await;
    StatusCode::NO_CONTENT
}

async fn socket(upgrade: WebSocketUpgrade, going_away: GoingAway) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, going_away))
}

async fn echo(mut socket: WebSocket, going_away: GoingAway) {
    let mut told = false;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Some(Ok(message)) = message else { return };
                if !told && socket.send(message).await.is_err() {
                    return;
                }
            }
            () = going_away.wait(), if !told => {
                told = true;
                let close = CloseFrame { code: close_code::AWAY, reason: "".into() };
                if socket.send(Message::Close(Some(close))).await.is_err() {
                    return;
                }
            }
        }
    }
}
