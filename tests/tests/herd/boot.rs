//! Processes that boot at once.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use uptree_tests::{Database, Ended, Example, Signal, eventually};

/// What a boot may take when as many others boot.
pub(crate) const BOOT: Duration = Duration::from_secs(150);

const PATIENT: [(&str, &str); 1] = [("START_TIMEOUT", "120s")];

/// What it may take until each has read something.
const SERVED: Duration = Duration::from_secs(60);

pub(crate) struct Herd {
    pub(crate) processes: Vec<Example>,
}

impl Herd {
    /// Starts them all, and returns when all are ready.
    #[track_caller]
    pub(crate) fn boot(database: &Database, size: usize, envs: &[(&str, &str)]) -> Self {
        let envs: Vec<_> = PATIENT.iter().chain(envs).copied().collect();
        let url = database.url();
        Self::start(size, " service booted in ", || Example::spawn(&url, &envs))
    }

    /// As [`boot`](Self::boot), of a service that does nothing but migrate this folder.
    #[track_caller]
    pub(crate) fn migrating(url: &str, size: usize, folder: &Path) -> Self {
        let envs = [PATIENT[0], ("POOL_SIZE", "1")];
        Self::start(size, " migrating booted in ", || {
            Example::migrating(url, folder, &envs)
        })
    }

    #[track_caller]
    fn start(size: usize, ready: &str, spawn: impl Fn() -> Example) -> Self {
        let began = Instant::now();
        let processes: Vec<_> = (0..size).map(|_| spawn()).collect();
        for Example { process, .. } in &processes {
            let left = BOOT.saturating_sub(began.elapsed());
            process.wait_for_line(|line| line.contains(ready), left);
        }
        println!("{size} processes were ready after {:?}", began.elapsed());
        for process in &processes {
            assert_eq!(process.status("/ready"), 200);
        }
        Self { processes }
    }

    /// How many migrations they have applied, all together.
    pub(crate) fn applied(&self) -> usize {
        let lines = self
            .processes
            .iter()
            .flat_map(|one| one.process.stdout_lines());
        lines.map(|line| applied(&line)).sum()
    }

    /// Has each of them read and write, all at once: all that they have written is there.
    #[track_caller]
    pub(crate) fn serves(&self, database: &Database) {
        thread::scope(|scope| {
            for process in &self.processes {
                scope.spawn(|| {
                    let reading = json!({"sensor": "herd", "value": 1});
                    assert_eq!(process.post(&reading).status, 202);
                    // With all of them logging in a request can time out.
                    eventually(SERVED, || {
                        (process.status("/readings") == 200).then_some(())
                    });
                });
            }
        });
        let expected = self.processes.len().to_string();
        eventually(SERVED, || {
            (database.query("SELECT count(*) FROM readings") == expected).then_some(())
        });
    }

    /// Stops them all at once, in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        for Example { process, .. } in &mut self.processes {
            process.signal(Signal::TERM);
        }
        for Example { process, .. } in &mut self.processes {
            let ended = process.wait(Duration::from_secs(60));
            assert_eq!(ended, Ended::Code(0), "{}", process.stderr());
            assert_eq!(process.stderr(), "");
        }
    }
}

/// How many migrations this line of a log says to have been applied.
fn applied(line: &str) -> usize {
    if line.contains("migration applied") {
        return 1;
    }
    if !line.contains("migrations applied") {
        return 0;
    }
    let number = line.split("migrations=").nth(1);
    let number = number.and_then(|rest| rest.split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .expect("it says how many")
}
