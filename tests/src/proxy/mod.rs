//! A TCP proxy between a process and its database, that counts, delays and cuts.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::connection::{Connection, End};

/// A proxy on a port of its own, in threads of the test's process.
///
/// What goes one way on a connection until something comes the other way is a *flight*. Flights
/// are counted over all connections, from 1 since the proxy was made or [marked](Self::mark): the
/// number of a flight is a *point*, at which the connection can be cut. A message of the client's
/// and the answer to it are two points, and cut at the first the server has not heard of it, at the
/// second it has done it and the client does not know.
///
/// Of Postgres and of MySQL it knows the beginning of a connection, without TLS: what is said until
/// a login is done is counted apart. For any other protocol there is no login.
///
/// A connection that the server refuses is reset here: it was accepted before.
///
/// Dropped, it resets all connections; after a failed test it says what the flights were.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What becomes of a connection.
pub enum Cut {
    /// It is reset, as by a host that has forgotten it: both sides see `ECONNRESET`.
    Reset,
    /// It is closed, as by a host that has ended: both sides see its end.
    Close,
    /// From now until [`Proxy::heal`] everything on every connection is lost, and nobody is told;
    /// new connections hang. Those that have lost something are reset when it is healed.
    Silence,
    /// From now until [`Proxy::heal`] everything on every connection is late, nothing lost.
    Stall,
    /// This is called; if the flight was to be lost, the connection is reset afterwards, or silent or
    /// stalled if this has brought [that](Proxy::cut_all) upon all.
    ///
    /// What is not passed on yet waits meanwhile.
    Call(Box<dyn FnOnce() + Send>),
}

impl Cut {
    /// [`Call`](Self::Call), without the box.
    pub fn call(call: impl FnOnce() + Send + 'static) -> Self {
        Self::Call(Box::new(call))
    }
}

/// Which side a flight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    healed: Condvar,
}

#[derive(Default)]
struct State {
    delay: Duration,
    weather: Weather,
    closing: bool,
    counts: Counts,
    at: HashMap<u64, Cut>,
    after: HashMap<u64, Cut>,
    connections: Vec<Weak<Connection>>,
    flights: Vec<Flight>,
}

/// For who wants to know what was cut.
struct Flight {
    connection: u64,
    from: Side,
    began: Instant,
    text: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Clear,
    Silent,
    Stalled,
}

#[derive(Default)]
struct Counts {
    connections: u64,
    messages: u64,
    round_trips: u64,
    login_round_trips: u64,
    points: u64,
    begun: BTreeMap<u64, Instant>,
}

/// What is to be done at a point.
#[derive(Default)]
struct Cuts {
    at: Option<Cut>,
    after: Option<Cut>,
}

