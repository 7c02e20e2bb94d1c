//! A Postgres server for one test.

mod initdb;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use xtask::servers;

use crate::server::{self, Kind, Server, Session, command};

const KIND: Kind = Kind {
    name: "PostgreSQL",
    prefix: "uptree-pg-",
    users: &["postgres", "nobody"],
    last_signal: "QUIT",
    removed_last: Some(PID_FILE),
};

const PID_FILE: &str = "data/postmaster.pid";

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
    settings: Vec<String>,
    server: Server,
}

impl Postgres {
    /// The superuser that every server has.
    pub const USER: &str = "postgres";
    /// The superuser's password.
    pub const PASSWORD: &str = "secret";

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
            server::is_missing(KIND.name);
            return None;
        };
        let server = Server::new(&KIND);
        initdb::copy(&bin, server.account(), &server.folder().join("data"));
        server.own_folder();
        let settings = settings.map(str::to_owned).to_vec();
        let mut postgres = Self {
            bin,
            settings,
            server,
        };
        postgres.start_again();
        Some(postgres)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The server's process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Its folder: the data, the Unix socket and the log.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// The URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(Self::USER, Self::PASSWORD, database)
    }

    /// The URL of a database, with another login.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@{}/{database}", self.addr())
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
        server::output(self.psql_command(database).args(["--command", sql]))
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
        psql.args(["--username", Self::USER, "--dbname", database]);
        psql.args(["--port", &self.addr().port().to_string(), "--host"]);
        psql.arg(self.folder());
        psql
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Stops it as an operator does: sessions are ended, everything is written.
    pub fn stop(&mut self) {
        // Fast shutdown, immediate shutdown, and what nothing withstands.
        self.server.end(&[Signal::INT, Signal::QUIT, Signal::KILL]);
    }

    /// Ends it as a crash does: nothing is written, and the next start has to recover.
    ///
    /// It is Postgres's immediate shutdown: SIGKILL would leave its backends to notice by
    /// themselves, and a busy one would go on.
    pub fn kill(&mut self) {
        self.server.end(&[Signal::QUIT, Signal::KILL]);
    }

    /// Starts it after a [`stop`](Self::stop) or a [`kill`](Self::kill): same data, same port.
    pub fn start_again(&mut self) {
        let mut postgres = command(&self.bin.join("postgres"));
        postgres
            .arg("-D")
            .arg(self.folder().join("data"))
            .arg("-p")
            .arg(self.addr().port().to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("unix_socket_directories={}", self.folder().display()),
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
        // Left by a crash, it would still say "ready".
        let _ = fs::remove_file(self.folder().join(PID_FILE));
        self.server.run(postgres, |folder| {
            // The server itself keeps its state in the eighth line.
            let pid_file = fs::read_to_string(folder.join(PID_FILE)).unwrap_or_default();
            let state = pid_file.lines().nth(7);
            state.is_some_and(|state| state.trim() == "ready")
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
