//! Processes that migrate one database, all at once.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use uptree_tests::Proxy;

use crate::databases::Job;

/// How long a herd may say nothing before it is killed.
const LIMIT: Duration = Duration::from_secs(180);

/// What came of it.
pub(crate) struct Run {
    pub(crate) ms: f64,
    /// What a process took in the mean from its first message after the login, if all have gone
    /// through.
    pub(crate) one_boot: Option<f64>,
    pub(crate) round_trips: u64,
    pub(crate) failures: usize,
    /// The first thing that a process said that failed.
    pub(crate) errors: String,
}

/// What a process says, and when.
enum Said {
    Ready,
    Done(Instant),
    /// It has closed its output.
    Ended,
}

/// Runs the processes through a proxy that adds `rtt` to each round trip.
pub(crate) fn run(job: &Job, server: SocketAddr, rtt: Duration) -> Result<Run> {
    let proxy = Proxy::to(server);
    proxy.delay(rtt);
    let url = proxy.through(&job.url);
    let (saying, said) = mpsc::channel();
    let mut herd = Herd(Vec::new());
    for _ in 0..job.processes {
        let mut process = Command::new(env::current_exe()?)
            .args(["peer", job.peer])
            .args([job.folder.as_os_str(), url.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("this program cannot be run")?;
        listen(&mut process, saying.clone())?;
        herd.0.push(process);
    }
    for _ in 0..job.processes {
        ensure!(matches!(next(&said)?, Said::Ready), "{}", herd.errors());
    }
    let began = Instant::now();
    for process in &mut herd.0 {
        // It goes on when its input ends.
        drop(process.stdin.take());
    }
    let mut done = Vec::new();
    let mut ended = 0;
    while ended < job.processes {
        let Ok(said) = next(&said) else {
            // Who has said nothing by now has failed.
            herd.kill();
            break;
        };
        match said {
            Said::Ready => {}
            Said::Done(at) => done.push(at),
            Said::Ended => ended += 1,
        }
    }
    let failures = job.processes - done.len();
    let spoken = proxy.begun();
    let from = match job.is_herd {
        true => began,
        false => spoken.first().copied().unwrap_or(began),
    };
    let last = done.iter().max().copied().unwrap_or(from);
    // The mean of the differences is the difference of the means: nobody need know whose is which.
    let mean = |at: &[Instant]| at.iter().map(|at| ms(*at - began)).sum::<f64>() / at.len() as f64;
    let one_boot = mean(&done) - mean(&spoken);
    Ok(Run {
        ms: ms(last.saturating_duration_since(from)),
        one_boot: (spoken.len() == done.len()).then_some(one_boot),
        round_trips: proxy.round_trips(),
        failures,
        errors: herd.errors(),
    })
}

fn listen(process: &mut Child, saying: Sender<Said>) -> Result<()> {
    let stdout = process.stdout.take().context("it is piped")?;
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            _ = saying.send(match line.as_str() {
                "ready" => Said::Ready,
                _ => Said::Done(Instant::now()),
            });
        }
        _ = saying.send(Said::Ended);
    });
    Ok(())
}

fn next(said: &Receiver<Said>) -> Result<Said> {
    said.recv_timeout(LIMIT)
        .with_context(|| format!("nothing for {LIMIT:?}"))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Processes that do not outlive their measurement.
struct Herd(Vec<Child>);

impl Herd {
    /// Waits for the processes, which have ended, and says what the first one of them says.
    fn errors(&mut self) -> String {
        let mut first = String::new();
        for process in &mut self.0 {
            let mut text = String::new();
            if let Some(mut stderr) = process.stderr.take() {
                _ = stderr.read_to_string(&mut text);
            }
            if first.is_empty() {
                text.trim().clone_into(&mut first);
            }
        }
        first
    }
}

impl Herd {
    fn kill(&mut self) {
        for process in &mut self.0 {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.kill();
    }
}
