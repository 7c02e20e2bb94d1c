//! The URL of a database, which is never shown with its password.

use std::{ffi::OsStr, fmt, str::FromStr};

use clap::{Arg, Command, builder::TypedValueParser};

use sqlx::any::AnyConnectOptions;

use crate::{error::DriverError, target::Target};

/// The URL of a database: `postgres://…`, `sqlite://…`, `mysql://…` or `mariadb://…`.
///
/// It has been parsed, so that it can only be right, and is shown without its password, by
/// [`Display`](fmt::Display) and by [`Debug`].
///
/// # Examples
///
/// ```
/// use uptree_sqlx::DatabaseUrl;
///
/// let url: DatabaseUrl = "postgres://app:secret@db.example:5433/shop".parse()?;
/// assert_eq!(url.to_string(), "Postgres at db.example:5433, database shop, user app");
///
/// let error = "oracle://app:secret@db.example/shop".parse::<DatabaseUrl>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown scheme `oracle`: it takes postgres://user:password@host:port/database, \
///      mysql://user:password@host:port/database or sqlite://file?mode=rwc",
/// );
/// # Ok::<_, uptree_sqlx::UrlError>(())
/// ```
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(crate) target: Target,
    /// How [`sqlx::Any`] gets to the same database.
    pub(crate) any: AnyConnectOptions,
    /// Parameters that mean nothing here: a program's log begins only after its settings are read.
    pub(crate) ignored: Vec<String>,
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        match scheme(url).ok_or(UrlError::NoScheme)? {
            "postgres" | "postgresql" => parse_postgres(url),
            "sqlite" => parse_sqlite(url),
            "mysql" | "mariadb" => parse_mysql(url),
            scheme => Err(UrlError::Scheme(scheme.to_owned())),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Why a text is not a [`DatabaseUrl`]. None of the messages has the text in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with a scheme.
    #[error("it has no scheme: it takes {TAKEN}")]
    NoScheme,
    /// The scheme is of no database that is supported.
    #[error("unknown scheme `{0}`: it takes {TAKEN}")]
    Scheme(String),
    /// The database was left out when the program was built.
    #[error("this program was built without `{0}`, a feature of uptree-sqlx")]
    NotBuiltIn(&'static str),
    /// It names no file.
    #[error("it names no file: it takes sqlite://file?mode=rwc, or sqlite::memory:")]
    NoFile,
    /// It names no database of the server.
    #[error("it names no database: it takes mysql://user:password@host:port/database")]
    NoDatabase,
    /// It cannot be parsed.
    #[error("{0}")]
    Invalid(DriverError),
}

const TAKEN: &str = "postgres://user:password@host:port/database, \
                     mysql://user:password@host:port/database or sqlite://file?mode=rwc";

impl From<sqlx::Error> for UrlError {
    fn from(error: sqlx::Error) -> Self {
        Self::Invalid(error.into())
    }
}

#[cfg(feature = "postgres")]
fn parse_postgres(url: &str) -> Result<DatabaseUrl, UrlError> {
    crate::postgres::PgServer::parse(url)
}

#[cfg(not(feature = "postgres"))]
fn parse_postgres(_url: &str) -> Result<DatabaseUrl, UrlError> {
    Err(UrlError::NotBuiltIn("postgres"))
}

#[cfg(feature = "sqlite")]
fn parse_sqlite(url: &str) -> Result<DatabaseUrl, UrlError> {
    crate::sqlite::SqliteFile::parse(url)
}

#[cfg(not(feature = "sqlite"))]
fn parse_sqlite(_url: &str) -> Result<DatabaseUrl, UrlError> {
    Err(UrlError::NotBuiltIn("sqlite"))
}

#[cfg(feature = "mysql")]
fn parse_mysql(url: &str) -> Result<DatabaseUrl, UrlError> {
    crate::mysql::MySqlServer::parse(url)
}

#[cfg(not(feature = "mysql"))]
fn parse_mysql(_url: &str) -> Result<DatabaseUrl, UrlError> {
    Err(UrlError::NotBuiltIn("mysql"))
}

/// What stands before the first colon, if it can be a scheme: what cannot be might be a secret.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain))
        .then_some(scheme)
}

/// clap shows a bad value in its message: it is given another one to show.
#[derive(Clone)]
pub(crate) struct UrlParser;

