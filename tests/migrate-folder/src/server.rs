//! The server at the URL, whatever its kind.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};

use crate::{folder::Folder, mysql::MySql, postgres::Postgres, sqlite::Sqlite, state::State};

pub(crate) enum Server {
    Postgres(Postgres),
    MySql(MySql),
    Sqlite(Sqlite),
}

impl Server {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(match url.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => Self::Postgres(Postgres::connect(url).await?),
            "mysql" | "mariadb" => Self::MySql(MySql::connect(url).await?),
            "sqlite" => Self::Sqlite(Sqlite::within(url)?),
            _ => bail!("it takes postgres://…, mysql://… or sqlite://FOLDER"),
        })
    }

    /// Whether a migration that fails leaves nothing.
    pub(crate) fn rolls_back(&self) -> bool {
        !matches!(self, Self::MySql(_))
    }

    /// Creates an empty database, and says its URL.
    pub(crate) async fn create(&mut self) -> Result<String> {
        match self {
            Self::Postgres(server) => server.create().await,
            Self::MySql(server) => server.create().await,
            Self::Sqlite(folder) => folder.create(),
        }
    }

    pub(crate) async fn state(&mut self, url: &str, folder: &Folder) -> Result<State> {
        match self {
            Self::Postgres(server) => server.state(url, folder).await,
            Self::MySql(server) => server.state(url, folder).await,
            Self::Sqlite(folder) => folder.state(url).await,
        }
    }

    /// Removes the database and what its migrations have left on the server, if there is one.
    pub(crate) async fn remove(&mut self) -> Result<()> {
        match self {
            Self::Postgres(server) => server.remove().await,
            Self::MySql(server) => server.remove().await,
            Self::Sqlite(folder) => folder.remove(),
        }
    }
}

/// A name that nobody else has, the same for each database that we make.
pub(crate) fn database() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        format!("uptree_migrate_folder_{}_{now}", std::process::id())
    });
    &NAME
}
