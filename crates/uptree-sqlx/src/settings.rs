//! The settings of a database, by flag or by environment.

use std::{path::PathBuf, time::Duration};

use crate::{DatabaseUrl, ledger::Names, url::UrlParser};

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

    /// How its schema is brought up to date.
    #[command(flatten)]
    pub migrate: MigrateSettings,
}

/// How a [`Migrator`](crate::Migrator) works.
///
/// Part of the [`DatabaseSettings`].
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Migrations")]
#[non_exhaustive]
pub struct MigrateSettings {
    /// What the migrator does. Defaults to [`MigrateRole::Apply`].
    #[arg(
        id = "migrate-role",
        long = "migrate",
        env = "MIGRATE",
        value_name = "ROLE",
        default_value = "apply",
        help = "Whether to apply migrations, to wait until another has, or neither"
    )]
    pub role: MigrateRole,

    /// The connection that migrates: past a pooler, or with another login. Defaults to the
    /// database's own URL.
    #[arg(
        id = "migrate-url",
        long = "migrate-url",
        env = "MIGRATE_URL",
        value_name = "URL",
        hide_env_values = true,
        value_parser = UrlParser,
        help = "The connection that migrates: past a pooler, or with another login \
                [default: the database's]"
    )]
    pub url: Option<DatabaseUrl>,

    /// A folder of migrations that replaces those that the program was built with. Defaults to
    /// none.
    #[arg(
        id = "migrations-dir",
        long = "migrations-dir",
        env = "MIGRATIONS_DIR",
        value_name = "FOLDER",
        help = "A folder of migrations to use instead of those that the program was built with"
    )]
    pub dir: Option<PathBuf>,

    /// The ledger's table. Defaults to sqlx's, `_sqlx_migrations`.
    #[arg(
        id = "migrations-table",
        long = "migrations-table",
        env = "MIGRATIONS_TABLE",
        value_name = "NAME",
        value_parser = identifier,
        help = "The table that says which migrations are applied [default: sqlx's, _sqlx_migrations]"
    )]
    pub table: Option<String>,

    /// The schema of that table, on Postgres. Defaults to where the search path finds it.
    #[arg(
        id = "migrations-schema",
        long = "migrations-schema",
        env = "MIGRATIONS_SCHEMA",
        value_name = "NAME",
        value_parser = identifier,
        help = "The schema of that table, on Postgres [default: the search path's]"
    )]
    pub schema: Option<String>,

    /// How long a migration is tried while others hold a lock that it needs. Defaults to 10 min.
    #[arg(
        id = "lock-retry-budget",
        long = "lock-retry-budget",
        env = "LOCK_RETRY_BUDGET",
        value_name = "TIME",
        default_value = "10m",
        value_parser = uptree_app::settings::duration,
        help = "How long a migration is tried while others hold a lock that it needs"
    )]
    pub lock_retry_budget: Duration,

    /// Whether what those are executing who hold such a lock is shown, with the values in it: in the
    /// log, in errors, and in the progress that whoever may see the tree sees. Defaults to not.
    #[arg(
        id = "show-blocking-queries",
        long = "show-blocking-queries",
        env = "SHOW_BLOCKING_QUERIES",
        help = "Show what those are executing who hold a lock that a migration needs"
    )]
    pub show_blocking_queries: bool,
}

impl MigrateSettings {
    /// The names of the tables; `ledger` is what the program itself has for the first.
    pub(crate) fn names(&self, ledger: &str) -> Names {
        let ledger = self.table.as_deref().unwrap_or(ledger);
        Names::new(ledger, self.schema.as_deref())
    }
}

impl Default for MigrateSettings {
    fn default() -> Self {
        Self {
            role: MigrateRole::default(),
            url: None,
            dir: None,
            table: None,
            schema: None,
            lock_retry_budget: Duration::from_secs(600),
            show_blocking_queries: false,
        }
    }
}

/// What a [`Migrator`](crate::Migrator) does when it is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MigrateRole {
    /// It applies what is missing.
    #[default]
    Apply,
    /// It waits until another has applied all that this program knows, and never writes: it needs
    /// to read the ledger alone.
    Wait,
    /// Nothing.
    Off,
}

const DEFAULT_URL: &str = "sqlite://service.db?mode=rwc";
const DEFAULT_POOL_SIZE: u32 = 10;

impl DatabaseSettings {
    /// The defaults, but for the database.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            pool_size: DEFAULT_POOL_SIZE,
            migrate: MigrateSettings::default(),
        }
    }
}

/// A name that needs no quotes in any database's SQL.
fn identifier(name: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // The tables beside the ledger have longer names, and Postgres takes 63 bytes.
    let fits = begins && name.len() <= 40 && name.chars().all(plain);
    let name = fits.then(|| name.to_owned());
    name.ok_or("takes a name of letters, digits and `_`, 40 at most")
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

    #[test]
    fn a_table_s_name_is_plain() {
        for (name, taken) in [
            ("_sqlx_migrations", true),
            ("a1", true),
            ("", false),
            ("1a", false),
            ("a b", false),
            ("a;b", false),
            ("a.b", false),
            (&"a".repeat(41), false),
        ] {
            assert_eq!(identifier(name).is_ok(), taken, "{name}");
        }
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
