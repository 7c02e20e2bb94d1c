//! From exec to the first 200 on `/alive`.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bench::meter::micros;

use crate::{load::Load, server::Server};

const LIMIT: Duration = Duration::from_secs(10);

/// Between two tries, so that the client leaves the processors to the server.
const PAUSE: Duration = Duration::from_micros(20);

/// Starts a server and asks it until it answers 200: milliseconds, and milliseconds of processor
/// time that the server has used by then.
pub(crate) fn measure(program: &Path) -> Result<[f64; 2]> {
    let began = Instant::now();
    let mut server = Server::start(Command::new(program).stderr(Stdio::null()))?;
    while !Load::is_ok(server.addr, "/alive")? {
        server.still_runs()?;
        ensure!(began.elapsed() < LIMIT, "no 200 within {LIMIT:?}");
        sleep(PAUSE);
    }
    let times = [began.elapsed(), server.processor_time()?];
    Ok(times.map(|time| micros(time) / 1e3))
}
