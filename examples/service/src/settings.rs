//! What the service takes, by flag or environment.

use uptree::prelude::*;

/// The service's settings; `--help` shows them.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// The endpoint's.
    #[command(flatten)]
    pub http: HttpSettings,

    /// The database's.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// How many accepted readings may wait to be written
    #[arg(long, env, value_name = "READINGS", default_value = "10000", value_parser = at_least_one)]
    #[arg(help_heading = "Ingestion")]
    pub queue_size: usize,
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or("takes a whole number of readings, from 1 up")
}
