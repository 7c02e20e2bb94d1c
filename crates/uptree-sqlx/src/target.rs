//! The database that a URL names.

use std::{any::TypeId, fmt};

#[cfg(feature = "mysql")]
use crate::mysql::MySqlServer;
#[cfg(feature = "postgres")]
use crate::postgres::PgServer;
#[cfg(feature = "sqlite")]
use crate::sqlite::{Anchor, SqliteFile};
use crate::{ConnectError, WrongDatabase, split::Dialect};

/// Which database, and how to get there. Shown without the password.
///
/// One variant a database: the place that lists them.
#[derive(Clone)]
pub(crate) enum Target {
    #[cfg(feature = "postgres")]
    Postgres(PgServer),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteFile),
    #[cfg(feature = "mysql")]
    MySql(MySqlServer),
}

impl Target {
    /// Proves that the database answers, by one connection that is closed again.
    ///
    /// What is returned is to be kept for as long as the pool.
    pub(crate) async fn prove(&self) -> Result<Kept, ConnectError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => server.prove().await.map(|()| Kept::default()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(file) => file.prove().await.map(|anchor| Kept { anchor }),
            #[cfg(feature = "mysql")]
            Self::MySql(server) => server.prove().await.map(|()| Kept::default()),
        }
    }
}

/// Does the same with the database that a target is of, whichever it is: `with_database!(target,
/// |database| …)`, where `database` is a [`Migratable`](crate::session::Migratable).
macro_rules! with_database {
    ($target:expr, |$database:ident| $body:expr) => {
        match $target {
            #[cfg(feature = "postgres")]
            crate::target::Target::Postgres($database) => $body,
            #[cfg(feature = "sqlite")]
            crate::target::Target::Sqlite($database) => $body,
            #[cfg(feature = "mysql")]
            crate::target::Target::MySql($database) => $body,
        }
    };
}
pub(crate) use with_database;

impl Target {
    /// An error, if what migrates a database of this kind is a connection to another kind.
    pub(crate) fn differs_from(&self, migrate: &Self) -> Option<WrongDatabase> {
        (self.dialect() != migrate.dialect()).then(|| WrongDatabase {
            wanted: self.dialect().name(),
            target: migrate.to_string(),
            remedy: "let MIGRATE_URL be of the same kind as DATABASE_URL",
        })
    }

    /// Whether its connections are those of this type of database.
    pub(crate) fn is<Db: 'static>(&self) -> bool {
        let own = match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => TypeId::of::<sqlx::Postgres>(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => TypeId::of::<sqlx::Sqlite>(),
            #[cfg(feature = "mysql")]
            Self::MySql(_) => TypeId::of::<sqlx::MySql>(),
        };
        own == TypeId::of::<Db>()
    }

    /// The user that logs in, if the database has users.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "which databases there are depends on the features"
    )]
    pub(crate) fn user(&self) -> Option<String> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => Some(server.options().get_username().to_owned()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
            #[cfg(feature = "mysql")]
            Self::MySql(server) => Some(server.options().get_username().to_owned()),
        }
    }

    /// Whose SQL it takes.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Dialect::MySql,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => server.fmt(f),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(file) => file.fmt(f),
            #[cfg(feature = "mysql")]
            Self::MySql(server) => server.fmt(f),
        }
    }
}

/// What must live as long as the pool.
#[derive(Default)]
pub(crate) struct Kept {
    #[cfg(feature = "sqlite")]
    #[expect(dead_code, reason = "it is kept, not used")]
    anchor: Option<Anchor>,
}
