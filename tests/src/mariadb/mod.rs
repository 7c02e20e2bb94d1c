//! A MariaDB server for one test.

mod install;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use xtask::servers;

use crate::server::{self, Kind, Server, Session, command};

/// The superuser that every server has, and its password over TCP.
const USER: &str = "root";
const PASSWORD: &str = "secret";

const KIND: Kind = Kind {
    name: "MariaDB",
    prefix: "uptree-maria-",
    users: &["mysql", "nobody"],
    last_signal: "KILL",
    removed_last: None,
};

/// A MariaDB server of the test's own: on a free port, in a temporary folder, from the installed
/// binaries.
///
/// Over TCP it wants a password; over the Unix socket in its folder, which [`query`](Self::query)
/// uses, it does not. It speaks no TLS. A test run as root has it run as the user `mysql`, or
/// `nobody`. What it writes survives a [`kill`](Self::kill), but not a power cut: it does not sync.
///
/// Dropped, it stops, and its folder is removed, also when the test panics or is killed.
pub struct MariaDb {
    programs: servers::MariaDb,
    settings: Vec<String>,
    server: Server,
}

impl MariaDb {
    /// Starts a server, and returns when it answers; `None` as for
    /// [`Postgres::start`](crate::Postgres::start).
    pub fn start() -> Option<Self> {
        Self::start_with([])
    }

    /// Starts a server with settings of its own, such as `max-connections=110`.
    pub fn start_with<const N: usize>(settings: [&str; N]) -> Option<Self> {
        let Some(programs) = servers::mariadb() else {
            server::is_missing(KIND.name);
            return None;
        };
        let server = Server::new(&KIND);
        install::copy(&programs, server.account(), &server.folder().join("data"));
        server.own_folder();
        let settings = settings.map(str::to_owned).to_vec();
        let mut mariadb = Self {
            programs,
            settings,
            server,
        };
        mariadb.start_again();
        let superuser = format!(
            "CREATE OR REPLACE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
             GRANT ALL ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION"
        );
        mariadb.query("mysql", &superuser);
        Some(mariadb)
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
        self.url_as(USER, PASSWORD, database)
    }

    /// The URL of a database, with another login.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@{}/{database}", self.addr())
    }

    /// Creates an empty database and returns its [`url`](Self::url).
    pub fn create_database(&self, name: &str) -> String {
        self.query("mysql", &create_database(name));
        self.url(name)
    }

    /// Runs SQL as the superuser. Rows are lines, columns are separated by `|`, and NULL is empty,
    /// all as psql shows it.
    #[track_caller]
    pub fn query(&self, database: &str, sql: &str) -> String {
        match self.try_query(database, sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }

    /// Runs SQL as the superuser and returns its rows, or what the client has to say against it.
    ///
    /// # Errors
    ///
    /// The text that the client wrote to stderr.
    pub fn try_query(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = self.client(database);
        let rows = server::output(client.args(["--execute", sql]))?;
        let columns = |row: &str| {
            let column = |column| if column == "NULL" { "" } else { column };
            let columns: Vec<_> = row.split('\t').map(column).collect();
            columns.join("|")
        };
        Ok(rows.lines().map(columns).collect::<Vec<_>>().join("\n"))
    }

    /// Runs SQL as the superuser in a session that stays open until what is returned is dropped,
    /// with the locks that it has taken.
    #[track_caller]
    pub fn session(&self, database: &str, sql: &str) -> Session {
        let mut client = self.client(database);
        client.arg("--unbuffered");
        Session::open(client, sql)
    }

    fn client(&self, database: &str) -> Command {
        let mut client = command(&self.programs.client);
        client.args(["--no-defaults", "--batch", "--raw", "--skip-column-names"]);
        client.args(["--default-character-set=utf8mb4", "--user", USER]);
        client.args(["--database", database, "--socket"]);
        client.arg(self.folder().join("socket"));
        client
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Stops it as an operator does: sessions are ended, everything is written.
    pub fn stop(&mut self) {
        self.server.end(&[Signal::TERM, Signal::KILL]);
    }

    /// Ends it as a crash does: nothing is written, and the next start has to recover.
    pub fn kill(&mut self) {
        self.server.end(&[Signal::KILL]);
    }

    /// Starts it after a [`stop`](Self::stop) or a [`kill`](Self::kill): same data, same port.
    pub fn start_again(&mut self) {
        let mut mariadbd = command(&self.programs.server);
        mariadbd.args(install::settings(&self.folder().join("data")));
        let file = |name: &str| self.folder().join(name).display().to_string();
        mariadbd.args([
            "--bind-address=127.0.0.1",
            &format!("--port={}", self.addr().port()),
            &format!("--socket={}", file("socket")),
            &format!("--pid-file={}", file("pid")),
            &format!("--tmpdir={}", file("")),
            "--skip-log-bin",
            "--skip-ssl",
            // A commit is with the system, which outlives the server.
            "--innodb-flush-log-at-trx-commit=2",
        ]);
        mariadbd.args(self.settings.iter().map(|setting| format!("--{setting}")));
        // Left by a crash, it would still say that it runs.
        let _ = fs::remove_file(self.folder().join("pid"));
        self.server.run(mariadbd, |folder| {
            // It is written when everything else is there.
            fs::read(folder.join("pid")).is_ok_and(|pid| pid.ends_with(b"\n"))
        });
    }
}

/// In the character set that a new database has in MySQL itself.
pub(crate) fn create_database(name: &str) -> String {
    format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
    }
}
