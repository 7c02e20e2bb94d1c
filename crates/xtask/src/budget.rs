//! `cargo xtask budget`: what the examples may weigh, and what their build may cost.
//!
//! Each is built from nothing, as one does who tries it: size and number of crates come out the same
//! everywhere, so they are held tightly. The build's cost is processor time, which changes little
//! with the number of processors and with what else they do, but does with their speed: it is held
//! to twice what it is on a small virtual machine.

use std::{collections::BTreeSet, fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::step::{bold, cargo, seconds, step, target};

/// What an example may come to.
struct Budget {
    package: &'static str,
    /// The program's size as `cargo build --release` leaves it, in kilobytes.
    kilobytes: u64,
    /// How many crates are compiled for it.
    crates: u64,
    /// Processor time of a release build, in seconds.
    seconds: u64,
}

const BUDGETS: [Budget; 2] = [
    Budget {
        package: "minimal",
        kilobytes: 6_000,
        crates: 100,
        seconds: 220,
    },
    Budget {
        package: "service",
        kilobytes: 15_500,
        crates: 215,
        seconds: 520,
    },
];

/// A figure and its limit.
struct Held {
    what: &'static str,
    is: u64,
    limit: u64,
}

pub(crate) fn run() -> Result<()> {
    let mut over = Vec::new();
    for budget in &BUDGETS {
        let Budget { package, .. } = budget;
        for it in budget.measure()? {
            let Held { what, is, limit } = &it;
            let line = format!("{package}: {what}: {is} of {limit}");
            println!("{line} ({} %)", is * 100 / limit);
            if it.is_over() {
                over.push(line);
            }
        }
    }
    ensure!(
        over.is_empty(),
        "over the budget: {}; make it less, or raise the budget in crates/xtask/src/budget.rs and \
         say why in the commit",
        over.join("; ")
    );
    Ok(())
}

impl Budget {
    fn measure(&self) -> Result<Vec<Held>> {
        let Self { package, .. } = *self;
        // First: to count them, they are downloaded.
        let crates = crates(package)?;
        let folder = target()?.join("budget");
        remove(&folder)?;
        let used = processor_seconds();
        let began = Instant::now();
        let mut build = cargo(["build", "--release", "--locked", "-p", package])?;
        build.env("CARGO_TARGET_DIR", &folder);
        // A cache would have it for nothing.
        build
            .env_remove("RUSTC_WRAPPER")
            .env_remove("CARGO_BUILD_RUSTC_WRAPPER");
        step(package, &mut build)?;
        eprintln!("{} {}", bold("built in"), seconds(began.elapsed()));
        let program = folder.join("release").join(package);
        let bytes = fs::metadata(&program).with_context(|| program.display().to_string())?;
        let mut held = vec![
            Held {
                what: "kilobytes",
                is: bytes.len() / 1000,
                limit: self.kilobytes,
            },
            Held {
                what: "crates",
                is: crates,
                limit: self.crates,
            },
        ];
        if let Some((before, after)) = used.zip(processor_seconds()) {
            held.push(Held {
                what: "seconds of processor time to build",
                is: after - before,
                limit: self.seconds,
            });
        }
        remove(&folder)?;
        Ok(held)
    }
}

impl Held {
    fn is_over(&self) -> bool {
        self.is > self.limit
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

/// How many crates a package is made of, itself included, with what builds them.
fn crates(package: &str) -> Result<u64> {
    let tree = ["tree", "--locked", "-p", package, "-e", "normal,build"];
    let output = cargo(tree)?.args(["--prefix", "none"]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(count(&String::from_utf8_lossy(&output.stdout)))
}

/// The crates of a `cargo tree` without its branches, each once.
fn count(tree: &str) -> u64 {
    let crates = tree.lines().filter(|line| !line.is_empty());
    let crates: BTreeSet<_> = crates.map(|it| it.trim_end_matches(" (*)")).collect();
    crates.len() as u64
}

/// The processor time of the programs that this one has run and that have ended; `None` where the
/// system does not say.
fn processor_seconds() -> Option<u64> {
    in_seconds(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// From the line that Linux has of a process.
fn in_seconds(stat: &str) -> Option<u64> {
    /// Linux tells times in these, on every architecture that Rust's std is built for.
    const TICKS_A_SECOND: u64 = 100;
    // The program's name, in brackets, may have anything in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    // `cutime` and `cstime` are the 16th and the 17th field, the state after the name is the 3rd.
    let mut fields = rest.split(' ').skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_counts_once() {
        let tree = "minimal v0.1.0 (/x)\nbytes v1.0.0\nh2 v0.4.0\nbytes v1.0.0\nh2 v0.4.0 (*)\n\n";
        assert_eq!(count(tree), 3);
    }

    #[test]
    fn the_processor_time_of_children_is_read() {
        let stat = "7 (a) b) R 1 7 3 0 -1 4194304 96 0 0 0 5 6 1234 567 20 0 1 0 3675013 3133440";
        assert_eq!(in_seconds(stat), Some(18));
        assert_eq!(in_seconds(""), None);
    }

    #[test]
    fn what_is_as_much_as_its_limit_is_within_it() {
        let held = |is| Held {
            what: "crates",
            is,
            limit: 3,
        };
        assert!(!held(3).is_over());
        assert!(held(4).is_over());
    }
}
