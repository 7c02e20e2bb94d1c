//! What the servers of tests have in common: a program in a temporary folder, on a free port.

mod account;
mod session;
pub(crate) mod template;
mod watchdog;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) use self::account::Account;
pub use self::session::Session;
use self::watchdog::Watchdog;
use crate::free_addr;

/// How long a server may take to start, recovery after a crash included.
const START: Duration = Duration::from_secs(30);
/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// What tells the kinds apart.
pub(crate) struct Kind {
    /// Such as `PostgreSQL`.
    pub(crate) name: &'static str,
    /// The beginning of its folders' names.
    pub(crate) prefix: &'static str,
    /// Whom to run it as instead of root: the first that there is.
    pub(crate) users: &'static [&'static str],
    /// What ends it for a test that cannot.
    pub(crate) last_signal: &'static str,
    /// A file in its folder that it removes when it has ended by that signal, if there is one.
    pub(crate) removed_last: Option<&'static str>,
}

/// A server. Dropped, it is killed, and its folder is removed, also when the test panics or is
/// killed.
pub(crate) struct Server {
    kind: &'static Kind,
    account: Option<Account>,
    addr: SocketAddr,
    /// `None` while it is stopped.
    process: Option<Child>,
    watchdog: Watchdog,
    folder: TempDir,
}

impl Server {
    /// A server that does not run yet, in an empty folder.
    pub(crate) fn new(kind: &'static Kind) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(kind.prefix)
            .tempdir()
            .expect("the temporary folder can be written");
        Self {
            kind,
            account: Account::instead_of_root(kind.users),
            addr: free_addr(),
            process: None,
            watchdog: Watchdog::start(folder.path(), kind),
            folder,
        }
    }

    pub(crate) fn account(&self) -> Option<Account> {
        self.account
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// Gives it what was put into its folder.
    pub(crate) fn own_folder(&self) {
        if let Some(account) = self.account {
            account.give(self.folder());
        }
    }

    /// Runs it, and returns when it is ready.
    pub(crate) fn run(&mut self, mut command: Command, is_ready: impl Fn(&Path) -> bool) {
        assert!(self.process.is_none(), "it is running");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the folder is ours");
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        // A group of its own: Ctrl-C in a terminal is for the test, whose end is the server's.
        command
            .process_group(0)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("there are file descriptors left"))
            .stderr(log);
        let process = command.spawn().expect("the server can be executed");
        self.watchdog.watch(process.id());
        let process = self.process.insert(process);
        let deadline = Instant::now() + START;
        while !is_ready(self.folder.path()) {
            let exit = process.try_wait().expect("it is a child of this process");
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(exit.is_none(), "the server did not start: {}", log());
            let in_time = Instant::now() < deadline;
            assert!(
                in_time,
                "the server is not ready after {START:?}: {}",
                log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to it, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // It is not reaped yet, so the pid is still its own.
            let _ = kill_process(Pid::from_child(process), signal);
        }
    }

    /// Sends one signal after the other, until one of them has ended it.
    pub(crate) fn end(&mut self, signals: &[Signal]) {
        for signal in signals {
            self.signal(*signal);
            let Some(process) = &mut self.process else {
                return;
            };
            let deadline = Instant::now() + STOP;
            while Instant::now() < deadline {
                if !matches!(process.try_wait(), Ok(None)) {
                    self.watchdog.watch_nothing();
                    self.process = None;
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(&[Signal::KILL]);
        if thread::panicking() {
            eprintln!("The log of the {} server:\n{}", self.kind.name, self.log());
        }
    }
}

/// A program, with none of the variables that servers and their clients read.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C");
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs a command to its end, and returns what it wrote to stdout.
///
/// # Errors
///
/// What it wrote to stderr, if it failed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Says that a test is skipped for want of a program, or fails it with `CI=true` in the
/// environment.
pub(crate) fn is_missing(name: &str) {
    let skipped = format!("{name} is not installed (`cargo xtask test` installs it, or says how)");
    let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!is_ci, "{skipped}");
    println!("skipped: {skipped}");
}
