//! Faults between a process and its server.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use uptree_tests::{Cut, Database, Example, Proxy, eventually};

use crate::kinds::Kind;
use crate::sample::{Sample, assert_same};
use crate::{prepare, state};

/// How many are tried where not all are: each fault once, and one of them twice.
const TRIED: usize = 7;

/// What a boot may take that has somebody else's to clean up.
const RECOVERED: Duration = Duration::from_secs(60);

/// How long nothing gets through, if nobody gets past it.
const SILENT: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    /// And so is the next, at some point of its own.
    KillTwice,
    Reset,
    Silence,
    /// All that is said arrives, but after another has been here.
    Late,
    KillServer,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Kill,
        Self::KillTwice,
        Self::Reset,
        Self::Silence,
        Self::Late,
        Self::KillServer,
    ];

    fn kills_the_process(self) -> bool {
        matches!(self, Self::Kill | Self::KillTwice)
    }
}

/// When a fault happens.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before the flight gets through.
    Before(u64),
    /// While the server is at work on the flight, for which it takes about so long.
    During(u64, Duration),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(point) => write!(f, "before point {point}"),
            Self::During(point, _) => write!(f, "while the server is at work on point {point}"),
        }
    }
}

pub(crate) fn try_all(database: &mut Database, kind: &Kind) {
    let (before, all) = (kind.before(), kind.all());
    let before = before.as_ref().map(tempfile::TempDir::path);
    let spawn = |url: &str| Example::migrating(url, all.path(), kind.envs());
    let (moments, undisturbed) = undisturbed(database, before, spawn);
    let cells: Vec<_> = moments
        .iter()
        .flat_map(|moment| Fault::ALL.map(|fault| (*moment, fault)))
        .collect();
    let mut sample = Sample::of(&cells, TRIED);
    let mut missed = 0;
    for (moment, fault) in sample.chosen.clone() {
        let mut what = format!("{}, {fault:?} {moment}", kind.name);
        prepare(database, before);
        let mut trial = Trial::start(database, spawn, moment);
        let happened = trial.meets(database, fault, sample.fraction());
        missed += usize::from(!happened);
        if let Fault::KillTwice = fault {
            let moment = sample.any(&moments);
            what = format!("{what}, and again {moment}");
            let mut next = Trial::start(database, spawn, moment);
            next.meets(database, fault, sample.fraction());
            next.end();
        }
        trial.is_followed_by(spawn(&database.url()), fault, &what);
        assert_same(&state(database), &undisturbed, &what);
        if happened && !fault.kills_the_process() {
            assert!(trial.goes_on(), "{what}: the disturbed process has ended");
        }
        trial.end();
        // Nor has the first done anything again.
        assert_same(&state(database), &undisturbed, &what);
    }
    println!(
        "{}, {}: {} points x {} faults, {}, all recovered ({missed} were not there any more)",
        database.kind(),
        kind.name,
        moments.len(),
        Fault::ALL.len(),
        sample.words,
    );
    // Else the points are another run's, and nothing was tried.
    assert!(missed * 4 <= sample.chosen.len(), "{missed}");
}

/// What there is when nothing happens, and when something can.
fn undisturbed(
    database: &Database,
    before: Option<&Path>,
    spawn: impl Fn(&str) -> Example,
) -> (Vec<Moment>, String) {
    prepare(database, before);
    let proxy = proxy(database);
    let mut process = spawn(&proxy.through(&database.url()));
    process.wait_until_ready();
    let points = proxy.points();
    let moments = (1..=points).flat_map(|point| {
        let during = proxy.answered_after(point);
        let during = during.map(|took| Moment::During(point, took));
        [Some(Moment::Before(point)), during].into_iter().flatten()
    });
    let moments = moments.collect();
    process.stop();
    (moments, state(database))
}

fn proxy(database: &Database) -> Proxy {
    Proxy::to(database.addr().expect("it has a server"))
}

struct Trial {
    moment: Moment,
    process: Example,
    proxy: Proxy,
    reached: Receiver<()>,
    /// Dropped, it lets the proxy go on.
    go_on: Option<Sender<()>>,
}

impl Trial {
    fn start(database: &Database, spawn: impl Fn(&str) -> Example, moment: Moment) -> Self {
        let proxy = proxy(database);
        let (arrival, reached) = channel();
        let (go_on, goes_on) = channel();
        let call = Cut::call(move || {
            let _ = arrival.send(());
            let _: Result<(), _> = goes_on.recv();
        });
        match moment {
            Moment::Before(point) => proxy.cut_at(point, call),
            Moment::During(point, _) => proxy.cut_after(point, call),
        }
        let process = spawn(&proxy.through(&database.url()));
        Self {
            moment,
            process,
            proxy,
            reached,
            go_on: Some(go_on),
        }
    }

    /// Lets the fault happen when its moment has come; `false` if this run does not come to it.
    fn meets(&mut self, database: &mut Database, fault: Fault, fraction: f64) -> bool {
        let comes = eventually(RECOVERED, || {
            match self.reached.recv_timeout(Duration::from_millis(10)) {
                Ok(()) => Some(true),
                Err(RecvTimeoutError::Timeout) => self.is_through().then_some(false),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the proxy is there"),
            }
        });
        if !comes {
            return false;
        }
        let is_before = match self.moment {
            Moment::Before(_) => true,
            Moment::During(_, took) => {
                thread::sleep(took.mul_f64(fraction));
                false
            }
        };
        match fault {
            Fault::Kill | Fault::KillTwice => drop(self.process.process.kill()),
            // To lose the flight is to reset the connection.
            Fault::Reset if is_before => {}
            Fault::Reset => self.proxy.cut_all(Cut::Reset),
            Fault::Silence => self.proxy.cut_all(Cut::Silence),
            Fault::Late => self.proxy.cut_all(Cut::Stall),
            Fault::KillServer => database.kill(),
        }
        self.go_on = None;
        if let Fault::KillServer = fault {
            database.start_again();
        }
        true
    }

    /// Another boots, past the proxy, while the first is still there if nothing has killed it.
    fn is_followed_by(&self, mut next: Example, fault: Fault, what: &str) {
        if let Fault::Silence | Fault::Late = fault {
            let mut waited = Duration::ZERO;
            let step = Duration::from_millis(10);
            while waited < SILENT && !is_ready(&next) {
                thread::sleep(step);
                waited += step;
            }
            self.proxy.heal();
        }
        let ready = eventually(RECOVERED, || {
            let ended = next.process.ended();
            (is_ready(&next) || ended.is_some()).then_some(ended)
        });
        assert!(ready.is_none(), "{what}: the next one has ended: {ready:?}");
        next.process.kill();
    }

    /// Whether the first comes through too; if not, it has given up.
    fn goes_on(&mut self) -> bool {
        eventually(RECOVERED, || self.is_through().then_some(()));
        self.process.process.ended().is_none()
    }

    fn is_through(&mut self) -> bool {
        is_ready(&self.process) || self.process.process.ended().is_some()
    }

    fn end(mut self) {
        self.process.process.kill();
    }
}

fn is_ready(process: &Example) -> bool {
    process.log().contains(" migrating booted in ")
}
