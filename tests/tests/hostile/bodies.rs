//! Bodies that are too long, or come too slowly.

use crate::flood::{Flood, flood};
use crate::victim::Victim;

/// The endpoint's own limit is 1 MiB.
#[track_caller]
fn is_turned_away(headers: &str, more: &str, statuses: &[u16]) {
    let mut victim = Victim::boot();
    let first = format!(
        "POST /readings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n\r\n"
    );
    let came = victim.withstands(60_000, |addr| {
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
fn a_terabyte_that_is_announced() {
    is_turned_away(
        "content-length: 1000000000000",
        &" ".repeat(100_000),
        &[413],
    );
}

#[test]
fn a_body_without_an_end() {
    let chunk = format!("186a0\r\n{}\r\n", " ".repeat(100_000));
    is_turned_away("transfer-encoding: chunked", &chunk, &[413]);
}

#[test]
fn a_chunk_s_remarks_without_an_end() {
    is_turned_away("transfer-encoding: chunked", "1;xxxxxxxx", &[400]);
}

#[test]
fn lengths_that_contradict_each_other() {
    let headers = "content-length: 5\r\ncontent-length: 6";
    is_turned_away(headers, "x", &[400]);
}
