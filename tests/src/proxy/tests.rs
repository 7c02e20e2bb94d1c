//! Against a server that answers a line with the same line.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cut, Proxy};

const LONG: Duration = Duration::from_secs(10);

/// Echoes lines, and tells of each line that it got, of each end, and of each reset.
fn echo() -> (Proxy, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let addr = listener.local_addr().expect("it is bound");
    let (tell, told) = channel();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(&client);
                loop {
                    let mut line = String::new();
                    let what = match lines.read_line(&mut line) {
                        Ok(0) => "end".to_owned(),
                        Ok(_) => line.trim_end().to_owned(),
                        Err(error) => format!("{:?}", error.kind()),
                    };
                    let _ = tell.send(what);
                    if line.is_empty() || (&client).write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (Proxy::to(addr), told)
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn of(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.addr()).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("it is not 0");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.0
            .get_mut()
            .write_all(line.as_bytes())
            .expect("it is taken");
    }

    fn hear(&mut self) -> Result<String, ErrorKind> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        read.map_err(|error| error.kind())?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, line: &str) -> Result<String, ErrorKind> {
        self.say(line);
        self.hear()
    }

    fn hears_nothing(&mut self) -> bool {
        let short = Duration::from_millis(50);
        let stream = self.0.get_mut();
        stream.set_read_timeout(Some(short)).expect("it is not 0");
        let kind = self
            .hear()
            .map_err(|kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
        let stream = self.0.get_mut();
        stream.set_read_timeout(Some(LONG)).expect("it is not 0");
        kind == Err(true)
    }
}

fn next(told: &Receiver<String>) -> String {
    told.recv_timeout(LONG).expect("the server told of it")
}

#[test]
fn flights_are_counted_over_all_connections() {
    let (proxy, _told) = echo();
    let (mut one, mut other) = (Client::of(&proxy), Client::of(&proxy));
    assert_eq!(proxy.begun(), []);
    assert_eq!(one.ask("a"), Ok("a".to_owned()));
    let first = proxy.begun();
    assert_eq!(first.len(), 1);
    assert_eq!(other.ask("b"), Ok("b".to_owned()));
    assert_eq!(one.ask("c"), Ok("c".to_owned()));
    assert_eq!((proxy.connections(), proxy.points()), (2, 6));
    let begun = proxy.begun();
    assert_eq!((begun[0], begun.len()), (first[0], 2));
    assert_eq!((proxy.messages(), proxy.round_trips()), (3, 3));
    assert!(
        proxy.flights().starts_with("1, connection "),
        "{}",
        proxy.flights()
    );
    assert!(proxy.answered_after(1).is_some() && proxy.answered_after(2).is_none());
    assert!(proxy.answered_after(0).is_none() && proxy.answered_after(7).is_none());
    proxy.mark();
    assert_eq!(one.ask("d"), Ok("d".to_owned()));
    assert_eq!(
        (proxy.messages(), proxy.round_trips(), proxy.points()),
        (1, 1, 2)
    );
    assert_eq!(proxy.login_round_trips(), 0);
}

#[test]
fn a_flight_cut_at_its_beginning_does_not_reach_the_server() {
    let (proxy, told) = echo();
    proxy.cut_at(3, Cut::Reset);
    let mut client = Client::of(&proxy);
    assert_eq!(client.ask("a"), Ok("a".to_owned()));
    assert_eq!(client.ask("b"), Err(ErrorKind::ConnectionReset));
    assert_eq!([next(&told), next(&told)], ["a", "ConnectionReset"]);
    // Only that one.
    assert_eq!(Client::of(&proxy).ask("c"), Ok("c".to_owned()));
}

#[test]
fn an_answer_cut_at_its_beginning_does_not_reach_the_client() {
    let (proxy, told) = echo();
    proxy.cut_at(4, Cut::Close);
    let mut client = Client::of(&proxy);
    assert_eq!(client.ask("a"), Ok("a".to_owned()));
    assert_eq!(client.ask("b"), Ok(String::new()));
    assert_eq!([next(&told), next(&told), next(&told)], ["a", "b", "end"]);
}

#[test]
fn a_flight_cut_afterwards_is_at_the_server() {
    let (proxy, told) = echo();
    proxy.cut_after(1, Cut::Silence);
    let mut client = Client::of(&proxy);
    client.say("a");
    assert_eq!(next(&told), "a");
    assert!(client.hears_nothing());
    proxy.heal();
    assert_eq!(client.hear(), Err(ErrorKind::ConnectionReset));
    assert_eq!(Client::of(&proxy).ask("b"), Ok("b".to_owned()));
}

