//! A rolling update of a service whose requests last: event streams, long polls and websockets come
//! to a proper end, each at a moment of its own, and are taken up elsewhere.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, client};
use uptree_tests::Ended;
use uptree_tests::http::Connection;
use uptree_tests::kubelet::{Deployment, Endpoints, Event, Pod};
use uptree_tests::load::Target;

use crate::{LONG, pod};

const LAG: Duration = Duration::from_millis(300);
const DELAY: Duration = Duration::from_millis(1600);

/// Clients of each kind.
const CLIENTS: usize = 6;

/// What lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Events,
    Poll,
    Socket,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Events, Self::Poll, Self::Socket];

    /// Asks, and stays until the server ends it; says what was wrong with the end.
    fn last(self, addr: SocketAddr) -> Result<(), String> {
        match self {
            Self::Events => answer(addr, "/events", 200),
            Self::Poll => answer(addr, "/poll", 204),
            Self::Socket => talk(addr),
        }
    }
}

fn answer(addr: SocketAddr, path: &str, status: u16) -> Result<(), String> {
    let connection = Connection::open_within(addr, LONG);
    // Complete, to the last chunk.
    let answer = connection.and_then(|mut connection| connection.get(path));
    match answer {
        Ok(answer) if answer.status == status => Ok(()),
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
        Err(error) => Err(error.to_string()),
    }
}

/// Talks on a websocket until it is told that the server is going away.
fn talk(addr: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(addr).map_err(|error| error.to_string())?;
    let _ = stream.set_read_timeout(Some(LONG));
    let opened = client(format!("ws://{addr}/socket"), stream);
    let (mut socket, _) = opened.map_err(|error| error.to_string())?;
    let mut said = 0;
    loop {
        let text = Message::text(said.to_string());
        socket
            .send(text.clone())
            .map_err(|error| error.to_string())?;
        match socket.read() {
            Ok(message) if message == text => said += 1,
            Ok(Message::Close(Some(frame))) if frame.code == CloseCode::Away => break,
            unexpected => return Err(format!("{unexpected:?} in answer to {text:?}")),
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The goodbye goes both ways, and then the connection ends.
    while socket.read().is_ok() {}
    Ok(())
}

/// One stay, and how it ended.
#[derive(Debug)]
struct Stay {
    kind: Kind,
    at: SocketAddr,
    ended: Instant,
    how: Result<(), String>,
}

/// A client that comes again whenever it is sent away.
fn client_of(kind: Kind, endpoints: &Endpoints, over: &Arc<AtomicBool>) -> JoinHandle<Vec<Stay>> {
    let (endpoints, over) = (endpoints.clone(), Arc::clone(over));
    thread::spawn(move || {
        let mut stays = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let Some(at) = endpoints.addr() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let how = kind.last(at);
            let ended = Instant::now();
            stays.push(Stay {
                kind,
                at,
                ended,
                how,
            });
        }
        stays
    })
}

#[test]
fn what_lasts_comes_to_a_proper_end_in_an_update_and_goes_on_elsewhere() {
    let delay = format!("{}ms", DELAY.as_millis());
    let template = || pod("lasting", &[("DRAIN_DELAY", &delay)]);
    let endpoints = Endpoints::new(LAG);
    let mut deployment = Deployment::start(&endpoints, 2, LONG, template);
    deployment.pods()[0].wait_until(LONG, |_| endpoints.addrs().len() == 2);
    let over = Arc::new(AtomicBool::new(false));
    let clients = Kind::ALL.into_iter().flat_map(|kind| [kind; CLIENTS]);
    let clients: Vec<_> = clients
        .map(|kind| client_of(kind, &endpoints, &over))
        .collect();

    let old = deployment.roll(template);
    over.store(true, Ordering::SeqCst);
    let new: HashSet<_> = deployment.pods().iter().map(Pod::addr).collect();
    for pod in deployment.pods() {
        pod.delete();
    }
    let stays: Vec<Stay> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("a client does not panic"))
        .collect();
    for stay in &stays {
        assert_eq!(stay.how, Ok(()), "{stay:?}");
    }
    for pod in old.iter().chain(deployment.pods()) {
        let status = pod.wait_until(LONG, |status| status.gone);
        assert_eq!(status.ends(), [Ended::Code(0)], "{:?}", pod.stderr());
        assert!(!pod.log().contains("cut"), "{}", pod.log());
        let deleted = status.first(&Event::Deleted).expect("it was");
        let here = stays.iter().filter(|stay| stay.at == pod.addr());
        let mut ends: Vec<_> = here.map(|stay| stay.ended - deleted).collect();
        ends.sort();
        println!("{} ended after {ends:?}", pod.addr());
        // Who was sent away sooner could have come back.
        let spread = ends.last().zip(ends.first());
        let (last, first) = spread.expect("there were some");
        assert!(*first >= DELAY / 2, "{ends:?}");
        assert!(
            *last > *first + DELAY / 8,
            "each at a moment of its own: {ends:?}"
        );
    }
    // Each has come to where it can stay, and no more than twice to where it could not.
    for kind in Kind::ALL {
        let (at_new, at_old): (Vec<_>, Vec<_>) = stays
            .iter()
            .filter(|stay| stay.kind == kind)
            .partition(|stay| new.contains(&stay.at));
        assert_eq!(at_new.len(), CLIENTS, "{at_new:#?}");
        assert!(at_old.len() <= 2 * CLIENTS, "{at_old:#?}");
    }
}
