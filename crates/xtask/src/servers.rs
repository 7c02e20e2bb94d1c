//! Finding the servers that tests start. None of them has to run: their programs have to be there.

use std::path::PathBuf;
use std::{env, fs};

/// The folder of the server programs of Postgres: the newest of those that a package manager keeps
/// off the `PATH`, else the first on the `PATH`.
pub fn postgres() -> Option<PathBuf> {
    let mut folders = versioned_folders();
    if let Some(path) = env::var_os("PATH") {
        folders.extend(env::split_paths(&path));
    }
    folders.into_iter().find(|folder| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file())
    })
}

/// The programs of MariaDB.
#[derive(Clone, Debug)]
pub struct MariaDb {
    /// `mariadbd`.
    pub server: PathBuf,
    /// `mariadb`.
    pub client: PathBuf,
    /// `mariadb-install-db`.
    pub install: PathBuf,
}

/// The programs of MariaDB, on the `PATH` or where a system keeps its servers. Those of MySQL, which
/// are named otherwise, are not meant.
pub fn mariadb() -> Option<MariaDb> {
    Some(MariaDb {
        server: program("mariadbd")?,
        client: program("mariadb")?,
        install: program("mariadb-install-db")?,
    })
}

/// The pooler, on the `PATH` or where a system keeps its servers.
pub fn pgbouncer() -> Option<PathBuf> {
    program("pgbouncer")
}

/// What traces the system calls of a process, on the `PATH`; only Linux has it.
pub fn strace() -> Option<PathBuf> {
    program("strace")
}

fn program(name: &str) -> Option<PathBuf> {
    // Servers are not for everybody's `PATH`.
    let folders = [
        "/usr/sbin",
        "/usr/libexec",
        "/usr/local/sbin",
        "/opt/homebrew/opt/mariadb/bin",
        "/usr/local/opt/mariadb/bin",
    ];
    let path = env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = env::split_paths(&path).collect();
    path.into_iter()
        .chain(folders.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Debian's `/usr/lib/postgresql/15/bin` and Homebrew's `opt/postgresql@15/bin`, the newest first.
fn versioned_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name
                .to_str()
                .map(|name| name.trim_start_matches("postgresql@"));
            if let Some(version) = version.and_then(|version| version.parse().ok()) {
                versions.push((version, entry.path().join("bin")));
            }
        }
    }
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .collect()
}
