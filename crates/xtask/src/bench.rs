//! `cargo xtask bench`: the figures, from the workspace in `benches/`.

use std::process::Command;

use anyhow::Result;

use crate::step::{cargo, step, target};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let target = target()?;
    // Its own folder: what the two workspaces build differs, and one would throw out the other's.
    let own = target.join("bench-build");
    let minimal = ["build", "--release", "-p", "minimal"];
    step("minimal", &mut cargo(minimal)?)?;
    let manifest = "benches/Cargo.toml";
    // All of its programs: one of them runs the others.
    let build = ["build", "--release", "--manifest-path", manifest];
    step("build", cargo(build)?.env("CARGO_TARGET_DIR", &own))?;
    let mut bench = Command::new(own.join("release/bench"));
    bench.arg("--target").arg(&target);
    step("bench", bench.args(args))
}