#[test]
fn in_a_silence_all_is_lost_and_new_connections_hang_until_it_is_healed() {
    let (proxy, told) = echo();
    let (mut idle, mut cut) = (Client::of(&proxy), Client::of(&proxy));
    assert_eq!(idle.ask("a"), Ok("a".to_owned()));
    proxy.cut_at(3, Cut::Silence);
    cut.say("b");
    let mut late = Client::of(&proxy);
    late.say("c");
    assert!(cut.hears_nothing() && late.hears_nothing());
    proxy.heal();
    assert_eq!(cut.hear(), Err(ErrorKind::ConnectionReset));
    assert_eq!(late.hear(), Ok("c".to_owned()));
    // It has lost nothing.
    assert_eq!(idle.ask("d"), Ok("d".to_owned()));
    let mut lines: Vec<_> = (0..4).map(|_| next(&told)).collect();
    lines.sort();
    assert_eq!(lines, ["ConnectionReset", "a", "c", "d"]);
}

#[test]
fn what_is_stalled_is_late() {
    let (proxy, _told) = echo();
    let mut client = Client::of(&proxy);
    proxy.cut_at(2, Cut::Stall);
    client.say("a");
    assert!(client.hears_nothing());
    proxy.heal();
    assert_eq!(client.hear(), Ok("a".to_owned()));
    assert_eq!(client.ask("b"), Ok("b".to_owned()));
}

#[test]
fn a_call_is_made_before_the_flight_is_lost_or_after_it_was_passed_on() {
    let (proxy, told) = echo();
    let calls = Arc::new(AtomicUsize::new(0));
    let call = || {
        let calls = Arc::clone(&calls);
        Cut::call(move || {
            calls.fetch_add(1, Ordering::SeqCst);
        })
    };
    proxy.cut_after(1, call());
    proxy.cut_at(3, call());
    let mut client = Client::of(&proxy);
    assert_eq!(client.ask("a"), Ok("a".to_owned()));
    assert_eq!(client.ask("b"), Err(ErrorKind::ConnectionReset));
    assert_eq!([next(&told), next(&told)], ["a", "ConnectionReset"]);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_call_that_brings_a_silence_or_a_stall_loses_or_delays_the_flight_without_a_word() {
    for (stall, hears) in [
        (false, Err(ErrorKind::ConnectionReset)),
        (true, Ok("a".to_owned())),
    ] {
        let (proxy, told) = echo();
        let proxy = Arc::new(proxy);
        let within = Arc::downgrade(&proxy);
        let call = move || {
            let proxy = within.upgrade().expect("it is there");
            proxy.cut_all(if stall { Cut::Stall } else { Cut::Silence });
        };
        proxy.cut_at(1, Cut::call(call));
        let mut client = Client::of(&proxy);
        client.say("a");
        assert!(client.hears_nothing());
        proxy.heal();
        assert_eq!(client.hear(), hears);
        assert_eq!(next(&told), if stall { "a" } else { "ConnectionReset" });
    }
}

#[test]
fn all_can_be_cut_at_once() {
    let (proxy, _told) = echo();
    let mut clients = [Client::of(&proxy), Client::of(&proxy)];
    for client in &mut clients {
        assert_eq!(client.ask("a"), Ok("a".to_owned()));
    }
    proxy.cut_all(Cut::Reset);
    for client in &mut clients {
        assert_eq!(client.hear(), Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_round_trip_takes_as_long_as_the_delay_and_the_next_one_does_not_wait_for_it() {
    let (proxy, _told) = echo();
    let delay = Duration::from_millis(40);
    proxy.delay(delay);
    let mut client = Client::of(&proxy);
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(client.ask("a"), Ok("a".to_owned()));
    }
    assert!(began.elapsed() >= 5 * delay);
    let began = Instant::now();
    for line in ["b", "c", "d", "e", "f"] {
        client.say(line);
    }
    for line in ["b", "c", "d", "e", "f"] {
        assert_eq!(client.hear(), Ok(line.to_owned()));
    }
    let took = began.elapsed();
    assert!(took >= delay && took < 5 * delay, "{took:?}");
}

#[test]
fn ends_and_refusals_are_passed_on() {
    let (proxy, told) = echo();
    let mut client = Client::of(&proxy);
    assert_eq!(client.ask("a"), Ok("a".to_owned()));
    drop(client);
    assert_eq!([next(&told), next(&told)], ["a", "end"]);

    let proxy = Proxy::to(crate::free_addr());
    let mut client = TcpStream::connect(proxy.addr()).expect("it listens");
    let refused = client.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_dropped_proxy_resets_and_listens_no_more() {
    let (proxy, _told) = echo();
    let mut client = Client::of(&proxy);
    assert_eq!(client.ask("a"), Ok("a".to_owned()));
    proxy.cut_all(Cut::Stall);
    client.say("b");
    let addr = proxy.addr();
    drop(proxy);
    assert_eq!(client.hear(), Err(ErrorKind::ConnectionReset));
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_url_is_led_through_it() {
    let (proxy, _told) = echo();
    let (target, addr) = (proxy.shared.target, proxy.addr());
    let url = format!("postgres://clerk:pw@{target}/shop?a=b");
    assert_eq!(
        proxy.through(&url),
        format!("postgres://clerk:pw@{addr}/shop?a=b")
    );
}
