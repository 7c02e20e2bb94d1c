//! A Postgres server for one test.

mod account;
mod session;
mod template;
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
use xtask::servers;

use self::account::Account;
pub use self::session::Session;
use self::watchdog::Watchdog;
use crate::free_addr;

/// The superuser that every server has, and its password.
const USER: &str = "postgres";
const PASSWORD: &str = "secret";

/// How long a server may take to start, recovery after a crash included.
const START: Duration = Duration::from_secs(30);
/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// A Postgres server of the test's own: on a free port, in a temporary folder, from the installed
/// binaries.
///
/// Over TCP it wants a password (SCRAM), so that a wrong one can be tried; over the Unix socket in
/// its folder, which [`psql`](Self::psql) uses, it does not. A test run as root has it run as the
/// user `postgres`, or `nobody`: the server refuses to be root. What it writes survives a
/// [`kill`](Self::kill), but not a power cut: it does not sync.
///
/// Dropped, it stops, and its folder is removed, also when the test panics or is killed.
pub struct Postgres {
    bin: PathBuf,
    account: Option<Account>,
    settings: Vec<String>,
    addr: SocketAddr,
    /// `None` while it is stopped.
    server: Option<Child>,
    watchdog: Watchdog,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server, and returns when it answers.
    ///
    /// `None` means that Postgres is not installed, and that the test said that it is skipped: it
    /// should return. With `CI=true` in the environment that is a failure instead.
    pub fn start() -> Option<Self> {
        Self::start_with([])
    }

    /// Starts a server with settings of its own, such as `max_connections=110`.
    pub fn start_with<const N: usize>(settings: [&str; N]) -> Option<Self> {
        let Some(bin) = servers::postgres() else {
            let skipped =
                "PostgreSQL is not installed (`cargo xtask test` installs it, or says how)";
            assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{skipped}");
            println!("skipped: {skipped}");
            return None;
        };
        let account = Account::for_servers();
        let folder = tempfile::Builder::new()
            .prefix("uptree-pg-")
            .tempdir()
            .expect("the temporary folder can be written");
        let watchdog = Watchdog::start(folder.path());
        template::copy(&bin, account, &folder.path().join("data"));
        account::give(folder.path(), account);
        let settings = settings.map(str::to_owned).to_vec();
        let mut postgres = Self {
            bin,
            account,
            settings,
            addr: free_addr(),
            server: None,
            watchdog,
            folder,
        };
        postgres.start_again();
        Some(postgres)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server's process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Its folder: the data, the Unix socket and the log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, PASSWORD, database)
    }

    /// The URL of a database, with another login.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@{}/{database}", self.addr)
    }

    /// Creates an empty database and returns its [`url`](Self::url).
    pub fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Runs SQL as the superuser. Rows are lines, columns are separated by `|`.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        match self.try_psql(database, sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }

    /// Runs SQL as the superuser and returns its rows, or what psql has to say against it.
    ///
    /// # Errors
    ///
    /// The text that psql wrote to stderr.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = self
            .psql_command(database)
            .args(["--command", sql])
            .output()
            .expect("psql is installed with the server");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Runs SQL as the superuser in a session that stays open until what is returned is dropped,
    /// with the locks that it has taken.
    #[track_caller]
    pub fn session(&self, database: &str, sql: &str) -> Session {
        Session::open(self.psql_command(database), sql)
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut psql = command(&self.bin.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
        ]);
        psql.args(["--username", USER, "--dbname", database]);
        psql.args(["--port", &self.addr.port().to_string(), "--host"]);
        psql.arg(self.folder.path());
        psql
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Stops it as an operator does: sessions are ended, everything is written.
    pub fn stop(&mut self) {
        // Fast shutdown, immediate shutdown, and what nothing withstands.
        self.end(&[Signal::INT, Signal::QUIT, Signal::KILL]);
    }

    /// Ends it as a crash does: nothing is written, and the next start has to recover.
    ///
    /// It is Postgres's immediate shutdown: SIGKILL would leave its backends to notice by
    /// themselves, and a busy one would go on.
    pub fn kill(&mut self) {
        self.end(&[Signal::QUIT, Signal::KILL]);
    }

    /// Starts it after a [`stop`](Self::stop) or a [`kill`](Self::kill): same data, same port.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it is running");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the folder is ours");
        let mut postgres = command(&self.bin.join("postgres"));
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.addr.port().to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("unix_socket_directories={}", self.folder.path().display()),
            // Nothing here has to outlive the machine.
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=32MB",
        ] {
            postgres.args(["-c", setting]);
        }
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        account::run_as(&mut postgres, self.account);
        // A group of its own: Ctrl-C in a terminal is for the test, whose end is the server's.
        postgres
            .process_group(0)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        postgres
            .stdout(log.try_clone().expect("there are file descriptors left"))
            .stderr(log);
        // Left by a crash, it would still say "ready".
        let _ = fs::remove_file(self.pid_file());
        let server = postgres.spawn().expect("the server can be executed");
        self.watchdog.watch(server.id());
        self.server = Some(server);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            // The server itself keeps its state in the eighth line.
            let pid_file = fs::read_to_string(self.pid_file()).unwrap_or_default();
            if pid_file
                .lines()
                .nth(7)
                .is_some_and(|state| state.trim() == "ready")
            {
                return;
            }
            let server = self.server.as_mut().expect("it was just started");
            let exit = server.try_wait().expect("it is a child of this process");
            assert!(exit.is_none(), "the server did not start: {}", self.log());
            assert!(
                Instant::now() < deadline,
                "the server is not ready after {START:?}: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends one signal after the other, until one of them has ended the server.
    fn end(&mut self, signals: &[Signal]) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let pid = Pid::from_child(&server);
        for signal in signals {
            // It is not reaped yet, so the pid is still its own.
            let _ = kill_process(pid, *signal);
            let deadline = Instant::now() + STOP;
            while Instant::now() < deadline {
                if !matches!(server.try_wait(), Ok(None)) {
                    self.watchdog.watch_nothing();
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("The log of the PostgreSQL server:\n{}", self.log());
        }
    }
}

/// One of Postgres's programs, with none of the variables that any of them reads.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C");
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}
