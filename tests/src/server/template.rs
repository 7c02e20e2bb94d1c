//! Data folders that are made once for all tests of this checkout, and copied for each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Account, output};
use crate::folders;

/// Makes `data` a copy of the template of this name, which `make` makes in a folder of the
/// account's if there is none yet.
///
/// The name has all in it that makes a template another one: the server's version, and a number
/// that is changed together with what `make` does.
pub(crate) fn copy(name: &str, account: Option<Account>, data: &Path, make: impl FnOnce(&Path)) {
    let template = folders::shared().join(name);
    let lock = File::create(template.with_added_extension("lock"))
        .expect("the target folder can be written");
    lock.lock()
        .expect("the target folder is on a file system with locks");
    if !template.exists() {
        // The other user may not be able to reach the target folder.
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        if let Some(account) = account {
            account.give(folder.path());
        }
        make(&folder.path().join("data"));
        keep(&folder.path().join("data"), &template);
    }
    drop(lock);
    cp(&template, data);
}

/// Whatever ends this half-way, `template` is complete if it exists.
fn keep(data: &Path, template: &Path) {
    let mut unfinished = template.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let _ = fs::remove_dir_all(&unfinished);
    cp(data, &unfinished);
    fs::rename(unfinished, template).expect("nobody else makes it: the lock is held");
}

fn cp(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-R").arg(from).arg(to));
}

/// Runs what has to succeed.
pub(crate) fn run(command: &mut Command) -> String {
    output(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
