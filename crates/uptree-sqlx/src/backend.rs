//! The databases that a pool can be of.

use sqlx::{Any, Connection, Database, any::AnyConnectOptions};

use crate::{DatabaseUrl, WrongDatabase, target::Target};

/// A database that a [`Repo`](crate::Repo) can be of: [`sqlx::Any`], [`sqlx::Postgres`],
/// [`sqlx::Sqlite`].
///
/// It cannot be implemented elsewhere.
pub trait Backend: sealed::Sealed {}

impl<Db: sealed::Sealed> Backend for Db {}

/// A database whose own connections a migration in Rust can have: [`sqlx::Postgres`],
/// [`sqlx::Sqlite`].
///
/// It cannot be implemented elsewhere.
pub trait Native: Backend + sealed::Native {}

impl<Db: Backend + sealed::Native> Native for Db {}

/// How the connections of a pool are made.
pub(crate) type OptionsOf<Db> = <<Db as Database>::Connection as Connection>::Options;

mod sealed {
    use super::{Database, DatabaseUrl, OptionsOf, WrongDatabase};

    pub trait Native {}

    pub trait Sealed: Database {
        /// How this kind of pool connects to what the URL names.
        fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase>;
    }
}

#[cfg(feature = "postgres")]
impl sealed::Native for sqlx::Postgres {}

#[cfg(feature = "sqlite")]
impl sealed::Native for sqlx::Sqlite {}

impl sealed::Sealed for Any {
    fn options(url: &DatabaseUrl) -> Result<AnyConnectOptions, WrongDatabase> {
        sqlx::any::install_default_drivers();
        Ok(url.any.clone())
    }
}

#[cfg(feature = "postgres")]
impl sealed::Sealed for sqlx::Postgres {
    fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase> {
        match &url.target {
            Target::Postgres(server) => Ok(server.options().clone()),
            #[cfg(feature = "sqlite")]
            other @ Target::Sqlite(_) => Err(wrong_database("Postgres", other)),
        }
    }
}

#[cfg(feature = "sqlite")]
impl sealed::Sealed for sqlx::Sqlite {
    fn options(url: &DatabaseUrl) -> Result<OptionsOf<Self>, WrongDatabase> {
        match &url.target {
            Target::Sqlite(file) => Ok(file.options().clone()),
            #[cfg(feature = "postgres")]
            other @ Target::Postgres(_) => Err(wrong_database("SQLite", other)),
        }
    }
}

#[cfg(all(feature = "postgres", feature = "sqlite"))]
fn wrong_database(wanted: &'static str, target: &Target) -> WrongDatabase {
    let target = target.to_string();
    WrongDatabase { wanted, target }
}
