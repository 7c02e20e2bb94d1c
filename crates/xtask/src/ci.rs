//! `cargo xtask ci`: what a change must pass.

use std::time::Instant;

use anyhow::Result;

use crate::step::{bold, cargo, has_cargo, seconds, skipped, step};
use crate::{budget, test};

pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    step("format", &mut cargo(["fmt", "--all", "--check"])?)?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", &mut cargo(clippy)?)?;
    let mut doc = cargo(["doc", "--workspace", "--no-deps"])?;
    step("docs", doc.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    if has_cargo("deny") {
        step("dependencies", &mut cargo(["deny", "check"])?)?;
    } else {
        skipped(
            "dependencies",
            "cargo-deny is not installed (`cargo install cargo-deny`)",
        );
    }
    test::run(&[])?;
    budget::run()?;
    eprintln!("{} {}", bold("ci:"), seconds(started.elapsed()));
    Ok(())
}
