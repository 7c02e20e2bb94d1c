//! Replays recordings; `cargo xtask otp` runs it.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::{self, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Parser;
use uptree_otp::{Rule, files, replay, scenarios};

/// Replays what was recorded on Erlang/OTP on the supervisors of Uptree
#[derive(Parser)]
struct Args {
    /// A recording, or a folder with `*.jsonl` in it
    path: Option<PathBuf>,
    /// Only scenarios with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print the deliberate differences instead
    #[arg(long)]
    rules: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.rules {
        let rules = Rule::ALL.map(|rule| rule.to_string());
        say(&rules.join("\n\n"));
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers with how many differ.
fn run(args: &Args) -> Result<usize> {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/recordings"));
    let path = args.path.clone().unwrap_or_else(default);
    let mut all = Vec::new();
    for file in files(&path)? {
        all.extend(scenarios(&file)?);
    }
    if let Some(only) = &args.only {
        all.retain(|scenario| scenario.id.contains(only));
        if all.is_empty() {
            bail!("no scenario has {only:?} in its name");
        }
    }
    let watch = Watch::start();
    let mut differ = 0;
    let mut told = Instant::now();
    for (number, scenario) in all.iter().enumerate() {
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            eprintln!("{number} of {} played", all.len());
        }
        watch.playing(&scenario.id);
        if let Some(difference) = replay(scenario)? {
            differ += 1;
            say(&difference.to_string());
        }
    }
    let number = all.len();
    let agree = number - differ;
    say(&format!(
        "{number} scenarios, {agree} agree, {differ} differ"
    ));
    Ok(differ)
}

/// Says it to whoever still listens.
fn say(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

/// Ends the program if one scenario takes for ever: paused time does not pass while somebody is busy.
struct Watch(Arc<Mutex<(String, Instant)>>);

const PATIENCE: Duration = Duration::from_secs(60);

impl Watch {
    fn start() -> Self {
        let now = Arc::new(Mutex::new((String::new(), Instant::now())));
        let watched = now.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                let (scenario, since) = &*watched.lock().unwrap_or_else(PoisonError::into_inner);
                if since.elapsed() > PATIENCE {
                    eprintln!(
                        "error: {scenario} has gone on for {PATIENCE:?}: somebody is never done"
                    );
                    process::exit(1);
                }
            }
        });
        Self(now)
    }

    fn playing(&self, scenario: &str) {
        let now = (scenario.to_owned(), Instant::now());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
