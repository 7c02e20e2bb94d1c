//! What the tests need beside Rust: installed where that can be done unasked, else named.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result};
use xtask::servers;

use crate::step::{bold, step};

/// A program that tests start, and what it is called in each package manager.
struct Need {
    name: &'static str,
    is_there: fn() -> bool,
    /// What is skipped without it.
    tests: &'static str,
    /// The programs alone, where there are packages that do not run them as a service.
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
    /// Empty if it is not for macOS.
    brew: &'static str,
    /// The system's service that the package of apt would have run from now on.
    service: Option<&'static str>,
}

const NEEDS: [Need; 4] = [
    Need {
        name: "PostgreSQL",
        is_there: || servers::postgres().is_some(),
        tests: "the tests of Postgres",
        apt: "postgresql",
        dnf: "postgresql-server",
        pacman: "postgresql",
        brew: "postgresql@17",
        // Without a cluster there is nothing to run.
        service: None,
    },
    Need {
        name: "MariaDB",
        is_there: || servers::mariadb().is_some(),
        tests: "the tests of MariaDB and MySQL",
        apt: "mariadb-server-core mariadb-client-core",
        dnf: "mariadb-server",
        pacman: "mariadb",
        brew: "mariadb",
        service: None,
    },
    Need {
        name: "PgBouncer",
        is_there: || servers::pgbouncer().is_some(),
        tests: "the tests through a pooler",
        apt: "pgbouncer",
        dnf: "pgbouncer",
        pacman: "pgbouncer",
        brew: "pgbouncer",
        service: Some("pgbouncer"),
    },
    Need {
        name: "strace",
        is_there: || servers::strace().is_some() || !cfg!(target_os = "linux"),
        tests: "the kills at each write to a SQLite file",
        apt: "strace",
        dnf: "strace",
        pacman: "strace",
        brew: "",
        service: None,
    },
];

/// Installs what is missing, or says how to. Tests that miss something say so themselves, so this
/// never fails.
pub(crate) fn ensure() {
    for need in NEEDS.iter().filter(|need| !(need.is_there)()) {
        if has("apt-get") && is_root() {
            let installed = without_services(|| without_a_cluster(|| apt_install(need)));
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
        for (manager, install, packages) in [
            (
                "apt-get",
                "sudo apt-get install --no-install-recommends",
                need.apt,
            ),
            ("dnf", "sudo dnf install", need.dnf),
            ("pacman", "sudo pacman -S", need.pacman),
            ("brew", "brew install", need.brew),
        ] {
            let is_used =
                has(manager) || !["apt-get", "dnf", "pacman", "brew"].into_iter().any(has);
            if is_used && !packages.is_empty() {
                eprintln!("  to install it: {install} {packages}");
            }
        }
    }
}

fn apt_install(need: &Need) -> Result<()> {
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "--yes", "--no-install-recommends"]);
        apt.args(need.apt.split(' '));
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
    })?;
    if let Some(service) = need.service {
        // Nor at the next boot. Without such a program there is no such service.
        let _ = Command::new("update-rc.d")
            .args([service, "disable"])
            .output();
    }
    Ok(())
}

/// Has no package start a service while `install` runs: a test needs only the programs, and nobody
/// has asked for a server.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let policy = Path::new("/usr/sbin/policy-rc.d");
    if policy.exists() {
        return install();
    }
    fs::write(policy, "#!/bin/sh\nexit 101\n")
        .and_then(|()| fs::set_permissions(policy, fs::Permissions::from_mode(0o755)))?;
    let installed = install();
    // For the next package, which somebody may ask for, it is as if we had not been here.
    let _ = fs::remove_file(policy);
    installed
}

/// Has the package of Postgres make no database of its own while `install` runs, as none was asked
/// for on port 5432.
fn without_a_cluster(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    if settings.exists() {
        return install();
    }
    let folder = settings.parent().context("it has one")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(settings, "create_main_cluster = false\n"))?;
    let installed = install();
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
