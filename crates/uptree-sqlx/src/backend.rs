//! The databases that a pool can be of.

#![allow(
    unreachable_patterns,
    clippy::match_wildcard_for_single_variants,
    reason = "which others there are depends on the features"
)]

use futures_util::future::BoxFuture;
use sqlx::{Any, AssertSqlSafe, Connection, Database, Row, any::AnyConnectOptions, raw_sql};

use crate::{DatabaseUrl, WrongDatabase, target::Target};

/// A database that a [`Repo`](crate::Repo) can be of: [`sqlx::Any`], [`sqlx::Postgres`],
/// [`sqlx::Sqlite`], `sqlx::MySql`.
///
/// It cannot be implemented elsewhere.
pub trait Backend: sealed::Sealed {}

impl<Db: sealed::Sealed> Backend for Db {}

/// A database whose own connections a migration in Rust can have: [`sqlx::Postgres`],
/// [`sqlx::Sqlite`], `sqlx::MySql`.
///
/// It cannot be implemented elsewhere.
pub trait Native: Backend + sealed::Native {}

impl<Db: Backend + sealed::Native> Native for Db {}

/// How the connections of a pool are made.
pub(crate) type OptionsOf<Db> = <<Db as Database>::Connection as Connection>::Options;

mod sealed {
    use super::{BoxFuture, Database, DatabaseUrl, OptionsOf, WrongDatabase};

    pub trait Native {}

    pub trait Sealed: Database {
        /// How this kind of pool connects to what the URL names.
        fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase>;

        /// Answers a query of one text, unprepared; `None` if it has no row.
        fn text(
            connection: &mut Self::Connection,
            sql: String,
        ) -> BoxFuture<'_, Result<Option<String>, sqlx::Error>>;

        /// Has a connection forget the statements that it has prepared. Returns whether it can.
        fn forget(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>>;
    }
}

// What is the same for each database, and cannot be written for all at once.

macro_rules! text {
    () => {
        fn text(
            connection: &mut Self::Connection,
            sql: String,
        ) -> BoxFuture<'_, Result<Option<String>, sqlx::Error>> {
            Box::pin(async move {
                let sql = raw_sql(AssertSqlSafe(sql));
                let row = sql.fetch_optional(connection).await?;
                row.map(|row| row.try_get(0)).transpose()
            })
        }
    };
}

macro_rules! forget {
    () => {
        fn forget(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
            Box::pin(async { connection.clear_cached_statements().await.map(|()| true) })
        }
    };
}

#[cfg(feature = "postgres")]
impl sealed::Native for sqlx::Postgres {}

#[cfg(feature = "sqlite")]
impl sealed::Native for sqlx::Sqlite {}

#[cfg(feature = "mysql")]
impl sealed::Native for sqlx::MySql {}

impl sealed::Sealed for Any {
    fn options(url: &DatabaseUrl) -> Result<AnyConnectOptions, WrongDatabase> {
        sqlx::any::install_default_drivers();
        #[cfg(feature = "mysql")]
        if let Target::MySql(server) = &url.target
            && server.is_by_ipv6()
        {
            // sqlx has the address in the URL alone, and looks it up with its brackets.
            return Err(WrongDatabase {
                wanted: "sqlx::Any",
                target: server.to_string(),
                remedy: "name the host in DATABASE_URL in place of its address, or use \
                         `Repo::<MySql>::typed`",
            });
        }
        Ok(url.any.clone())
    }

    text!();

    fn forget(_: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        // sqlx says that it has, and does not.
        Box::pin(async { Ok(false) })
    }
}

#[cfg(feature = "postgres")]
impl sealed::Sealed for sqlx::Postgres {
    fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase> {
        match &url.target {
            Target::Postgres(server) => Ok(server.options().clone()),
            other => Err(wrong_database("Postgres", other)),
        }
    }

    text!();
    forget!();
}

#[cfg(feature = "sqlite")]
impl sealed::Sealed for sqlx::Sqlite {
    fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase> {
        match &url.target {
            Target::Sqlite(file) => Ok(file.options().clone()),
            other => Err(wrong_database("SQLite", other)),
        }
    }

    text!();
    forget!();
}

#[cfg(feature = "mysql")]
impl sealed::Sealed for sqlx::MySql {
    fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase> {
        match &url.target {
            Target::MySql(server) => Ok(server.options().clone()),
            other => Err(wrong_database("MySQL", other)),
        }
    }

    text!();
    forget!();
}

#[allow(dead_code, reason = "there may be one database alone")]
fn wrong_database(wanted: &'static str, target: &Target) -> WrongDatabase {
    WrongDatabase {
        wanted,
        target: target.to_string(),
        remedy: "change DATABASE_URL, or use `Repo::new`, which goes by the URL",
    }
}
