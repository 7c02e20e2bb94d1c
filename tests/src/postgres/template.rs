//! A data folder to copy. `initdb` takes a second, a copy of what it made a tenth of that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::{self, Account};
use super::{PASSWORD, USER, command};
use crate::folders;

/// Part of the template's name: to be changed together with what [`make`] does.
const RECIPE: u32 = 1;

/// Makes `data` a copy of the template, which is made once for all tests of this checkout.
pub(super) fn copy(bin: &Path, account: Option<Account>, data: &Path) {
    let template = folders::shared().join(format!("pg-template-{}-{RECIPE}", version(bin)));
    let lock = File::create(template.with_added_extension("lock"))
        .expect("the target folder can be written");
    lock.lock()
        .expect("the target folder is on a file system with locks");
    if !template.exists() {
        make(bin, account, &template);
    }
    drop(lock);
    run(Command::new("cp").arg("-R").arg(template).arg(data));
}

/// Runs `initdb`. Whatever ends this half-way, `template` is complete if it exists.
fn make(bin: &Path, account: Option<Account>, template: &Path) {
    // The other user may not be able to reach the target folder.
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("the folder was just made");
    account::give(folder.path(), account);
    let data = folder.path().join("data");
    let mut initdb = command(&bin.join("initdb"));
    initdb
        .args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--username",
            USER,
            "--pwfile",
        ])
        .arg(password);
    initdb
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
            "--pgdata",
        ])
        .arg(&data);
    account::run_as(&mut initdb, account);
    run(initdb.current_dir(folder.path()));

    let mut unfinished = template.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let _ = fs::remove_dir_all(&unfinished);
    run(Command::new("cp").arg("-R").arg(data).arg(&unfinished));
    fs::rename(unfinished, template).expect("nobody else makes it: the lock is held");
}

/// Such as `15.4`.
fn version(bin: &Path) -> String {
    let output = command(&bin.join("postgres"))
        .arg("--version")
        .output()
        .expect("the server can be executed");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    output
        .split_whitespace()
        .nth(2)
        .expect("it says `postgres (PostgreSQL) 15.4`")
        .to_owned()
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
