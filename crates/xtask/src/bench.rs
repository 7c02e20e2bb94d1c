//! `cargo xtask bench`: the figures, from the workspace in `benches/`.

use std::{env, path::PathBuf};

use anyhow::Result;

use crate::step::{cargo, root, step};

pub(crate) fn run(args: &[String]) -> Result<()> {
    step(
        "minimal",
        &mut cargo(["build", "--release", "-p", "minimal"])?,
    )?;
    let manifest = "benches/Cargo.toml";
    let mut run = cargo(["run", "--release", "--manifest-path", manifest, "--"])?;
    // Its own folder: what the two workspaces build differs, and one would throw out the other's.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    run.env("CARGO_TARGET_DIR", root()?.join(target).join("bench-build"));
    step("bench", run.args(args))
}
