//! A service with one odd child between two good ones.
//!
//! Its one argument says what is odd. It prints `pid N`, then the log of any service; the odd child
//! is `probe/odd`, those around it are `probe/first` and `probe/last`. `probe SCENARIO tree` and the
//! other commands do something else.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use uptree::{
    App, ChildSpec, Command, CommandContext, CommandFuture, Context, Exit, IntoChild, Result,
    Shutdown, Starting, service, worker,
};

#[derive(clap::Args)]
struct Settings {
    /// What is odd
    scenario: Scenario,

    /// How long the odd child may take to stop
    #[arg(long, env, default_value = "300ms", value_parser = uptree::settings::duration)]
    stop_timeout: Duration,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Scenario {
    /// It panics in its start.
    PanicsInStart,
    /// Its start ends with an error that has a cause.
    FailsInStart,
    /// Its start never ends.
    NeverReady,
    /// Its start ends without a word.
    ReturnsInStart,
    /// It blocks its thread in its start, for ever.
    BlocksInStart,
    /// It fails as soon as it is ready, every time.
    KeepsFailing,
    /// It does not heed its stop.
    IgnoresItsStop,
    /// It panics when it is to stop.
    PanicsInStop,
    /// It blocks its thread once it runs, for ever.
    Blocks,
}

fn main() -> Exit {
    println!("pid {}", std::process::id());
    let commands: [&dyn Command; 4] = [&Odd::Tree, &Odd::Panics, &Odd::Heeds, &Odd::Stays];
    uptree::main_with(&commands, |s: Settings| {
        let odd = odd(s.scenario).shutdown(Shutdown::Timeout(s.stop_timeout));
        App::new("probe")
            .child(worker("first", (), good))
            .child(odd)
            .child(worker("last", (), good))
    })
}

/// A command.
#[derive(Clone, Copy)]
enum Odd {
    /// Prints the paths of the children.
    Tree,
    Panics,
    /// Ends at a signal.
    Heeds,
    /// Says `N` at each signal, and blocks at the second.
    Stays,
}

impl Command for Odd {
    fn clap(&self) -> clap::Command {
        clap::Command::new(match self {
            Self::Tree => "tree",
            Self::Panics => "panics",
            Self::Heeds => "heeds",
            Self::Stays => "stays",
        })
    }

    fn run(&self, _matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let odd = *self;
        Box::pin(async move {
            match odd {
                Self::Tree => {
                    for (path, _) in cx.root().walk() {
                        println!("{path}");
                    }
                    tracing::info!("all told");
                    Exit::clean()
                }
                Self::Panics => panic!("the command is odd"),
                Self::Heeds => {
                    println!("waiting");
                    Exit::interrupted(cx.signal().await, "it was waiting")
                }
                Self::Stays => {
                    println!("waiting");
                    println!("first: {}", cx.signal().await);
                    cx.hurry().await;
                    println!("second");
                    block()
                }
            }
        })
    }
}

fn odd(scenario: Scenario) -> ChildSpec {
    match scenario {
        Scenario::PanicsInStart => service("odd", (), panics_in_start).into_child(),
        Scenario::FailsInStart => service("odd", (), fails_in_start).into_child(),
        Scenario::NeverReady => service("odd", (), never_ready).into_child(),
        Scenario::ReturnsInStart => service("odd", (), returns_in_start).into_child(),
        Scenario::BlocksInStart => service("odd", (), blocks_in_start).into_child(),
        Scenario::KeepsFailing => worker("odd", (), fails).into_child(),
        Scenario::IgnoresItsStop => worker("odd", (), ignores_its_stop).into_child(),
        Scenario::PanicsInStop => worker("odd", (), panics_in_stop).into_child(),
        Scenario::Blocks => worker("odd", (), blocks).into_child(),
    }
}

async fn good((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

async fn panics_in_start((): (), _cx: Starting) -> Result {
    panic!("the odd child is odd");
}

async fn fails_in_start((): (), _cx: Starting) -> Result {
    let paper = std::fs::read("/no/such/file").map_err(NoPaper);
    Err(uptree::help(
        paper.expect_err("there is none"),
        "give it a file",
    ))
}

#[derive(Debug)]
struct NoPaper(std::io::Error);

impl fmt::Display for NoPaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the paper")
    }
}

impl Error for NoPaper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

async fn never_ready((): (), _cx: Starting) -> Result {
    pending().await
}

async fn returns_in_start((): (), _cx: Starting) -> Result {
    Ok(())
}

async fn blocks_in_start((): (), _cx: Starting) -> Result {
    block()
}

async fn fails((): (), _cx: Context) -> Result {
    Err("out of paper".into())
}

async fn ignores_its_stop((): (), _cx: Context) -> Result {
    pending().await
}

async fn panics_in_stop((): (), cx: Context) -> Result {
    cx.shutdown().await;
    panic!("the odd child is odd");
}

async fn blocks((): (), _cx: Context) -> Result {
    // Those who come after it are to start: it blocks when they have.
    tokio::time::sleep(Duration::from_millis(100)).await;
    tracing::info!("blocking");
    block()
}

fn block<T>() -> T {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
