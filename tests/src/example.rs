//! A service as a process, on an address of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::http::{self, Response};
use crate::{Database, Ended, Service, Signal, free_addr};

/// How long a boot may take on a machine that has other things to do.
const BOOT: Duration = Duration::from_secs(30);

/// The example service, or another, on a free address.
pub struct Example {
    name: &'static str,
    /// The process.
    pub process: Service,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Example {
    /// Runs it on this database, and with these variables beside.
    pub fn spawn(database_url: &str, envs: &[(&str, &str)]) -> Self {
        Self::spawn_program("service", database_url, envs)
    }

    /// Runs the program `migrating` on this database: it does nothing but apply the migrations of
    /// this folder, and stay.
    pub fn migrating(database_url: &str, folder: &Path, envs: &[(&str, &str)]) -> Self {
        let folder = folder.display().to_string();
        let given = [("MIGRATIONS_DIR", &*folder)];
        let envs: Vec<_> = given.iter().chain(envs).copied().collect();
        Self::spawn_program("migrating", database_url, &envs)
    }

    fn spawn_program(name: &'static str, database_url: &str, envs: &[(&str, &str)]) -> Self {
        let addr = free_addr();
        let given = [("ADDR", addr.to_string())].into_iter();
        let given = given.chain([("DATABASE_URL", database_url.to_owned())]);
        let envs = envs
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let process = Service::spawn(name, given.chain(envs));
        Self {
            name,
            process,
            addr,
        }
    }

    /// Runs it, and returns when it is ready.
    #[track_caller]
    pub fn boot(database_url: &str, envs: &[(&str, &str)]) -> Self {
        let example = Self::spawn(database_url, envs);
        example.wait_until_ready();
        example
    }

    /// Waits for the line that says so; `LOG_FORMAT` and `RUST_LOG` must be the defaults.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        self.wait_for(&format!(" {} booted in ", self.name));
    }

    /// Waits for a line of the log with this in it.
    #[track_caller]
    pub fn wait_for(&self, part: &str) -> String {
        self.process.wait_for_line(|line| line.contains(part), BOOT)
    }

    /// One GET, answered.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        match http::get(self.addr, path) {
            Ok(response) => response,
            Err(error) => panic!("GET {path}: {error}"),
        }
    }

    /// One POST of readings, answered.
    #[track_caller]
    pub fn post(&self, readings: &serde_json::Value) -> Response {
        match http::post_json(self.addr, "/readings", readings) {
            Ok(response) => response,
            Err(error) => panic!("POST /readings: {error}"),
        }
    }

    /// The status of a GET, or 0 if nothing listens.
    pub fn status(&self, path: &str) -> u16 {
        http::get(self.addr, path).map_or(0, |response| response.status)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.stdout_lines().join("\n")
    }

    /// Stops it as an operator does: it ends with 0, and has nothing to complain of.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        let ended = self.process.wait(Duration::from_secs(20));
        assert_eq!(ended, Ended::Code(0), "{}", self.process.stderr());
        assert_eq!(self.process.stderr(), "");
    }

    /// Waits until it has failed with `code`; see [`failure`].
    #[track_caller]
    pub fn fails(&mut self, code: i32) -> String {
        failure(&mut self.process, code)
    }
}

/// Waits until a process has failed with `code`, and returns what it says on stderr.
///
/// That must be nothing but a chain of causes, in which no text stands twice; and nothing that the
/// process has written may have the password in it.
#[track_caller]
pub fn failure(process: &mut Service, code: i32) -> String {
    let ended = process.wait(BOOT);
    let stderr = process.stderr();
    assert_eq!(ended, Ended::Code(code), "{stderr}");
    let all = format!("{}\n{stderr}", process.stdout_lines().join("\n"));
    assert!(!all.contains(Database::PASSWORD), "{all}");
    let mut texts: Vec<&str> = Vec::new();
    for line in stderr.lines() {
        let line = line.trim_start();
        let labels = ["error: ", "caused by: ", "still there: ", "help: "];
        let text = labels.iter().find_map(|label| line.strip_prefix(label));
        let text = text.unwrap_or_else(|| panic!("{line:?} is no part of a chain:\n{stderr}"));
        let twice = texts.iter().find(|before| before.contains(text));
        assert!(twice.is_none(), "{text:?} stands there twice:\n{stderr}");
        texts.push(text);
    }
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}
