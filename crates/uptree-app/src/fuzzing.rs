//! What reads settings, for fuzzers. Not for use.

use std::ffi::OsString;

use clap::Args;

use crate::{
    ProcessSettings,
    cli::{self, Secrets},
};

/// What came of reading a command line.
#[derive(Debug)]
pub enum Said<S> {
    /// The settings, and what is wrong with those for which a default stands in.
    Settings(Box<(S, ProcessSettings)>, Vec<String>),
    /// It cannot be read.
    Failure(String),
    /// It asks for help.
    Help,
}

/// Reads a service's command line, its first word the program, and the environment.
pub fn read<S: Args>(words: Vec<OsString>) -> Said<S> {
    match cli::read::<S>(&[], words, Secrets::StoodInFor) {
        Ok(line) => {
            let bad = line.bad.iter().map(ToString::to_string).collect();
            Said::Settings(Box::new((line.own, line.process)), bad)
        }
        Err(exit) => exit
            .failure()
            .map_or(Said::Help, |failure| Said::Failure(failure.to_owned())),
    }
}
