//! When what lives long is to go: websockets, event streams, long polls.

use std::{
    convert::Infallible,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::connection::Connection;

/// Tells a handler when it is to come to an end because the service stops.
///
/// Take it as an argument of a handler whose answer may take long: a websocket, a long poll, a
/// stream. [`wait`](Self::wait) completes when it is time to go: over the second half of the drain
/// delay, or over up to a second after it, each request at a moment of its own, so that clients do
/// not all come back somewhere else at once. What takes no notice is waited for until the drain
/// limit is over, then counted, logged and cut. A second signal, and the end of the endpoint, make
/// it complete at once.
///
/// A response of the type `text/event-stream` ends at that moment by itself, between two pieces of
/// its body.
///
/// A request that did not come through an [`Endpoint`](crate::Endpoint), as in a unit test of its
/// handler, is never told.
///
/// # Examples
///
/// A long poll, which answers "nothing new" rather than be cut:
///
/// ```
/// use axum::{Router, http::StatusCode, response::{IntoResponse, Response}, routing::get};
/// use uptree_http::GoingAway;
///
/// # async fn news() -> String { std::future::pending().await }
/// async fn poll(going_away: GoingAway) -> Response {
///     tokio::select! {
///         news = news() => news.into_response(),
///         () = going_away.wait() => StatusCode::NO_CONTENT.into_response(),
///     }
/// }
///
/// let routes: Router = Router::new().route("/poll", get(poll));
/// ```
///
/// A websocket (axum's feature `ws`), which says 1001 ("going away") and waits for the client to
/// say goodbye:
///
/// ```
/// use axum::{
///     Router,
///     extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
///     response::Response,
///     routing::any,
/// };
/// use uptree_http::GoingAway;
///
/// async fn echo(upgrade: WebSocketUpgrade, going_away: GoingAway) -> Response {
///     upgrade.on_upgrade(|socket| run(socket, going_away))
/// }
///
/// async fn run(mut socket: WebSocket, going_away: GoingAway) {
///     let mut told = false;
///     loop {
///         let message = tokio::select! {
///             message = socket.recv() => message,
///             () = going_away.wait(), if !told => {
///                 told = true;
///                 let close = CloseFrame { code: close_code::AWAY, reason: "going away".into() };
///                 if socket.send(Message::Close(Some(close))).await.is_err() {
///                     return;
///                 }
///                 continue;
///             }
///         };
///         let Some(Ok(message)) = message else { return };
///         if !told && socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
///
/// let routes: Router = Router::new().route("/echo", any(echo));
/// ```
#[derive(Clone)]
pub struct GoingAway {
    connection: Option<Arc<Connection>>,
    /// Where in the time that its connection is given: from 0 to 1.
    share: f32,
}

impl GoingAway {
    pub(crate) fn new(connection: &Arc<Connection>) -> Self {
        Self {
            connection: Some(Arc::clone(connection)),
            share: fastrand::f32(),
        }
    }

    /// Completes when it is time to go; at once if it has been before. Can be waited for again and
    /// by clones.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&self) {
        match &self.connection {
            Some(connection) => connection.away.wait(self.share).await,
            None => std::future::pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for GoingAway {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or(Self {
            connection: None,
            share: 0.0,
        }))
    }
}

impl fmt::Debug for GoingAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoingAway").finish_non_exhaustive()
    }
}

/// What a connection knows of when it is to go.
#[derive(Debug, Default)]
pub(crate) struct Away {
    /// When each request goes is between these two, where its own share has it.
    window: Mutex<Option<(Instant, Instant)>>,
    changed: Notify,
}

impl Away {
    /// Has each request go at a moment of its own from now on until `over` has passed, unless its
    /// moment was to come earlier.
    pub(crate) fn tell(&self, over: Duration) {
        let now = Instant::now();
        let mut window = self.lock();
        let from = window.map_or(now, |(from, _)| from.min(now));
        let until = window.map_or(now + over, |(_, until)| until.min(now + over));
        *window = Some((from, until.max(from)));
        drop(window);
        self.changed.notify_waiters();
    }

    /// When a request with this share is to go.
    fn moment(&self, share: f32) -> Option<Instant> {
        let (from, until) = (*self.lock())?;
        Some(from + (until - from).mul_f32(share))
    }

    async fn wait(&self, share: f32) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // In the list of waiters before the look: what changes after it is not missed.
            changed.as_mut().enable();
            let Some(moment) = self.moment(share) else {
                changed.await;
                continue;
            };
            tokio::select! {
                biased;
                () = sleep_until(moment) => return,
                () = changed => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Instant)>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// When each of these shares goes, in milliseconds from now on.
    async fn moments(away: &Arc<Away>, shares: &[f32]) -> Vec<u128> {
        let start = Instant::now();
        let waiters: Vec<_> = shares
            .iter()
            .map(|&share| {
                let away = Arc::clone(away);
                tokio::spawn(async move {
                    away.wait(share).await;
                    start.elapsed().as_millis()
                })
            })
            .collect();
        let mut moments = Vec::new();
        for waiter in waiters {
            moments.push(waiter.await.expect("no panic"));
        }
        moments
    }

    #[tokio::test(start_paused = true)]
    async fn each_goes_where_its_share_of_the_time_has_it() {
        let away = Arc::new(Away::default());
        let teller = {
            let away = Arc::clone(&away);
            tokio::spawn(async move {
                sleep(SECOND).await;
                away.tell(4 * SECOND);
            })
        };
        assert_eq!(moments(&away, &[0.0, 0.5, 1.0]).await, [1000, 3000, 5000]);
        teller.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_late_goes_at_once() {
        let away = Arc::new(Away::default());
        away.tell(SECOND);
        sleep(2 * SECOND).await;
        assert_eq!(moments(&away, &[0.0, 1.0]).await, [0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_comes_nearer_and_never_goes_further_away() {
        let away = Arc::new(Away::default());
        away.tell(8 * SECOND);
        let teller = {
            let away = Arc::clone(&away);
            tokio::spawn(async move {
                sleep(SECOND).await;
                away.tell(60 * SECOND);
                away.tell(Duration::ZERO);
            })
        };
        assert_eq!(moments(&away, &[0.0, 0.5, 1.0]).await, [0, 1000, 1000]);
        teller.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_waited_for_again() {
        let connection = crate::connections::Connections::new().open();
        let going_away = GoingAway::new(&connection);
        connection.away.tell(SECOND);
        going_away.wait().await;
        let start = Instant::now();
        going_away.clone().wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
