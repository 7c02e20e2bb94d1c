//! Who a server runs as. Postgres refuses to be root, and tests in a container usually are.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user other than root, and its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Whom to be instead of root; `None` when the test is not root.
    pub(super) fn for_servers() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let account = ["postgres", "nobody"].into_iter().find_map(Self::named);
        Some(account.expect("there is a user `nobody`"))
    }

    fn named(name: &str) -> Option<Self> {
        let id = |what: &str| {
            let output = Command::new("id").args([what, name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        Some(Self {
            user: id("-u")?,
            group: id("-g")?,
        })
    }
}

/// Has a program run as `account`.
pub(super) fn run_as(command: &mut Command, account: Option<Account>) {
    if let Some(Account { user, group }) = account {
        command.uid(user).gid(group);
    }
}

/// Gives a folder, and all that is in it, to `account`.
pub(super) fn give(folder: &Path, account: Option<Account>) {
    let Some(Account { user, group }) = account else {
        return;
    };
    let chown = Command::new("chown")
        .arg("-R")
        .arg(format!("{user}:{group}"))
        .arg(folder)
        .status();
    assert!(
        chown.is_ok_and(|status| status.success()),
        "root can give {} away",
        folder.display()
    );
}
