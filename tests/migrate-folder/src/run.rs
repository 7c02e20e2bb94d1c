//! One tool, one database.

use std::{error::Error, fmt};

use anyhow::{Context, Result};
use sqlx::{
    Connection, MySqlConnection, PgConnection, SqliteConnection,
    error::DatabaseError,
    migrate::{MigrateError, Migrator as Embedded},
};
use uptree_app::{Child, StopCause, Supervisor, chain};
use uptree_sqlx::{DatabaseSettings, DriverError, Migrator, Repo};

use crate::{
    folder::{self, Folder},
    state::State,
};

#[derive(Clone, Copy)]
pub(crate) enum Tool {
    Sqlx,
    Uptree,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlx => "sqlx",
            Self::Uptree => "Uptree",
        })
    }
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Outcome {
    Applied,
    /// It said so before it touched the database.
    Refused(Failure),
    Failed(Failure),
}

#[derive(Debug)]
pub(crate) struct Failure {
    /// All that was said.
    pub(crate) text: String,
    /// What the database said, without its details, if it is known apart.
    pub(crate) message: Option<String>,
    /// Its code for that.
    pub(crate) code: Option<String>,
    /// The file's version, if it is known.
    pub(crate) version: Option<i64>,
}

impl Outcome {
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Applied => None,
            Self::Refused(failure) | Self::Failed(failure) => Some(failure),
        }
    }

    /// Learns from what is there: the file of a failure that does not say it is the one after those
    /// that are applied; if there is no ledger, and
    /// the database has said nothing, nothing was begun.
    pub(crate) fn place(self, folder: &Folder, state: &State) -> Self {
        let Self::Failed(mut failure) = self else {
            return self;
        };
        let mut applied = state.applied.clone();
        // Two files may have one version.
        let next = folder.files.iter().find(|file| {
            let at = applied.iter().position(|version| *version == file.version);
            at.map(|at| applied.swap_remove(at)).is_none()
        });
        failure.version = failure.version.or(next.map(|file| file.version));
        match state.has_ledger || failure.message.is_some() {
            true => Self::Failed(failure),
            false => Self::Refused(failure),
        }
    }
}

impl Tool {
    /// Migrates the database, which is empty. An error is one of the comparison, not the tool's.
    pub(crate) async fn run(self, folder: &Folder, url: &str) -> Result<Outcome> {
        match self {
            Self::Sqlx => by_sqlx(folder, url).await,
            Self::Uptree => by_uptree(folder, url).await,
        }
    }
}

async fn by_sqlx(folder: &Folder, url: &str) -> Result<Outcome> {
    let migrator = match &folder.sqlx {
        Ok(migrator) => migrator,
        Err(text) => {
            return Ok(Outcome::Refused(Failure {
                text: text.clone(),
                message: None,
                code: None,
                version: None,
            }));
        }
    };
    let connected = "sqlx cannot connect";
    // The connection's type is a part of `run`'s.
    macro_rules! run {
        ($connection:ty) => {{
            let mut connection = <$connection>::connect(url).await.context(connected)?;
            let migrated = migrator.run(&mut connection).await;
            connection.close().await.ok();
            migrated
        }};
    }
    let migrated = match url.split(':').next() {
        Some("mysql" | "mariadb") => run!(MySqlConnection),
        Some("sqlite") => run!(SqliteConnection),
        _ => run!(PgConnection),
    };
    Ok(match migrated {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::Failed(failure(&error)),
    })
}

fn failure(error: &MigrateError) -> Failure {
    let (cause, version) = match error {
        MigrateError::ExecuteMigration(error, version) => (Some(error), Some(*version)),
        MigrateError::Execute(error) => (Some(error), None),
        _ => (None, None),
    };
    let database = cause.and_then(|error| error.as_database_error());
    Failure {
        text: folder::chain(error),
        message: database.map(|error| error.message().to_owned()),
        code: database.and_then(DatabaseError::code).map(Into::into),
        version,
    }
}

/// By a tree with the migrator alone.
async fn by_uptree(folder: &Folder, url: &str) -> Result<Outcome> {
    let url = url.parse().context("Uptree does not take the URL")?;
    let repo: Repo = Repo::new(&DatabaseSettings::new(url));
    let migrator = Migrator::new(&repo, Embedded::with_migrations(Vec::new()));
    let migrator = migrator.folder(&folder.path);
    let faults: Vec<_> = migrator.check().iter().map(|it| chain(&**it)).collect();
    if !faults.is_empty() {
        return Ok(Outcome::Refused(named(folder, faults.join("\n"))));
    }
    Ok(match Supervisor::new("app").child(migrator).start().await {
        Ok(mut tree) => {
            tree.stop(StopCause::Shutdown);
            _ = tree.wait().await;
            Outcome::Applied
        }
        Err(error) => {
            let mut failure = named(folder, chain(&*error));
            if let Some(said) = said(&*error) {
                failure.message = Some(said.message().to_owned());
                failure.code = said.code().map(Into::into);
            }
            Outcome::Failed(failure)
        }
    })
}

/// What the database said, if it did.
fn said<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn DatabaseError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<DriverError>() {
            return error.as_sqlx().as_database_error();
        }
        cause = error.source();
    }
    None
}

/// With the file that the text names: the one named first.
fn named(folder: &Folder, text: String) -> Failure {
    let places = folder.files.iter().filter_map(|file| {
        let at = text.find(&file.name)?;
        Some((at, file.version))
    });
    let version = places.min().map(|(_, version)| version);
    Failure {
        text,
        message: None,
        code: None,
        version,
    }
}
