//! The database that a URL names.

use std::fmt;

use crate::ConnectError;
#[cfg(feature = "mysql")]
use crate::mysql::MySqlServer;
#[cfg(feature = "postgres")]
use crate::postgres::PgServer;
#[cfg(feature = "sqlite")]
use crate::sqlite::{Anchor, SqliteFile};

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
