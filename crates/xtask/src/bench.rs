//! `cargo xtask bench`: the figures, from the workspace in `benches/`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    needs,
    step::{cargo, root, step, target},
};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let target = target()?;
    // Its own folder: what the two workspaces build differs, and one would throw out the other's.
    let own = target.join("bench-build");
    match args.split_first().map(|(it, args)| (it.as_str(), args)) {
        Some(("migrate", args)) => return migrate(&own, args, &target),
        Some(("http", args)) => return http(&own, args, &target),
        _ => {}
    }
    build(&own, "bench")?;
    let bench = || {
        let mut bench = Command::new(own.join("release/bench"));
        bench.args(args);
        bench
    };
    if !args.iter().any(|arg| arg == "--help" || arg == "-h") {
        for need in needs(bench())?.lines() {
            provide(need, &own)?;
        }
    }
    step("bench", bench().arg("--target").arg(&target))
}

/// A package of its own: what it measures has many dependencies.
fn migrate(own: &Path, args: &[String], target: &Path) -> Result<()> {
    needs::ensure();
    build(own, "bench-migrate")?;
    let mut bench = Command::new(own.join("release/bench-migrate"));
    step("bench", bench.args(args).arg("--target").arg(target))
}

/// A package of its own too: it has the servers that are measured beside it.
fn http(own: &Path, args: &[String], target: &Path) -> Result<()> {
    build(own, "bench-http")?;
    provide("minimal", own)?;
    let mut bench = Command::new(own.join("release/bench-http"));
    step("bench", bench.args(args).arg("--target").arg(target))
}

/// What must be built for what is asked: the peers' dependencies are many, and seldom wanted.
fn needs(mut bench: Command) -> Result<String> {
    let output = bench.arg("--needs").output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).context("names are text")
}

fn provide(need: &str, own: &Path) -> Result<()> {
    match need {
        "minimal" => step(need, &mut cargo(["build", "--release", "-p", "minimal"])?),
        "peers" => build(own, "bench-peers"),
        "otp" => {
            let out = own.join("otp");
            fs::create_dir_all(&out)?;
            let mut erlc = Command::new("erlc");
            erlc.arg("-o").arg(out).arg("benches/otp/supervision.erl");
            step(need, erlc.current_dir(root()?))
        }
        other => bail!("the benchmarks need {other}, which nobody knows"),
    }
}

/// All programs of a package of the benchmarks: one of them runs the others.
fn build(own: &Path, package: &str) -> Result<()> {
    let manifest = [
        "build",
        "--release",
        "--manifest-path",
        "benches/Cargo.toml",
    ];
    let args = manifest.into_iter().chain(["-p", package]);
    step(package, cargo(args)?.env("CARGO_TARGET_DIR", own))
}
