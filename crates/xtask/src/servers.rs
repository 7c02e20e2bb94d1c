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