impl Proxy {
    /// A proxy to the server at `target`, which need not run yet.
    pub fn to(target: SocketAddr) -> Self {
        let addr = crate::free_addr();
        let listener = TcpListener::bind(addr).expect("nobody else is given it");
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
            healed: Condvar::new(),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            addr,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL of the server's, led through the proxy.
    #[track_caller]
    pub fn through(&self, url: &str) -> String {
        let target = self.shared.target.to_string();
        assert!(url.contains(&target), "{url} does not lead to {target}");
        url.replacen(&target, &self.addr.to_string(), 1)
    }

    /// Adds this to the round trip time of connections that are made from now on: all of it on the
    /// way to the server. To connect takes no longer. Defaults to none.
    pub fn delay(&self, round_trip: Duration) {
        self.shared.lock().delay = round_trip;
    }

    /// Begins to count at nothing again, points included: what is still to be cut is counted from
    /// here.
    pub fn mark(&self) {
        let mut state = self.shared.lock();
        state.counts = Counts::default();
        state.flights.clear();
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.lock().counts.connections
    }

    /// How many flights of clients were answered by the server, logins excluded.
    pub fn round_trips(&self) -> u64 {
        self.shared.lock().counts.round_trips
    }

    /// How many of them belonged to logins.
    pub fn login_round_trips(&self) -> u64 {
        self.shared.lock().counts.login_round_trips
    }

    /// How many flights of clients there were, answered or not, logins excluded.
    ///
    /// It is more than the [round trips](Self::round_trips) by what nobody answers: a goodbye.
    pub fn messages(&self) -> u64 {
        self.shared.lock().counts.messages
    }

    /// When each connection's client, past its login, first said something; in the order in which
    /// they connected.
    pub fn begun(&self) -> Vec<Instant> {
        self.shared.lock().counts.begun.values().copied().collect()
    }

    /// How many flights there were in either direction, those of logins included: the last point.
    pub fn points(&self) -> u64 {
        self.shared.lock().counts.points
    }

    /// What the flights were, a line each, beginning with its point.
    pub fn flights(&self) -> String {
        let state = self.shared.lock();
        let lines = (1..).zip(&state.flights).map(|(point, flight)| {
            let Flight {
                connection,
                from,
                text,
                ..
            } = flight;
            format!("{point}, connection {connection}, {from:?}: {text}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// How long the server took to answer this point's flight; `None` if it is not a client's, or
    /// was not answered.
    pub fn answered_after(&self, point: u64) -> Option<Duration> {
        let state = self.shared.lock();
        let mut flights = state.flights.iter();
        let flight = flights.nth(usize::try_from(point.checked_sub(1)?).ok()?)?;
        let next = flights.find(|next| next.connection == flight.connection)?;
        (flight.from == Side::Client).then(|| next.began - flight.began)
    }

    /// Cuts when this point is reached; the flight is lost, except to [`Cut::Stall`].
    pub fn cut_at(&self, point: u64, how: Cut) {
        self.shared.lock().at.insert(point, how);
    }

    /// Cuts when this point's flight has been passed on: that of a client's is at the server now,
    /// which may work on it. No answer to it is passed on before.
    ///
    /// Of a flight of more than 64 KiB, only its beginning has been.
    pub fn cut_after(&self, point: u64, how: Cut) {
        self.shared.lock().after.insert(point, how);
    }

    /// Cuts every connection now.
    pub fn cut_all(&self, how: Cut) {
        let connections = self.shared.connections();
        match how {
            Cut::Reset => connections.iter().for_each(|one| one.end(End::Reset)),
            Cut::Close => connections.iter().for_each(|one| one.end(End::Closed)),
            Cut::Silence => self.shared.lock().weather = Weather::Silent,
            Cut::Stall => self.shared.lock().weather = Weather::Stalled,
            Cut::Call(call) => call(),
        }
    }

    /// Ends a [silence](Cut::Silence) or a [stall](Cut::Stall).
    pub fn heal(&self) {
        self.shared.lock().weather = Weather::Clear;
        let connections = self.shared.connections();
        let harmed = connections.iter().filter(|one| one.has_lost());
        harmed.for_each(|one| one.end(End::Reset));
        self.shared.healed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.cut_all(Cut::Reset);
        self.shared.healed.notify_all();
        // Wakes it up.
        let _ = TcpStream::connect(self.addr);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        if thread::panicking() {
            eprintln!("What the proxy saw:\n{}", self.flights());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are there.
    fn connections(&self) -> Vec<Arc<Connection>> {
        let mut state = self.lock();
        state.connections.retain(|one| one.strong_count() > 0);
        state.connections.iter().filter_map(Weak::upgrade).collect()
    }

    /// Counts what has come; at the beginning of a flight it says what is to be done about it.
    fn arrived(&self, connection: &Connection, from: Side, bytes: &[u8]) -> Cuts {
        // Not while it is silent: nobody will hear of it.
        let mut state = self.lock();
        if state.weather == Weather::Silent || connection.has_lost() {
            return Cuts::default();
        }
        let Some(flight) = connection.talk().turned(from, bytes) else {
            return Cuts::default();
        };
        let counts = &mut state.counts;
        counts.points += 1;
        let point = counts.points;
        match (from, flight.login) {
            (Side::Client, true) => {}
            (Side::Client, false) => {
                counts.messages += 1;
                let begun = counts.begun.entry(connection.number());
                begun.or_insert_with(Instant::now);
            }
            (Side::Server, _) if !flight.answer => {}
            (Side::Server, true) => counts.login_round_trips += 1,
            (Side::Server, false) => counts.round_trips += 1,
        }
        state.flights.push(Flight {
            connection: connection.number(),
            from,
            began: Instant::now(),
            text: text(bytes),
        });
        Cuts {
            at: state.at.remove(&point),
            after: state.after.remove(&point),
        }
    }

    fn cut(&self, connection: &Connection, how: Cut) {
        match how {
            Cut::Reset => connection.end(End::Reset),
            Cut::Close => connection.end(End::Closed),
            Cut::Silence => self.lock().weather = Weather::Silent,
            Cut::Stall => self.lock().weather = Weather::Stalled,
            Cut::Call(call) => call(),
        }
    }

    /// What is left to be done when a call was made instead of passing something on.
    fn called(&self, connection: &Connection) {
        let weather = self.lock().weather;
        match weather {
            Weather::Clear => connection.end(End::Reset),
            Weather::Silent => connection.lose(),
            Weather::Stalled => {}
        }
    }

    /// Waits for the end of a stall, and says whether what has come is to be passed on.
    fn passes(&self, connection: &Connection) -> bool {
        let mut state = self.lock();
        while state.weather == Weather::Stalled && !state.closing {
            state = self
                .healed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.weather == Weather::Silent {
            connection.lose();
        }
        !connection.has_lost()
    }

    /// Waits until a new connection finds its way, and says how long one way then takes; `None`
    /// when the proxy is dropped.
    fn admits(&self) -> Option<Duration> {
        let mut state = self.lock();
        while state.weather != Weather::Clear && !state.closing {
            state = self
                .healed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (!state.closing).then_some(state.delay)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let mut state = shared.lock();
        if state.closing {
            return;
        }
        let Ok(client) = client else { continue };
        state.counts.connections += 1;
        let number = state.counts.connections;
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || connection::serve(client, number, &shared));
    }
}

/// Its beginning, such as `Q....BEGIN`.
fn text(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte.is_ascii_graphic() || *byte == b' ' {
        true => char::from(*byte),
        false => '.',
    };
    bytes.iter().take(100).map(shown).collect()
}
