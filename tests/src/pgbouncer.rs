//! A pooler before a Postgres server.

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use rustix::process::Signal;
use xtask::servers;

use crate::server::{self, Kind, Server, command};
use crate::{Database, Postgres};

const KIND: Kind = Kind {
    name: "PgBouncer",
    prefix: "uptree-bouncer-",
    users: &["postgres", "nobody"],
    last_signal: "KILL",
    removed_last: None,
};

/// When a client lets go of the server's connection that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// With its session.
    Session,
    /// With each transaction: what a session is told is lost, or another's.
    Transaction,
}

/// A PgBouncer of the test's own, set as it usually is: it takes a thousand clients, and has twenty
/// connections for each pair of user and database. `extra_float_digits`, which sqlx sends, is ignored; other parameters
/// that it does not know are refused. It asks for passwords, which it is sent in plain text: by SCRAM
/// it would hash each of them 4096 times, one client after the other. It knows the superuser and
/// [`Database::USER`].
///
/// Dropped, it is gone; so it should be before its server.
pub struct PgBouncer {
    program: PathBuf,
    psql: PathBuf,
    postgres: SocketAddr,
    mode: PoolMode,
    settings: Vec<String>,
    server: Server,
}

impl PgBouncer {
    /// Starts one before `postgres`, and returns when it listens; `None` as for
    /// [`Postgres::start`].
    pub fn start(postgres: &Postgres, mode: PoolMode) -> Option<Self> {
        Self::start_with(postgres, mode, [])
    }

    /// Starts one with settings of its own, such as `default_pool_size=5`.
    pub fn start_with<const N: usize>(
        postgres: &Postgres,
        mode: PoolMode,
        settings: [&str; N],
    ) -> Option<Self> {
        let Some(program) = servers::pgbouncer() else {
            server::is_missing(KIND.name);
            return None;
        };
        let mut bouncer = Self {
            program,
            psql: servers::postgres()?.join("psql"),
            postgres: postgres.addr(),
            mode,
            settings: settings.map(str::to_owned).to_vec(),
            server: Server::new(&KIND),
        };
        bouncer.write();
        bouncer.server.own_folder();
        bouncer.start_again();
        Some(bouncer)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A URL of the server's, led through it.
    #[track_caller]
    pub fn through(&self, url: &str) -> String {
        let server = self.postgres.to_string();
        assert!(url.contains(&server), "{url} does not lead to {server}");
        url.replacen(&server, &self.addr().to_string(), 1)
    }

    /// Runs a command of its administrator's, such as `SHOW POOLS`, `PAUSE` or `KILL shop`. Rows are
    /// lines, columns are separated by `|`.
    #[track_caller]
    pub fn admin(&self, sql: &str) -> String {
        let mut psql = command(&self.psql);
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        let url = format!(
            "postgres://{}:{}@{}/pgbouncer",
            Postgres::USER,
            Postgres::PASSWORD,
            self.addr()
        );
        psql.args(["--dbname", &url, "--command", sql]);
        server::output(&mut psql).unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
    }

    /// Changes settings while it runs.
    #[track_caller]
    pub fn reload<const N: usize>(&mut self, settings: [&str; N]) {
        self.settings.extend(settings.map(str::to_owned));
        self.write();
        self.server.own_folder();
        self.admin("RELOAD");
    }

    /// Ends it, and with it all connections.
    pub fn stop(&mut self) {
        // It would wait for its clients at SIGINT.
        self.server.end(&[Signal::TERM, Signal::KILL]);
    }

    /// Starts it after a [`stop`](Self::stop), on the same port.
    pub fn start_again(&mut self) {
        let mut pgbouncer = command(&self.program);
        pgbouncer.arg(self.server.folder().join("pgbouncer.ini"));
        let addr = self.addr();
        self.server
            .run(pgbouncer, |_| TcpStream::connect(addr).is_ok());
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    fn write(&self) {
        let folder = self.server.folder();
        let mode = match self.mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        let mut ini = format!(
            "[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/userlist.txt
admin_users = {admin}
pool_mode = {mode}
max_client_conn = 1000
default_pool_size = 20
ignore_startup_parameters = extra_float_digits
",
            host = self.postgres.ip(),
            port = self.postgres.port(),
            listen = self.addr().port(),
            folder = folder.display(),
            admin = Postgres::USER,
        );
        for setting in &self.settings {
            writeln!(ini, "{setting}").expect("it takes any text");
        }
        // In plain text, because it logs in to the server by SCRAM itself.
        let users = [
            (Postgres::USER, Postgres::PASSWORD),
            (Database::USER, Database::PASSWORD),
        ];
        let users = users.map(|(user, password)| format!("\"{user}\" \"{password}\"\n"));
        fs::write(folder.join("pgbouncer.ini"), ini).expect("the folder is ours");
        fs::write(folder.join("userlist.txt"), users.concat()).expect("the folder is ours");
    }
}
