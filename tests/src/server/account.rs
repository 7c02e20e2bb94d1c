//! Who a server runs as. Postgres refuses to be root, and tests in a container usually are.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user other than root, and its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Whom to be instead of root: the first of these that there is; `None` when the test is not
    /// root.
    pub(super) fn instead_of_root(users: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let account = users.iter().find_map(|user| Self::named(user));
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

    /// Has a program run as it.
    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    /// Gives it a folder, and all that is in it.
    pub(crate) fn give(self, path: &Path) {
        let chown = Command::new("chown")
            .arg("-R")
            .arg(format!("{}:{}", self.user, self.group))
            .arg(path)
            .status();
        assert!(
            chown.is_ok_and(|status| status.success()),
            "root can give {} away",
            path.display()
        );
    }
}