impl TypedValueParser for UrlParser {
    type Value = DatabaseUrl;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<DatabaseUrl, clap::Error> {
        let value = value.to_string_lossy().into_owned();
        let parser = move |_: &str| value.parse::<DatabaseUrl>();
        parser.parse_ref(command, arg, OsStr::new("…"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "postgres")]
    #[test]
    fn a_postgres_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            (
                "postgres://app:hunter2@db:5433/shop",
                "Postgres at db:5433, database shop, user app",
            ),
            (
                "postgresql://app:hunter2@db/shop?sslmode=disable",
                "Postgres at db:5432, database shop, user app",
            ),
            (
                "postgres://app@db/shop?password=hunter2&sslkey=hunter2",
                "Postgres at db:5432, database shop, user app",
            ),
            (
                "postgres://db/shop?user=app&pasword=hunter2",
                "Postgres at db:5432, database shop, user app",
            ),
            (
                "postgres://app:hunter%32@db",
                "Postgres at db:5432, database app, user app",
            ),
            (
                "postgres://app:hunter2@[::1]:5433/shop",
                "Postgres at [::1]:5433, database shop, user app",
            ),
            (
                "postgres://app:hunter2@%2Frun%2Fpg/shop",
                "Postgres at /run/pg/.s.PGSQL.5432, database shop, user app",
            ),
        ] {
            let url: DatabaseUrl = url.parse().expect(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_sqlite_url_is_shown_by_its_file() {
        for (url, shown) in [
            ("sqlite://service.db?mode=rwc", "SQLite file service.db"),
            ("sqlite:service.db", "SQLite file service.db"),
            ("sqlite:///var/lib/a%20b.db", "SQLite file /var/lib/a b.db"),
            ("sqlite://data/../x.db", "SQLite file data/../x.db"),
            ("sqlite::memory:", "SQLite in memory"),
            ("sqlite://?mode=memory", "SQLite in memory"),
        ] {
            let url: DatabaseUrl = url.parse().expect(url);
            assert_eq!(url.to_string(), shown);
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_mysql_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            (
                "mysql://app:hunter2@db:3307/shop",
                "MySQL at db:3307, database shop, user app",
            ),
            (
                "mariadb://app:hunter%32@db/shop?ssl-mode=DISABLED&sslkey=hunter2",
                "MariaDB at db:3306, database shop, user app",
            ),
            (
                "mysql://app:hunter2@[::1]/sh%6Fp?pasword=hunter2",
                "MySQL at [::1]:3306, database shop, user app",
            ),
            (
                "mysql://app:hunter2@localhost/shop?socket=/run/my.sock",
                "MySQL at /run/my.sock, database shop, user app",
            ),
        ] {
            let url: DatabaseUrl = url.parse().expect(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_mysql_url_names_a_database_and_parameters_that_sqlx_knows() {
        for url in ["mysql://app:hunter2@db", "mariadb://app:hunter2@db/"] {
            let error = url.parse::<DatabaseUrl>().unwrap_err();
            assert!(matches!(error, UrlError::NoDatabase), "{error}");
        }
        let url = "mysql://db/shop?useSSL=false&charset=utf8mb4&password=hunter2";
        let url: DatabaseUrl = url.parse().unwrap();
        assert_eq!(url.ignored, ["useSSL", "password"]);
        assert_eq!(url.any.database_url.query(), Some("charset=utf8mb4"));
        let error = "mysql://app:hunter2@db/shop?ssl-mode=maybe".parse::<DatabaseUrl>();
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("maybe") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[cfg(not(feature = "mysql"))]
    #[test]
    fn a_database_that_was_left_out_is_named_by_its_feature() {
        let error = "mariadb://app:hunter2@db/shop"
            .parse::<DatabaseUrl>()
            .unwrap_err();
        assert!(matches!(error, UrlError::NotBuiltIn("mysql")), "{error}");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for (url, message) in [
            ("", "it has no scheme"),
            ("hunter2", "it has no scheme"),
            ("hunter2 is not: a scheme", "it has no scheme"),
            ("oracle://app:hunter2@db/shop", "unknown scheme `oracle`"),
            ("postgres://app:hunter2@db:port/shop", "invalid port number"),
            ("sqlite://", "it names no file"),
            ("sqlite://x.db?mode=hunter", "unknown value"),
            ("sqlite://x.db?key=hunter2", "unknown query parameter `key`"),
        ] {
            let error = url.parse::<DatabaseUrl>().expect_err(url).to_string();
            assert!(error.contains(message), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
