//! From exec to the first 200 on `/alive`.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bench::{Measured, Work, meter::micros};

use crate::{
    contenders::{CONTENDERS, Contender},
    report,
    rounds::{self, Cell, Limits, Row},
};

static FIRST_200: Work = Work {
    name: "first_200",
    what: "from exec to the first 200 on /alive",
    unit: "ms",
    sizes: &[1],
    on_two: &[],
    count: None,
};

const LIMIT: Duration = Duration::from_secs(10);

/// How long it is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many rounds; one start says little
    #[arg(long, value_name = "N", default_value_t = 30)]
    rounds: usize,
}

impl Options {
    /// `target` has release/minimal, which is held against `bare_axum` beside this program.
    pub(crate) fn run(&self, target: &Path) -> Result<()> {
        let servers = CONTENDERS[..2].iter();
        let mut rows = [Row {
            work: &FIRST_200,
            n: 1,
            threads: thread::available_parallelism().map_or(1, Into::into),
            cells: servers.map(Cell::new).collect(),
        }];
        let limits = Limits {
            rounds: self.rounds,
            share: Duration::MAX,
            each: LIMIT,
        };
        let bare = env::current_exe()?.with_file_name("bare_axum");
        let minimal = target.join("release/minimal");
        let once = |_: &Row, contender: &Contender| {
            let server = match contender.name {
                "bare" => &bare,
                _ => &minimal,
            };
            measure(server).map(Some)
        };
        let dropped = rounds::run(&mut rows, &limits, &once);
        report::print(&rows, dropped);
        report::write(&rows, &target.join("bench/first-200.json"))
    }
}

/// Starts `server` on a free port and asks it until it answers 200.
fn measure(server: &Path) -> Result<Measured> {
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let began = Instant::now();
    let child = Command::new(server)
        .env("ADDR", addr.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} cannot be run", server.display()))?;
    let mut server = Killed(child);
    while !is_alive(addr)? {
        if let Some(status) = server.0.try_wait()? {
            bail!("the server ended: {status}");
        }
        ensure!(began.elapsed() < LIMIT, "no 200 within {LIMIT:?}");
    }
    Ok(Measured::of(micros(began.elapsed()) / 1e3))
}

/// Whether it answers 200; not if it does not listen yet.
fn is_alive(addr: SocketAddr) -> Result<bool> {
    let Ok(mut connection) = TcpStream::connect(addr) else {
        return Ok(false);
    };
    connection.set_read_timeout(Some(LIMIT))?;
    connection.write_all(b"GET /alive HTTP/1.1\r\nhost: bench\r\n\r\n")?;
    let mut status = [0; b"HTTP/1.1 200".len()];
    connection.read_exact(&mut status)?;
    Ok(status == *b"HTTP/1.1 200")
}

/// A process that does not outlive its measurement.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
