//! How a service that is to stop leaves its clients, so that none of them loses a request.
//!
//! 1. `/ready` says 503. For the drain delay, while the word spreads that this process is to get
//!    no more work, requests are served as always, and each connection bids farewell at a moment of
//!    its own: its next response says `Connection: close` (HTTP/2: GOAWAY). RFC 9112 has the server
//!    close then, and not look at further requests. Who keeps to it loses nothing by our waiting a
//!    second for the client to close; who does not loses no request before the gate closes. What
//!    lives long (websockets, event streams) is told to go in the second half of the delay: its
//!    client comes again at once, and had better not find this process.
//! 2. Last call, at most a second: requests on new connections get 503; on those that were open
//!    they are served, with farewell. A connection on which nothing is asked for a quarter of a
//!    second is idle, and ended; when all are, or nobody is there, the call is over. What
//!    lives long and has not been told to go is told now.
//! 3. The gate is closed. What is in flight is finished, within the drain limit, counted from the
//!    last call; what is not is cut. A client of HTTP/2 may begin requests until it has heard GOAWAY
//!    and we know that it has: they are in flight too.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{
    connection::{Connection, Order},
    connections::Connections,
    gate::Stage,
    meters,
};

/// How long connections that were open before the gate closed are served for: time for a client
/// that is between two requests to send its next one, and to be told that it is the last.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection on which nothing is asked for so long, from the last call on, is idle: its client
/// is not between two requests.
const IDLE: Duration = Duration::from_millis(250);

/// How much time each of what lives long adds to that in which all of it is told to go, at the most
/// [`LAST_CALL`]: few need not wait for one another.
const APART: Duration = Duration::from_millis(10);

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

    /// This drain, if it can be over within `left`; else one that can, shorter in proportion.
    pub(crate) fn within(self, left: Option<Duration>) -> Self {
        let Some(left) = left.filter(|&left| left < self.longest()) else {
            return self;
        };
        // To cut what is not finished, and to tell of it.
        let polite = left.saturating_sub(CUT_LIMIT.min(left / 2));
        let whole = self.delay.saturating_add(self.limit);
        let part = polite.div_duration_f64(whole.max(polite)).clamp(0.0, 1.0);
        Self {
            delay: self.delay.mul_f64(part),
            limit: self.limit.mul_f64(part),
        }
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
        // Those that are opened later may be a probe's, its request on the way. They retire by
        // themselves, and nothing of the app's is in flight on them.
        let mut left = all.list();
        left.retain(|connection| !connection.is_late());
        tell(&left, Order::Retire);
        let engaged: u32 = left.iter().map(|one| one.in_flight() + one.others()).sum();
        let over = LAST_CALL.min(self.limit / 2).min(APART * engaged);
        for connection in &left {
            connection.away.tell(over);
        }
        let _ = timeout_at(end, unless(hurry(), last_call(&left))).await;

        all.gate.set(Stage::Stopping);
        tell(&left, Order::End);
        if timeout_at(end, all.until_over(&left)).await.is_err() {
            cut(&left, self.limit);
            let _ = timeout(CUT_LIMIT, all.until_over(&left)).await;
        }
        tracing::info!("drained");
    }
}

fn tell(connections: &[Arc<Connection>], order: Order) {
    for connection in connections {
        connection.tell(order);
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

/// Lets each connection that is open now retire at its own moment within the delay, and what lives
/// long on it go within the delay's second half. One that is opened later retires with its first
/// response.
async fn spread_farewells(all: &Connections, delay: Duration) {
    let start = Instant::now();
    // In no particular order, and not kept from leaving.
    let connections: Vec<_> = all.list().iter().map(Arc::downgrade).collect();
    let count = connections.len();
    let retire = async {
        for (index, connection) in connections.iter().enumerate() {
            sleep_until(start + farewell(index, count, delay)).await;
            if let Some(connection) = connection.upgrade() {
                connection.tell(Order::Retire);
            }
        }
    };
    let go_away = async {
        let (half, share) = (delay / 2, share(count, delay / 2));
        for (index, connection) in connections.iter().enumerate() {
            sleep_until(start + half + share * whole(index)).await;
            if let Some(connection) = connection.upgrade() {
                connection.away.tell(share);
            }
        }
    };
    tokio::join!(retire, go_away);
    sleep_until(start + delay).await;
}

/// The moment for one of `count` connections: the middle of its share of the delay.
fn farewell(index: usize, count: usize, delay: Duration) -> Duration {
    let share = share(count, delay);
    share * whole(index) + share / 2
}

/// How much of `time` there is for each of `count`.
fn share(count: usize, time: Duration) -> Duration {
    time / whole(count.max(1))
}

fn whole(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Serves these connections until each is over, or idle and told to end.
async fn last_call(connections: &[Arc<Connection>]) {
    let end = Instant::now() + LAST_CALL;
    let mut active: Vec<_> = connections.iter().map(Active::new).collect();
    loop {
        active.retain_mut(Active::is_still);
        if active.is_empty() || Instant::now() >= end {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A connection that may be asked something yet.
struct Active<'a> {
    connection: &'a Connection,
    /// How often it had been asked something,
    asked: u32,
    /// and how long nothing has been since. Counted by looks, not by the clock: when this process
    /// gets no time to run, neither are the requests read that wait for it.
    quiet: Duration,
}

impl<'a> Active<'a> {
    fn new(connection: &'a Arc<Connection>) -> Self {
        Self {
            connection,
            asked: connection.times_asked(),
            quiet: Duration::ZERO,
        }
    }

    /// Looks again. A connection that is idle is told to end.
    fn is_still(&mut self) -> bool {
        let asked = self.connection.times_asked();
        if self.connection.is_engaged() || asked != self.asked {
            self.asked = asked;
            self.quiet = Duration::ZERO;
        } else if self.quiet >= IDLE {
            self.connection.tell(Order::End);
        }
        self.quiet += LOOK_EVERY;
        self.connection.order() < Order::End && !self.connection.is_over()
    }
}

/// Closes the connections that are not over, whatever is in flight on them.
fn cut(connections: &[Arc<Connection>], limit: Duration) {
    let (mut requests, mut upgraded) = (0, 0);
    for connection in connections.iter().filter(|one| !one.is_over()) {
        let others = connection.others();
        // What is busy without either has yet to send the end of a response.
        let unsent = others == 0 && connection.is_busy();
        requests += connection.in_flight().max(unsent.into());
        upgraded += others;
        connection.tell(Order::Cut);
    }
    if requests > 0 || upgraded > 0 {
        meters::cut(requests + upgraded);
        tracing::warn!(
            requests,
            upgraded,
            ?limit,
            "what is not finished within the drain limit is cut"
        );
    }
}

#[cfg(test)]
mod tests;
