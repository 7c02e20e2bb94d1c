//! The servers, each a process of its own.

use std::{
    env, fs,
    io::Read,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::load::Load;

/// How long a server may take to answer for the first time.
const LIMIT: Duration = Duration::from_secs(60);

/// Who serves.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: &'static str,
}

/// The first is what the others are held against.
pub(crate) const PEERS: [Peer; 3] = [
    Peer {
        name: "axum",
        program: "bare_axum",
    },
    Peer {
        name: "hyper",
        program: "bare_hyper",
    },
    Peer {
        name: "uptree",
        program: "uptree_server",
    },
];

impl Peer {
    /// Its program, beside this one.
    pub(crate) fn program(self) -> Result<PathBuf> {
        Ok(env::current_exe()?.with_file_name(self.program))
    }
}

/// A server that does not outlive its measurement.
pub(crate) struct Server {
    process: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Starts a program on a free port.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = Path::new(command.get_program()).to_owned();
        let process = command
            .env("ADDR", addr.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        Ok(Self { process, addr })
    }

    /// Starts a peer with so many worker threads, and waits until it is ready.
    pub(crate) fn ready(command: &mut Command, threads: usize) -> Result<Self> {
        let command = command.env("TOKIO_WORKER_THREADS", threads.to_string());
        let mut server = Self::start(command)?;
        let began = Instant::now();
        while !Load::is_ok(server.addr, "/ready")? {
            server.still_runs()?;
            ensure!(began.elapsed() < LIMIT, "no 200 within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    /// # Errors
    /// If it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the server ended: {status}");
        }
        Ok(())
    }

    /// The processor time that its threads have used; those that have ended left little behind.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut time = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"));
            // A thread may end in between.
            let Ok(stat) = stat else { continue };
            let used = stat.split(' ').next().and_then(|used| used.parse().ok());
            let used: u64 = used.context("the first number of a schedstat is a time")?;
            time += used;
        }
        Ok(Duration::from_nanos(time))
    }

    /// Asks it to end, and returns what it has said on stderr, which was piped.
    pub(crate) fn end(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let mut said = String::new();
        let stderr = self.process.stderr.take();
        let mut stderr = stderr.context("its stderr is piped")?;
        stderr.read_to_string(&mut said)?;
        self.process.wait()?;
        Ok(said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
