//! A process killed by strace at its calls that change a SQLite file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use uptree_tests::{Database, Ended, Service, Signal, Sqlite, binary, eventually, free_addr};
use xtask::servers;

use crate::kinds::Kind;
use crate::sample::{Sample, assert_same};
use crate::{boot, prepare, state};

const CALLS: &str = "write,pwrite64,fsync,fdatasync,ftruncate,unlink";

/// How many are tried where not all are.
const TRIED: usize = 16;

/// What a boot may take under strace, on a machine that has other things to do.
const BOOT: Duration = Duration::from_secs(60);

/// The so-manieth of these calls by one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    call: &'static str,
    number: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.call, self.number)
    }
}

pub(crate) fn try_all(database: &Database, kind: &Kind) {
    let Some(strace) = strace() else {
        return;
    };
    let (before, all) = (kind.before(), kind.all());
    let before = before.as_ref().map(TempDir::path);
    let traced = Traced::new(strace, database, all.path(), kind);
    // Which thread writes the last of it differs from run to run.
    let runs = (0..3).map(|_| {
        prepare(database, before);
        traced.points()
    });
    let runs: Vec<_> = runs.collect();
    let everywhere = |point: &&Point| runs.iter().all(|run| run.contains(point));
    let points: Vec<_> = runs[0].iter().filter(everywhere).copied().collect();
    let undisturbed = state(database);

    let sample = Sample::of(&points, TRIED);
    let mut missed = 0;
    for point in &sample.chosen {
        prepare(database, before);
        missed += usize::from(!traced.is_killed_at(*point));
        boot(database, all.path(), kind.envs());
        let what = format!("{}, killed at {point}", kind.name);
        assert_same(&state(database), &undisturbed, &what);
    }
    println!(
        "sqlite, {}: {} points x 1 fault, {}, all recovered ({missed} were not there any more)",
        kind.name,
        points.len(),
        sample.words
    );
    // Else the points are another run's, and nothing was tried.
    assert!(missed * 4 <= sample.chosen.len(), "{missed}");
}

/// The program, if it may trace here.
fn strace() -> Option<PathBuf> {
    let strace = servers::strace();
    let may = |strace: &PathBuf| {
        let mut tried = Command::new(strace);
        let tried = tried.args(["-qqq", "-e", "trace=none", "true"]).status();
        tried.is_ok_and(|status| status.success())
    };
    let strace = strace.filter(may);
    if strace.is_none() {
        println!("skipped: strace is not installed, or may not trace");
    }
    strace
}

struct Traced<'a> {
    strace: PathBuf,
    sqlite: &'a Sqlite,
    url: String,
    envs: &'static [(&'static str, &'static str)],
    migrations: &'a Path,
    output: TempDir,
}

impl<'a> Traced<'a> {
    fn new(strace: PathBuf, database: &'a Database, migrations: &'a Path, kind: &Kind) -> Self {
        let Database::Sqlite(sqlite) = database else {
            unreachable!("it is a file")
        };
        Self {
            strace,
            sqlite,
            url: database.url(),
            envs: kind.envs(),
            migrations,
            output: tempfile::tempdir().expect("the temporary folder can be written"),
        }
    }

    /// Boots, stops, and says what it has called.
    fn points(&self) -> Vec<Point> {
        assert_eq!(self.run(None), Ended::Code(0));
        let calls = fs::read_to_string(self.output_file()).expect("it was written");
        // By thread, as strace counts.
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in calls.lines() {
            let (thread, call) = line.split_once(' ').expect("the thread comes first");
            let call = call.trim_start().split('(').next().unwrap_or_default();
            *counts.entry((thread, call)).or_default() += 1;
        }
        let most = |call: &'static str| {
            let counts = counts.iter().filter(move |((_, name), _)| *name == call);
            let most = counts.map(|(_, count)| *count).max().unwrap_or_default();
            (1..=most).map(move |number| Point { call, number })
        };
        let points: Vec<_> = CALLS.split(',').flat_map(most).collect();
        assert!(!points.is_empty(), "{calls}");
        points
    }

    /// Boots, and stops if it gets so far.
    fn is_killed_at(&self, point: Point) -> bool {
        self.run(Some(point)) == Ended::Signal(Signal::KILL.as_raw())
    }

    fn run(&self, killed_at: Option<Point>) -> Ended {
        let mut strace = Command::new(&self.strace);
        // The tracer is not in between: its parent is still ours.
        strace
            .args(["-D", "-f", "-qqq", "-o"])
            .arg(self.output_file());
        strace.args(["-e", &format!("trace={CALLS}")]);
        if let Some(Point { call, number }) = killed_at {
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
        }
        for suffix in ["", "-wal", "-shm", "-journal", "-migrate"] {
            let mut file = self.sqlite.file().as_os_str().to_owned();
            file.push(suffix);
            strace.arg("-P").arg(file);
        }
        strace.arg(binary("migrating"));
        strace
            .env_clear()
            .env("ADDR", free_addr().to_string())
            .env("DATABASE_URL", &self.url)
            .env("MIGRATIONS_DIR", self.migrations)
            .envs(self.envs.iter().copied());
        let mut process = Service::start(&mut strace);
        eventually(BOOT, || {
            let is_ready = |line: &String| line.contains(" migrating booted in ");
            let is_through = process.ended().is_some();
            (is_through || process.stdout_lines().iter().any(is_ready)).then_some(())
        });
        process.signal(Signal::TERM);
        process.wait(BOOT)
    }

    fn output_file(&self) -> PathBuf {
        self.output.path().join("calls")
    }
}
