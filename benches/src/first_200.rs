//! From exec to the first 200 on `/alive`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bench::{
    Work,
    meter::{Measured, micros},
};

/// The work, of which each measurement is one start of a server.
pub(crate) const FIRST_200: Work = Work {
    name: "first_200",
    n: 1,
    unit: "ms",
};
/// One start says little.
pub(crate) const ROUNDS: usize = 30;

const LIMIT: Duration = Duration::from_secs(10);

/// Starts `server` on a free port and asks it until it answers 200.
pub(crate) fn measure(server: &Path) -> Result<Measured> {
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
