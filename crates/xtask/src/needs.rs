//! What the tests need beside Rust: installed where that can be done unasked, else named.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result};
use xtask::servers;

use crate::step::{bold, step};

/// A server that tests start, and what it is called in each package manager.
struct Need {
    name: &'static str,
    is_there: fn() -> bool,
    /// What is skipped without it.
    tests: &'static str,
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
    brew: &'static str,
}

const NEEDS: [Need; 1] = [Need {
    name: "PostgreSQL",
    is_there: || servers::postgres().is_some(),
    tests: "the tests of Postgres",
    apt: "postgresql",
    dnf: "postgresql-server",
    pacman: "postgresql",
    brew: "postgresql@17",
}];

/// Installs what is missing, or says how to. Tests that miss something say so themselves, so this
/// never fails.
pub(crate) fn ensure() {
    for need in NEEDS.iter().filter(|need| !(need.is_there)()) {
        if has("apt-get") && is_root() {
            let installed = without_a_cluster(|| apt_install(need.apt));
            if installed.is_ok() && (need.is_there)() {
                continue;
            }
            if let Err(error) = installed {
                eprintln!("{error:#}");
            }
        }
        eprintln!(
            "{}",
            bold(&format!(
                "{} is not installed: {} are skipped.",
                need.name, need.tests
            ))
        );
        for (manager, line) in [
            (
                "apt-get",
                format!("sudo apt-get install --no-install-recommends {}", need.apt),
            ),
            ("dnf", format!("sudo dnf install {}", need.dnf)),
            ("pacman", format!("sudo pacman -S {}", need.pacman)),
            ("brew", format!("brew install {}", need.brew)),
        ] {
            if has(manager) || !["apt-get", "dnf", "pacman", "brew"].into_iter().any(has) {
                eprintln!("  to install it: {line}");
            }
        }
    }
}

fn apt_install(package: &str) -> Result<()> {
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "--yes", "--no-install-recommends", package]);
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .env("UCF_FORCE_CONFFOLD", "1");
        apt.stdin(Stdio::null());
        step("install", &mut apt)
    };
    // The list of packages may be missing, as in a new container, or too old.
    install().or_else(|_| {
        step(
            "list of packages",
            Command::new("apt-get").arg("update").stdin(Stdio::null()),
        )?;
        install()
    })
}

/// Has the package of the server make and start no database of its own while `install` runs: a
/// test needs only the programs, and nobody has asked for a server on port 5432.
fn without_a_cluster(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    if settings.exists() {
        return install();
    }
    let folder = settings.parent().context("it has one")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(settings, "create_main_cluster = false\n"))?;
    let installed = install();
    // For the next package, which somebody may ask for, it is as if we had not been here.
    let _ = fs::copy("/usr/share/postgresql-common/createcluster.conf", settings)
        .or_else(|_| fs::remove_file(settings).map(|()| 0));
    installed
}

/// Whether there is such a program on the `PATH`.
pub(crate) fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
