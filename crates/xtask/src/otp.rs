//! `cargo xtask otp`: what Erlang/OTP did, replayed on our supervisors; and more of it, recorded.

use std::{
    fs,
    path::{Path, PathBuf, absolute},
    process::{Command, ExitCode},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use crate::{
    needs::has,
    step::{bold, cargo, failed, root, seconds, skipped, step, target},
};

/// How many new scenarios a test run records.
const FRESH: u64 = 40;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A recording, or a folder with `*.jsonl` in it [default: the project's recordings]
    path: Option<PathBuf>,
    /// Replay only scenarios with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print the deliberate differences, each with its reason, and replay nothing
    #[arg(long, conflicts_with_all = ["path", "only", "record"])]
    rules: bool,
    /// Record COUNT new random scenarios; the same SEED makes the same ones. Needs Erlang
    #[arg(long, num_args = 2, value_names = ["SEED", "COUNT"], conflicts_with_all = ["path", "only"])]
    record: Option<Vec<u64>>,
    /// Make the trees of the new ones deeper
    #[arg(long, requires = "record")]
    deep: bool,
    /// Write the new ones to this file [default: target/otp/SEED.jsonl]
    #[arg(short, long, value_name = "FILE", requires = "record")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let result = match args.record.as_deref() {
        Some(&[seed, count]) => record_and_say(args, seed, count).map(|()| ExitCode::SUCCESS),
        _ => replay_alone(args),
    };
    result.unwrap_or_else(|error| {
        failed(&error);
        ExitCode::FAILURE
    })
}

/// For a test run: the project's recordings, and, where Erlang is, some that nobody has seen.
pub(crate) fn check() -> Result<()> {
    step("otp", &mut replay()?)?;
    if !missing().is_empty() {
        let missing = missing().join(", ");
        skipped(
            "otp, fresh",
            &format!("without {missing} nothing can be recorded"),
        );
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = now.as_secs() % 1_000_000;
    let file = target()?.join(format!("otp/{seed}.jsonl"));
    eprintln!("{}", bold(&format!("otp, fresh: seed {seed}")));
    record(seed, FRESH, false, 2, &file)?;
    step("otp, fresh", replay()?.arg(&file)).with_context(|| {
        format!("to have these scenarios again: cargo xtask otp --record {seed} {FRESH}")
    })
}

/// The replayer, and nothing said after its last line.
fn replay_alone(args: &Args) -> Result<ExitCode> {
    let mut replay = replay()?;
    if args.rules {
        replay.arg("--rules");
    }
    if let Some(only) = &args.only {
        replay.arg("--only").arg(only);
    }
    if let Some(path) = &args.path {
        replay.arg(absolute(path)?);
    }
    let status = replay.status().context("cargo cannot be run")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn replay() -> Result<Command> {
    cargo(["run", "-p", "uptree-otp", "--bin", "otp-replay", "--"])
}

fn record_and_say(args: &Args, seed: u64, count: u64) -> Result<()> {
    let file = match &args.output {
        Some(file) => absolute(file)?,
        None => target()?.join(format!("otp/{seed}.jsonl")),
    };
    let started = Instant::now();
    record(seed, count, args.deep, 4, &file)?;
    let took = seconds(started.elapsed());
    eprintln!("{} in {took}", bold("recorded"));
    eprintln!("to replay it: cargo xtask otp {}", file.display());
    Ok(())
}

/// Records scenarios, `passes` times, and keeps those on which all passes agree.
///
/// A few that nobody should be held to are kept apart: where OTP does not do what its own rules say.
fn record(seed: u64, count: u64, deep: bool, passes: u32, file: &Path) -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        bail!(
            "{} cannot be found\n{}",
            missing.join(", "),
            how_to_install()
        );
    }
    let kit = root()?.join("tests/otp/kit");
    let work = target()?.join("otp/work");
    fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
    let bare = work.join("bare.jsonl");
    let (seed, count, passes) = (seed.to_string(), count.to_string(), passes.to_string());
    let python = |script: &str| {
        let mut python = Command::new("python3");
        python.arg(kit.join(script));
        python
    };
    let mut generate = python("generate.py");
    generate.args(["random", &seed, &count]).arg(&bare);
    step("generate", generate.args(deep.then_some("--deep")))?;
    let mut record = python("record.py");
    // What it says comes when it says it.
    record.env("PYTHONUNBUFFERED", "1");
    record.arg(&work).arg(file).arg(&bare);
    step("record", record.args(["--passes", &passes]))?;
    let odd = file.with_extension("odd");
    _ = fs::remove_file(&odd);
    step(
        "set oddities apart",
        python("selfcheck_model.py")
            .arg("--split")
            .arg(&odd)
            .arg(file),
    )
}

fn missing() -> Vec<&'static str> {
    let needed = ["erl", "erlc", "elixir", "python3"];
    needed.into_iter().filter(|program| !has(program)).collect()
}

fn how_to_install() -> String {
    let ways = [
        (
            "apt-get",
            "sudo apt-get install --no-install-recommends erlang-base elixir python3",
        ),
        ("dnf", "sudo dnf install erlang elixir python3"),
        ("pacman", "sudo pacman -S erlang-nox elixir python"),
        ("brew", "brew install erlang elixir python"),
    ];
    let known = ways.iter().any(|(manager, _)| has(manager));
    let ways = ways.iter().filter(|(manager, _)| !known || has(manager));
    let lines: Vec<_> = ways
        .map(|(_, line)| format!("  to install them: {line}"))
        .collect();
    lines.join("\n")
}
