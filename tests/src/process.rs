//! A program of ours as a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::folders;

/// The path of an example's binary, as `cargo build -p NAME` leaves it, or of one of this crate's.
pub fn binary(name: &str) -> PathBuf {
    let path = folders::profile().join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo build -p {name}` builds it, and so does `cargo xtask test`",
        path.display()
    );
    path
}

/// An example's binary as a command, in an environment of nothing but `PATH` and `HOME`; without an
/// admin port, whose default is one for all who run side by side.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command.env_clear();
    for kept in ["PATH", "HOME"] {
        if let Some(value) = env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.env("ADMIN_ADDR", "off");
    command
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal, which it had not taken.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(
                status
                    .signal()
                    .expect("what has no exit code was ended by a signal"),
            ),
        }
    }
}

/// A running program, whose output is kept line by line.
///
/// Dropped, it is killed; when the test fails, its output is part of the test's.
pub struct Service {
    child: Child,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    folder: Option<TempDir>,
}

impl Service {
    /// Runs an example's binary with these variables alone, in a new folder.
    pub fn spawn<K, V>(name: &str, envs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let mut service = Self::spawn_in(folder.path(), name, envs);
        service.folder = Some(folder);
        service
    }

    /// Runs an example's binary with these variables alone, in a folder that outlives it.
    pub fn spawn_in<K, V>(folder: &Path, name: &str, envs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::start(command(name).envs(envs).current_dir(folder))
    }

    /// Runs any command: [`command`] makes one that takes arguments.
    pub fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Output::of(child.stdout.take().expect("it is piped"));
        let stderr = Output::of(child.stderr.take().expect("it is piped"));
        Self {
            child,
            stdout,
            stderr,
            folder: None,
        }
    }

    /// The folder that it was [spawned](Self::spawn) in.
    pub fn folder(&self) -> &Path {
        self.folder
            .as_ref()
            .expect("it was spawned in a folder of its own")
            .path()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. One that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        // Once it has been waited for, its pid can be another's.
        if self.ended().is_none() {
            kill_process(Pid::from_child(&self.child), signal)
                .expect("one may signal one's own child");
        }
    }

    /// Kills it, and returns when it is gone.
    pub fn kill(&mut self) -> Ended {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10))
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<Ended> {
        self.child
            .try_wait()
            .expect("it is a child of this process")
            .map(Ended::from)
    }

    /// Waits for its end and for the last of its output.
    ///
    /// Fails the test when the time is up.
    #[track_caller]
    pub fn wait(&mut self, timeout: Duration) -> Ended {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(ended) = self.ended() {
                // A process that it started may have its output open for longer: that is not waited
                // for.
                let last = Instant::now() + Duration::from_secs(1);
                self.stdout.wait(last, |output| output.closed.then_some(()));
                self.stderr.wait(last, |output| output.closed.then_some(()));
                return ended;
            }
            assert!(Instant::now() < deadline, "it still runs after {timeout:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The lines that it has written to stdout so far.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lock().lines.clone()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().lines.join("\n")
    }

    /// The first line on stdout that `is_it`: now, or as soon as it is written.
    ///
    /// Fails the test when the time is up, and as soon as there can be no more lines.
    #[track_caller]
    pub fn wait_for_line(&self, is_it: impl Fn(&str) -> bool, timeout: Duration) -> String {
        let mut seen = 0;
        let found = self.stdout.wait(Instant::now() + timeout, |output| {
            let line = output.lines[seen..]
                .iter()
                .find(|line| is_it(line))
                .cloned();
            seen = output.lines.len();
            if output.closed {
                Some(line)
            } else {
                line.map(Some)
            }
        });
        match found {
            Some(Some(line)) => line,
            Some(None) => panic!("it has closed its stdout, and the line was not there"),
            None => panic!("the line was not there after {timeout:?}"),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let stdout = self.stdout_lines().join("\n");
            eprintln!(
                "The stdout of process {}:\n{stdout}\nIts stderr:\n{}",
                self.pid(),
                self.stderr()
            );
        }
    }
}

/// One stream of a process, read by a thread of its own so that the process never waits for the
/// test.
#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    closed: bool,
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let kept = Arc::clone(&output);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                kept.lock()
                    .lines
                    .push(String::from_utf8_lossy(&line).into_owned());
                kept.changed.notify_all();
            }
            kept.lock().closed = true;
            kept.changed.notify_all();
        });
        output
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whenever something was written, until `look` has found what it wants; `None` at the
    /// deadline.
    fn wait<T>(&self, deadline: Instant, mut look: impl FnMut(&Written) -> Option<T>) -> Option<T> {
        let mut written = self.lock();
        loop {
            if let Some(found) = look(&written) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            written = self
                .changed
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Service {
        Service::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_and_the_exit_code_are_kept() {
        let mut process = shell("echo one; echo two; echo three >&2; exit 3");
        assert_eq!(
            process.wait_for_line(|line| line.starts_with("tw"), SECONDS),
            "two"
        );
        assert_eq!(process.wait(SECONDS), Ended::Code(3));
        assert_eq!(process.stdout_lines(), ["one", "two"]);
        assert_eq!(process.stderr(), "three");
    }

    #[test]
    fn a_signal_that_is_taken_can_be_told_from_one_that_is_not() {
        let mut process = shell("trap 'exit 7' TERM; echo trapped; while :; do sleep 0.01; done");
        process.wait_for_line(|line| line == "trapped", SECONDS);
        process.signal(Signal::TERM);
        assert_eq!(process.wait(SECONDS), Ended::Code(7));

        let mut process = shell("exec sleep 60");
        process.signal(Signal::TERM);
        assert_eq!(process.wait(SECONDS), Ended::Signal(15));
    }

    #[test]
    #[should_panic(expected = "it has closed its stdout")]
    fn a_line_that_cannot_come_any_more_is_not_waited_for() {
        shell("echo one").wait_for_line(|line| line == "two", Duration::from_mins(10));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = shell("exec sleep 60");
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
