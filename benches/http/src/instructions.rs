//! Instructions for each request: time is noisy, they are not.
//!
//! They are the difference between few and many requests on one connection, to a server under
//! callgrind, which does not see the kernel's part.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{
    Work,
    load::Load,
    report::number,
    server::{PEERS, Peer, Server},
};

const FEW: usize = 500;
const MANY: usize = 2_500;

pub(crate) fn run(works: impl Iterator<Item = Work>) -> Result<()> {
    println!("Instructions for each request, by callgrind; xR is the ratio to bare axum.\n");
    print!("{:<8}", "");
    for peer in PEERS {
        print!(" {:>20}", peer.name);
    }
    println!();
    for work in works {
        print!("{:<8}", work.name);
        let mut axum = None;
        for peer in PEERS {
            let (few, many) = (collected(peer, work, FEW)?, collected(peer, work, MANY)?);
            let each = (many - few) / (MANY - FEW) as f64;
            let axum = *axum.get_or_insert(each);
            print!(" {:>20}", format!("{} x{:.3}", number(each), each / axum));
        }
        println!();
    }
    Ok(())
}

/// How many instructions callgrind says that a server with so many requests took as a whole.
fn collected(peer: Peer, work: Work, requests: usize) -> Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(peer.program()?).stderr(Stdio::piped());
    let server = Server::ready(&mut valgrind, 1).context("valgrind is needed")?;
    let mut load = Load::open(server.addr, work.path, 1)?;
    load.ask(requests)?;
    drop(load);
    let said = server.end()?;
    let collected = said.split("Collected :").nth(1);
    let collected = collected.and_then(|it| it.split_whitespace().next()?.parse().ok());
    collected.with_context(|| format!("callgrind did not say how many: {said}"))
}
