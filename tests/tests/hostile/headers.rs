//! Headers that are too long, too many, or none.

use crate::flood::{Flood, flood};
use crate::victim::Victim;

/// Each client is turned away with one of these statuses, or cut.
#[track_caller]
fn is_turned_away(first: &str, more: &str, statuses: &[u16]) {
    let mut victim = Victim::boot();
    let came = victim.withstands(20_000, |addr| {
        flood(addr, first.as_bytes(), more.as_bytes())
    });
    let Flood { clients, answers } = came;
    let told: usize = answers.values().sum();
    println!("{clients} clients, told {answers:?}");
    assert!(answers.keys().all(|status| statuses.contains(status)));
    assert!(told > 0, "nobody was told why");
    victim.stops_well();
}

#[test]
fn a_header_without_an_end() {
    is_turned_away("GET / HTTP/1.1\r\nx: ", &"y".repeat(10_000), &[431]);
}

#[test]
fn more_headers_than_anybody_has() {
    is_turned_away("GET / HTTP/1.1\r\n", &"x: y\r\n".repeat(1_000), &[431]);
}

#[test]
fn a_path_without_an_end() {
    is_turned_away("GET /", &"y".repeat(10_000), &[414, 431]);
}

#[test]
fn what_is_no_http() {
    is_turned_away("\x16\x03\x01\0", "\0\x7f\r\n\u{fffd}", &[400]);
}
