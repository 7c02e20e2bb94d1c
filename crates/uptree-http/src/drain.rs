//! How a service that is to stop leaves its clients, so that none of them loses a request.
//!
//! 1. `/ready` says 503. For the drain delay, while the word spreads that this process is to get
//!    no more work, requests are served as always, and each connection bids farewell at a moment of
//!    its own: its next response says `Connection: close` (HTTP/2: GOAWAY).
//! 2. Last call, at most a second: requests on new connections get 503; on those that were open
//!    they are served, with farewell. A connection is idle when nothing has been in flight on it for
//!    a quarter of a second; it is ended then, and when no other is left the call is over. So a stop
//!    takes no time when nobody is there, and next to none when all are idle.
//! 3. The gate is closed. What is in flight is finished, within the drain limit, counted from the
//!    last call; what is not is cut.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{
    connection::{Connection, Order},
    connections::Connections,
    gate::Stage,
};

/// How long connections that were open before the gate closed are served for: time for a client
/// that is between two requests to send its next one, and to be told that it is the last.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection on which nothing has been in flight for so long is idle: its client is not between
/// two requests.
const IDLE: Duration = Duration::from_millis(250);

/// How often it is looked whether the last call has been heard by all.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long what is cut has to be gone.
const CUT_LIMIT: Duration = Duration::from_millis(500);

/// What a drain takes beyond its delay and its limit, at the most.
const MARGIN: Duration = Duration::from_secs(2);

/// How much time a drain has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Drain {
    /// For how long requests are served as always, once `/ready` says no.
    pub(crate) delay: Duration,
    /// How long what is in flight has to finish after that.
    pub(crate) limit: Duration,
}

impl Drain {
    /// The longest that it takes, all told.
    pub(crate) fn longest(self) -> Duration {
        let longest = self.delay.saturating_add(self.limit);
        longest.saturating_add(MARGIN)
    }

    /// Drains the connections. When it returns no request is in flight, but for what cannot be
    /// cut off; `hurry` gives a future that completes when politeness is to be skipped.
    pub(crate) async fn run<H: Future<Output = ()>>(
        self,
        all: &Connections,
        hurry: impl Fn() -> H,
    ) {
        tracing::info!(connections = all.serving(), delay = ?self.delay, "draining");
        if !self.delay.is_zero() {
            all.gate.set(Stage::Draining);
            unless(hurry(), spread_farewells(all, self.delay)).await;
        }

        let end = Instant::now() + self.limit;
        all.gate.set(Stage::LastCall);
        all.tell(Order::Retire);
        let _ = timeout_at(end, unless(hurry(), last_call(all))).await;

        all.gate.set(Stage::Stopping);
        // Not the late ones: they may be a probe's, its request on the way. They retire by
        // themselves, and nothing of the app's is in flight on them.
        let mut left = all.list();
        left.retain(|connection| !connection.is_late());
        for connection in &left {
            connection.tell(Order::End);
        }
        if timeout_at(end, all.until_over(&left)).await.is_err() {
            cut(&left, self.limit);
            let _ = timeout(CUT_LIMIT, all.until_over(&left)).await;
        }
        tracing::info!("drained");
    }
}

/// Runs `polite` to its end, unless `hurry` completes first.
async fn unless(hurry: impl Future<Output = ()>, polite: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = hurry => {}
        () = polite => {}
    }
}

/// Lets each connection that is open now retire at its own moment within the delay. One that is
/// opened later retires with its first response.
async fn spread_farewells(all: &Connections, delay: Duration) {
    let start = Instant::now();
    // In no particular order, and not kept from leaving.
    let connections: Vec<_> = all.list().iter().map(Arc::downgrade).collect();
    for (index, connection) in connections.iter().enumerate() {
        sleep_until(start + farewell(index, connections.len(), delay)).await;
        if let Some(connection) = connection.upgrade() {
            connection.tell(Order::Retire);
        }
    }
    sleep_until(start + delay).await;
}

/// The moment for one of `count` connections: the middle of its share of the delay.
fn farewell(index: usize, count: usize, delay: Duration) -> Duration {
    let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let share = delay / whole(count.max(1));
    share * whole(index) + share / 2
}

/// Waits until nothing more is to be expected of the connections that were open before.
async fn last_call(all: &Connections) {
    let end = Instant::now() + LAST_CALL;
    while Instant::now() < end {
        let waited_for = |connection: &Arc<Connection>| !is_heard_by(connection);
        if all.list().iter().filter(|one| waited_for(one)).count() == 0 {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Whether a connection has heard the last call. It is ended if it is idle.
fn is_heard_by(connection: &Connection) -> bool {
    if connection.in_flight() == 0 && connection.quiet_for() >= IDLE {
        connection.tell(Order::End);
    }
    connection.order() >= Order::End || connection.is_over() || connection.is_late()
}

/// Closes the connections that are not over, whatever is in flight on them.
fn cut(connections: &[Arc<Connection>], limit: Duration) {
    let mut requests = 0;
    for connection in connections.iter().filter(|one| !one.is_over()) {
        // What is busy without a request has yet to send the end of a response.
        requests += connection.in_flight().max(connection.is_busy().into());
        connection.tell(Order::Cut);
    }
    if requests > 0 {
        tracing::warn!(
            requests,
            ?limit,
            "requests not finished within the drain limit are cut"
        );
    }
}

#[cfg(test)]
mod tests;
