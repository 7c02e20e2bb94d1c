//! The settings of a database, by flag or by environment.

use std::path::PathBuf;

use crate::{DatabaseUrl, url::UrlParser};

/// Which database, how many connections, and whose migrations.
///
/// To be flattened into a service's own settings.
///
/// # Examples
///
/// ```
/// use clap::Parser;
/// use uptree_sqlx::DatabaseSettings;
///
/// #[derive(clap::Parser)]
/// struct Settings {
///     #[command(flatten)]
///     database: DatabaseSettings,
/// }
///
/// let settings = Settings::parse_from(["shop", "--pool-size", "5"]);
/// assert_eq!(settings.database.pool_size, 5);
/// ```
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// Which database. Defaults to `sqlite://service.db?mode=rwc`.
    #[arg(
        id = "database-url",
        long = "database-url",
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = DEFAULT_URL,
        hide_env_values = true,
        value_parser = UrlParser,
        help = "Which database: postgres://user:password@host:port/database, \
                mysql://user:password@host:port/database or sqlite://file?mode=rwc"
    )]
    pub url: DatabaseUrl,

    /// How many connections the pool opens at most. Defaults to 10.
    #[arg(
        long,
        env,
        value_name = "N",
        default_value_t = DEFAULT_POOL_SIZE,
        value_parser = pool_size,
        help = "How many connections the pool opens at most"
    )]
    pub pool_size: u32,

    /// A folder of migrations that replaces those that the program was built with. Defaults to
    /// none.
    #[arg(
        long,
        env,
        value_name = "FOLDER",
        help = "A folder of migrations to use instead of those that the program was built with"
    )]
    pub migrations_dir: Option<PathBuf>,
}

const DEFAULT_URL: &str = "sqlite://service.db?mode=rwc";
const DEFAULT_POOL_SIZE: u32 = 10;

impl DatabaseSettings {
    /// The defaults, but for the database.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            pool_size: DEFAULT_POOL_SIZE,
            migrations_dir: None,
        }
    }
}

fn pool_size(text: &str) -> Result<u32, &'static str> {
    let size = text.parse().ok().filter(|size| *size > 0);
    size.ok_or("takes a number of connections, 1 or more")
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> Result<DatabaseSettings, clap::Error> {
        let command = DatabaseSettings::augment_args(Command::new("test"));
        let args = ["test"].iter().chain(args);
        DatabaseSettings::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    #[test]
    fn a_bad_url_is_told_with_what_is_taken_and_without_its_password() {
        let error = parse(&["--database-url", "oracle://app:hunter2@db/shop"]).unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            why.starts_with("unknown scheme `oracle`: it takes"),
            "{why}"
        );
        let error = error.to_string();
        assert!(error.contains("--database-url"), "{error}");
        assert!(error.contains("postgres://user:password@host"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_pool_has_one_connection_at_least() {
        let error = parse(&["--pool-size", "0"]).unwrap_err().to_string();
        assert!(error.contains("--pool-size"), "{error}");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn settings_are_shown_without_the_password() {
        let settings = parse(&["--database-url", "postgres://app:hunter2@db/shop"]).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("database shop"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
