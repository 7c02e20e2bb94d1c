//! Who is attacked, and what it is held to.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use uptree_tests::http::Connection;
use uptree_tests::{Database, Example};

/// How long a probe may take, in the middle, whatever is done to the service meanwhile.
const PROBE: Duration = Duration::from_millis(100);

/// A kubelet waits for so long.
const TIMEOUT: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(10);

/// How many probes are enough to tell.
const ENOUGH: usize = 40;

/// The example service, while somebody attacks it.
pub(crate) struct Victim {
    service: Example,
    _database: Database,
    resident: u64,
    /// The processor time that the last attack cost it.
    pub(crate) used: Duration,
}

impl Victim {
    #[track_caller]
    pub(crate) fn boot() -> Self {
        let database = Database::sqlite();
        let service = Example::boot(&database.url(), &[]);
        // Whatever it allocates once is there from now on.
        let seen = probe(service.addr, |probes| probes < ENOUGH);
        seen.hold("nobody");
        let resident = resident(service.process.pid());
        Self {
            service,
            _database: database,
            resident,
            used: Duration::ZERO,
        }
    }

    /// Probes it for as long as `attack` runs, and longer if that is too short to tell; then holds it
    /// to its time, and to so many kilobytes more than before.
    #[track_caller]
    pub(crate) fn withstands<T>(
        &mut self,
        kilobytes: u64,
        attack: impl FnOnce(SocketAddr) -> T,
    ) -> T {
        let over = AtomicBool::new(false);
        let addr = self.service.addr;
        let before = processor_time(self.service.process.pid());
        let (seen, came) = thread::scope(|scope| {
            let probes = scope.spawn(|| {
                probe(addr, |probes| {
                    probes < ENOUGH || !over.load(Ordering::Relaxed)
                })
            });
            let came = attack(addr);
            over.store(true, Ordering::Relaxed);
            (probes.join().expect("it does not panic"), came)
        });
        self.used = processor_time(self.service.process.pid()).saturating_sub(before);
        let more = resident(self.service.process.pid()).saturating_sub(self.resident);
        println!(
            "{more} kB more at the most, {:?} of processor time",
            self.used
        );
        seen.hold("the attackers");
        assert!(more <= kilobytes, "{more} kB more than before");
        assert_eq!(self.service.process.ended(), None);
        came
    }

    /// Lets it have no more than so many files open from now on.
    pub(crate) fn limit_files(&self, files: u64) {
        let pid = i32::try_from(self.service.process.pid()).expect("a process id");
        let pid = Pid::from_raw(pid).expect("it is not 0");
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let limit = Rlimit {
            current: Some(files),
            maximum,
        };
        prlimit(Some(pid), Resource::Nofile, limit).expect("it is one's own process");
    }

    /// Serves its own clients still, and stops as ever.
    #[track_caller]
    pub(crate) fn stops_well(mut self) {
        let readings = self.service.get("/readings");
        assert_eq!(readings.status, 200);
        self.service.stop();
    }
}

/// What probes saw.
struct Seen {
    took: Vec<Duration>,
    failures: Vec<String>,
}

impl Seen {
    #[track_caller]
    fn hold(mut self, beside: &str) {
        self.took.sort();
        let at = |percent: usize| self.took[(self.took.len() - 1) * percent / 100];
        let (probes, middle, longest) = (self.took.len(), at(50), at(100));
        println!(
            "{probes} probes beside {beside}: {middle:?} in the middle, 95 % within {:?}, {longest:?} at the most",
            at(95)
        );
        let failures = self.failures.len();
        let last = self.failures.pop();
        assert!(failures * 20 <= probes, "{failures} failed: {last:?}");
        assert!(middle < PROBE, "{middle:?} in the middle");
    }
}

/// Probes as a kubelet does, on a new connection each time, for as long as `go_on` says.
fn probe(addr: SocketAddr, go_on: impl Fn(usize) -> bool) -> Seen {
    let mut seen = Seen {
        took: Vec::new(),
        failures: Vec::new(),
    };
    while go_on(seen.took.len()) {
        for path in ["/alive", "/ready"] {
            let began = Instant::now();
            let answer = Connection::open_within(addr, TIMEOUT)
                .and_then(|mut it| it.request("GET", path, &[("connection", "close")], b""));
            seen.took.push(began.elapsed());
            match answer {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => seen.failures.push(format!("{path}: {}", answer.status)),
                Err(error) => seen.failures.push(format!("{path}: {error}")),
            }
            thread::sleep(PAUSE);
        }
    }
    seen
}

/// The processor time that a process has used.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs, on Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    // The 14th and the 15th, where the state after the name is the 3rd; in hundredths of a second.
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// The most memory that a process has had resident, in kilobytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs, on Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
    peak.expect("Linux says so")
}

/// Lets this process, and those that it starts, have so many files open; false if the system does
/// not, and says so.
pub(crate) fn may_open(files: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < files) {
        println!("skipped: a process may not open {files} files here");
        return false;
    }
    let current = Some(maximum.unwrap_or(files));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("it is within the limit");
    true
}
