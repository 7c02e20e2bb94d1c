//! Running one program after the other, and saying so.
//!
//! What is said here goes to stderr, so that the programs' own output stays as it is.

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    let root = PathBuf::from(xtask).join("../..");
    root.canonicalize()
        .with_context(|| format!("{} cannot be found", root.display()))
}

/// The folder for what is built.
pub(crate) fn target() -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(root()?.join(target))
}

/// `cargo` with these arguments, to be run in the folder of the workspace.
pub(crate) fn cargo<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    // Said to us by the cargo that runs us, about this package. A build script that looks at one of
    // them would be run again each time that it is there or not.
    for (name, _) in env::vars_os() {
        let said = name.to_string_lossy();
        if said.starts_with("CARGO_PKG_") || said.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Whether there is a `cargo NAME`.
pub(crate) fn has_cargo(name: &str) -> bool {
    let version = cargo([name, "--version"]).map(|mut cargo| {
        cargo
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    });
    version.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}

/// Runs a program and says how long it took.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("{}", bold(&format!("{name}: {line}")));
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{name} failed: {line}"))?;
    let took = seconds(started.elapsed());
    if !status.success() {
        bail!("{name} failed after {took}, {status}: {line}");
    }
    eprintln!("{} {took}", green(&format!("{name}:")));
    Ok(())
}

/// Says that a step is left out, and why.
pub(crate) fn skipped(name: &str, why: &str) {
    eprintln!("{} skipped, {why}", bold(&format!("{name}:")));
}

/// Says why the command ends.
pub(crate) fn failed(error: &anyhow::Error) {
    eprintln!("{} {error:#}", colour("1;31", "error:"));
}

/// Such as `0.3 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let program = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    [program]
        .into_iter()
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn bold(text: &str) -> String {
    colour("1", text)
}

fn green(text: &str) -> String {
    colour("1;32", text)
}

fn colour(code: &str, text: &str) -> String {
    let wanted = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    if wanted {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
