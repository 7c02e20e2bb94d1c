//! The project's own commands. `cargo xtask --help` lists them.
//!
//! This is the one place that knows the tools; a file for each command.

mod bench;
mod budget;
mod ci;
mod migrate_folder;
mod needs;
mod otp;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's own commands"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test, after making sure of what the tests need
    ///
    /// Tests of databases start servers of their own from the installed programs. On Debian and
    /// Ubuntu, as root, what is missing is installed; elsewhere this says what to install and which
    /// tests are skipped without it.
    Test {
        /// Run only tests with one of these in their names, and no doc tests
        filters: Vec<String>,
    },
    /// Run what CI runs: formatting, lints, docs, dependencies, tests, the budget
    Ci,
    /// Build the examples from nothing, and hold their size, their crates and the build's cost to a
    /// budget
    Budget,
    /// Replay what Erlang/OTP did on our supervisors, or record more of it
    ///
    /// Prints where a scenario goes another way, and exits 1 if one does. `tests/otp/README.md` says
    /// what this is.
    Otp(otp::Args),
    /// Apply a folder of migrations with Uptree and with sqlx, and compare what came of it
    ///
    /// Each has a fresh database on the server, which is dropped again. Prints `N migrations, same`
    /// and exits 0, or prints what differs and exits 1; 2 if they cannot be compared.
    MigrateFolder(migrate_folder::Args),
    /// Measure: supervision against bare tokio and OTP, migrations against sqlx and refinery, the
    /// endpoint against bare axum and bare hyper
    // Its `--help` is theirs.
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed to the benchmarks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Otp(args) => return otp::run(&args),
        Command::Test { filters } => test::run(&filters),
        Command::Ci => ci::run(),
        Command::Budget => budget::run(),
        Command::MigrateFolder(args) => migrate_folder::run(&args),
        Command::Bench { args } => bench::run(&args),
    };
    if let Err(error) = result {
        step::failed(&error);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
