//! One measurement in a process of its own.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bench::{Ask, Measured};
use rustix::process::{Pid, Signal, kill_process};

use crate::contenders::Program;

/// The program that answers, with its arguments. `target` is where OTP's module was built.
pub(crate) fn command(program: Program, ask: &Ask, target: &Path) -> Result<Command> {
    let counted = ask.work.starts_with("heap") || ask.work.starts_with("allocations");
    let ops = ask.ops.unwrap_or_default().to_string();
    let (n, threads) = (ask.n.to_string(), ask.threads.to_string());
    let mut command = match (program, counted) {
        (Program::Otp, _) => {
            let mut erl = Command::new("erl");
            erl.args(["+S", &format!("{threads}:{threads}"), "+P", "4000000"]);
            erl.args(["-noinput", "-noshell", "-kernel", "logger_level", "none"]);
            erl.arg("-pa").arg(target.join("bench-build/otp"));
            erl.args(["-run", "supervision", "main", &ask.work, &n, &ops]);
            return Ok(erl);
        }
        (Program::Bench, false) => {
            let mut this = Command::new(env::current_exe()?);
            this.arg("measure");
            this
        }
        (Program::Bench, true) => sibling("counted")?,
        (Program::Peers, false) => sibling("peers")?,
        (Program::Peers, true) => sibling("peers_counted")?,
    };
    command.args([&ask.peer, &ask.work, &n, "--threads", &threads]);
    if ask.ops.is_some() {
        command.args(["--ops", &ops]);
    }
    Ok(command)
}

fn sibling(name: &str) -> Result<Command> {
    Ok(Command::new(env::current_exe()?.with_file_name(name)))
}

/// What it printed; `None` if it took longer than `limit`, and was killed.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<Option<Measured>> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    let pid = Pid::from_child(&child);
    let (ended, has_ended) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = has_ended.recv_timeout(limit) else {
        // The thread reaps it. If it has ended by now, its id is still its own: not yet, or just,
        // reaped.
        _ = kill_process(pid, Signal::KILL);
        _ = has_ended.recv();
        return Ok(None);
    };
    let output = output?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    let measured = serde_json::from_slice(&output.stdout);
    Ok(Some(
        measured.with_context(|| format!("no figure: {errors}"))?,
    ))
}

/// Whether there is a program of this name.
pub(crate) fn is_installed(name: &str) -> bool {
    let version = Command::new(name)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok()
}
