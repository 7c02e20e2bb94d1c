//! What can go wrong, each said once.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use sqlx::error::DatabaseError;
use uptree_app::{BoxError, help};

use crate::{
    classify::{is_crowded, is_denied, is_read_only},
    files::{File, FileError},
    place::Place,
    session::Failure,
};

/// What a database or its driver said: the message with its code, and the DETAIL, HINT and CONTEXT
/// that came with it.
///
/// [`sqlx::Error`] repeats its cause in its own message, and calls a line of the server's source
/// code "line": in a chain of errors it would say everything twice, and that wrongly.
pub struct DriverError(Box<sqlx::Error>);

impl DriverError {
    /// The error as sqlx has it.
    pub fn as_sqlx(&self) -> &sqlx::Error {
        &self.0
    }
}

impl From<sqlx::Error> for DriverError {
    fn from(error: sqlx::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            sqlx::Error::Database(error) => fmt_database(&**error, f),
            sqlx::Error::Io(error) => error.fmt(f),
            sqlx::Error::Configuration(error)
            | sqlx::Error::Tls(error)
            | sqlx::Error::Encode(error)
            | sqlx::Error::Decode(error)
            | sqlx::Error::AnyDriverError(error) => error.fmt(f),
            error => error.fmt(f),
        }
    }
}

impl Error for DriverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            // Each of these is shown in place of sqlx's wrapper: what comes next is its own cause.
            sqlx::Error::Io(error) => error.source(),
            sqlx::Error::Configuration(error)
            | sqlx::Error::Tls(error)
            | sqlx::Error::Encode(error)
            | sqlx::Error::Decode(error)
            | sqlx::Error::AnyDriverError(error) => error.source(),
            _ => None,
        }
    }
}

fn fmt_database(error: &dyn DatabaseError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        write!(f, "{} (SQLSTATE {})", error.message(), error.code())?;
        let more = [
            ("DETAIL", error.detail()),
            ("HINT", error.hint()),
            ("CONTEXT", error.r#where()),
        ];
        for (name, text) in more {
            if let Some(text) = text {
                write!(f, "; {name}: {text}")?;
            }
        }
        return Ok(());
    }
    f.write_str(error.message())?;
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        write!(f, " (error {}", error.number())?;
        return match error.code() {
            Some(state) => write!(f, ", SQLSTATE {state})"),
            None => f.write_str(")"),
        };
    }
    match error.code() {
        Some(code) => write!(f, " (SQLite code {code})"),
        None => Ok(()),
    }
}

/// Why there is no connection to the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It cannot be reached or does not take connections now: refused, starting up, too many
    /// connections, a lost connection, a locked file. Tried again until the start timeout.
    #[error("{what}")]
    Unavailable {
        /// What was attempted: "cannot connect to Postgres at …", never with the password.
        what: String,
        /// What the database or the system said.
        source: DriverError,
        /// What to do about it.
        remedy: &'static str,
    },
    /// It did not answer in time. Tried again until the start timeout.
    #[error("{what}: no answer within {limit:?}")]
    TimedOut {
        /// What was attempted.
        what: String,
        /// How long an attempt may take.
        limit: Duration,
    },
    /// It will not be otherwise at the next attempt: a wrong password, an unknown database, a file
    /// that is not a database.
    #[error("{what}")]
    Rejected {
        /// What was attempted.
        what: String,
        /// What the database or the system said.
        source: DriverError,
        /// What to do about it.
        remedy: Option<String>,
    },
    /// The start was called off. It is not what a child fails with: it then ends as it was asked.
    #[error("the start was called off")]
    Cancelled,
}

impl ConnectError {
    /// Whether a later attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. })
    }

    /// Whether the server has no room for one more connection.
    pub(crate) fn is_crowded(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => is_crowded(source.as_sqlx()),
            _ => false,
        }
    }

    /// The error with what to do about it, where something can be.
    pub(crate) fn with_help(self) -> BoxError {
        let remedy = match &self {
            Self::Unavailable { remedy, .. } => Some((*remedy).to_owned()),
            Self::TimedOut { .. } => Some(IS_IT_UP.to_owned()),
            Self::Rejected { remedy, .. } => remedy.clone(),
            Self::Cancelled => None,
        };
        helped(self, remedy)
    }
}

/// What to do if nobody answers.
pub(crate) const IS_IT_UP: &str =
    "see that the database is up, and that the address in DATABASE_URL is right";

/// What to do if a file is locked.
#[cfg(feature = "sqlite")]
pub(crate) const WHO_HAS_IT: &str =
    "another program keeps it locked: see who has a transaction open";

/// The URL is of another database than the one that a [`Repo`](crate::Repo)'s type names.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a pool of {wanted} cannot connect to {target}")]
pub struct WrongDatabase {
    pub(crate) wanted: &'static str,
    pub(crate) target: String,
    pub(crate) remedy: &'static str,
}

impl WrongDatabase {
    pub(crate) fn with_help(self) -> BoxError {
        let remedy = self.remedy;
        help(self, remedy)
    }
}

/// Why the schema is not as this program needs it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The folder of migrations, or a file in it, cannot be read.
    #[error("cannot read the migrations in {}", path.display())]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is named as a migration, but for its version.
    #[error("{}: a migration's name begins with its version, a number, as in 0001_readings.sql", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// Two files have one version.
    #[error("{first} and {second} have the same version")]
    Duplicate {
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A file is not what it was when it was applied.
    #[error("{file} has been changed since it was applied")]
    Changed {
        /// The file.
        file: String,
    },
    /// The ledger has a migration that was begun and not finished.
    #[error("migration {version} ({description}) was begun, and did not finish")]
    Dirty {
        /// Its version.
        version: i64,
        /// What its file's name says.
        description: String,
        /// The ledger's table.
        ledger: String,
    },
    /// A file that was begun is not what it was, where it is done already.
    #[error("{file} has been changed in its first {done} statements, which are done")]
    ChangedSteps {
        /// The file.
        file: String,
        /// How many of its statements are done.
        done: usize,
    },
    /// A process has died while it ran a statement of which nobody can say whether it was done.
    #[error("{file}{}: a process died at statement {statement}, and it cannot be seen whether it was done", at(place.as_ref()))]
    InDoubt {
        /// The file.
        file: String,
        /// Its version.
        version: i64,
        /// The statement, counted from 1.
        statement: usize,
        /// Where it is.
        place: Option<Place>,
    },
    /// A row of the ledger says that this program is too old for the schema.
    #[error(
        "migration {version} ({description}) requires a program that knows migration {requires}; this one knows {known}"
    )]
    TooOld {
        /// The version of the row that says so.
        version: i64,
        /// What its file's name says.
        description: String,
        /// What a program must know.
        requires: i64,
        /// The newest that this one knows.
        known: i64,
    },
    /// This program may not apply what is missing, and nobody else has.
    #[error("the schema lacks {first}{}, and this program only waits (MIGRATE=wait)", and_more(*more))]
    Missing {
        /// The first file that is missing.
        first: String,
        /// How many more there are.
        more: usize,
    },
    /// Others held a lock that a statement needs for all the time that it may take.
    #[error("migration {file} did not get its locks{} in {attempts} attempts within {budget:?}{}", at(place.as_ref()), blocked_by(blockers))]
    Locked {
        /// The file.
        file: String,
        /// Where in it.
        place: Option<Place>,
        /// How long it was tried.
        budget: Duration,
        /// How often.
        attempts: u32,
        /// Who held it at the last attempt, if that could be seen.
        blockers: Vec<String>,
        /// What the database said.
        source: DriverError,
    },
    /// A file must run outside a transaction, and the connection goes through a pooler that lends
    /// it for a transaction only.
    #[error(
        "{file} runs outside a transaction, which cannot be locked through a transaction pooler"
    )]
    Pooled {
        /// The file.
        file: String,
    },
    /// A migration that is written in Rust has failed. Those before it stay applied.
    #[error("migration {file} failed")]
    Code {
        /// Its name.
        file: String,
        /// What it failed with.
        source: BoxError,
    },
    /// A file cannot be run as a migration.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The ledger cannot be read.
    #[error("cannot read the ledger of migrations, {ledger}")]
    Ledger {
        /// Its table.
        ledger: String,
        /// What the database said.
        source: DriverError,
    },
    /// A migration failed. Those before it stay applied.
    #[error("migration {file} failed{}", at(place.as_ref()))]
    Failed {
        /// The file.
        file: String,
        /// Where in it.
        place: Option<Place>,
        /// What the database said.
        source: DriverError,
    },
    /// The lock that only one migrator has cannot be tried for.
    #[error("cannot lock the database for a migration")]
    Lock {
        /// What the database said.
        source: DriverError,
    },
    /// The ledger does not take a migration's row. If the file is in a transaction, it is rolled
    /// back.
    #[error("cannot enter migration {file} in the ledger")]
    Entry {
        /// The file.
        file: String,
        /// What the database said.
        source: DriverError,
    },
    /// The start was called off. It is not what a child fails with: it then ends as it was asked.
    #[error("the start was called off")]
    Cancelled,
}

impl MigrateError {
    /// The database's error, if it is one.
    pub(crate) fn as_sqlx(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Ledger { source, .. }
            | Self::Lock { source }
            | Self::Failed { source, .. }
            | Self::Locked { source, .. }
            | Self::Entry { source, .. } => Some(source.as_sqlx()),
            _ => None,
        }
    }

    /// The database's errors that are behind it: of a migration in Rust any that is among its
    /// causes.
    pub(crate) fn has_sqlx(&self, test: impl Fn(&sqlx::Error) -> bool) -> bool {
        if let Self::Code { source, .. } = self {
            let mut cause: Option<&(dyn Error + 'static)> = Some(&**source);
            while let Some(error) = cause {
                if error.downcast_ref().is_some_and(&test) {
                    return true;
                }
                cause = error.source();
            }
        }
        self.as_sqlx().is_some_and(test)
    }

    /// The error with what to do about it, where something can be.
    pub(crate) fn with_help(self) -> BoxError {
        let remedy = match &self {
            Self::Connect(_) | Self::Cancelled | Self::FileName { .. } => None,
            Self::Folder { .. } => {
                Some("see that MIGRATIONS_DIR names a folder that can be read".to_owned())
            }
            Self::File(error) => Some(error.remedy()),
            Self::Duplicate { .. } => Some("give one of them another version".to_owned()),
            Self::Changed { file } => Some(format!(
                "put {file} back as it was, and make the change in a new migration"
            )),
            Self::Dirty {
                version, ledger, ..
            } => Some(format!(
                "sqlx has left its row in {ledger} so; look at what of it was done, finish or undo \
                 it by hand, and say so: `migrate resolve {version} --applied` or \
                 `migrate resolve {version} --rolled-back`"
            )),
            Self::ChangedSteps { file, done } => Some(format!(
                "put the first {done} statements of {file} back as they were: only what comes after \
                 them may be changed"
            )),
            Self::InDoubt { version, .. } => Some(format!(
                "look whether it was done, and say so: `migrate resolve {version} --done` or \
                 `migrate resolve {version} --not-done`"
            )),
            Self::TooOld { .. } => {
                Some("deploy a newer release: the schema has been changed for it".to_owned())
            }
            Self::Missing { .. } => Some(
                "run `migrate up` with a role that owns the schema, as a job before this rollout"
                    .to_owned(),
            ),
            Self::Locked { .. } => {
                Some("end the transactions that hold it, or raise LOCK_RETRY_BUDGET".to_owned())
            }
            Self::Pooled { .. } => {
                Some("set MIGRATE_URL to the server itself, past the pooler".to_owned())
            }
            Self::Code { .. } => None,
            Self::Ledger { ledger, source } if is_denied(source.as_sqlx()) => Some(format!(
                "let this role SELECT from {ledger} and the tables beside it: `migrate grants` \
                 prints what it needs"
            )),
            Self::Ledger { .. } | Self::Lock { .. } | Self::Failed { .. } | Self::Entry { .. } => {
                self.as_sqlx().and_then(remedy_for).map(str::to_owned)
            }
        };
        match self {
            Self::Connect(error) => error.with_help(),
            error => helped(error, remedy),
        }
    }
}

/// What became of a file, as an error.
pub(crate) fn failed(file: &File, failure: Failure) -> MigrateError {
    let file = file.to_string();
    match failure {
        Failure::File(place, error) | Failure::Alone(place, error) => MigrateError::Failed {
            file,
            place,
            source: error.into(),
        },
        Failure::Code(source) => MigrateError::Code { file, source },
        Failure::Ledger(error) => MigrateError::Entry {
            file,
            source: error.into(),
        },
        Failure::Locked {
            place,
            error,
            blockers,
        } => MigrateError::Locked {
            file,
            place,
            budget: Duration::ZERO,
            attempts: 1,
            blockers,
            source: error.into(),
        },
        Failure::Elsewhere => unreachable!("it is not the file's failure"),
    }
}

fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

fn blocked_by(blockers: &[String]) -> String {
    match blockers {
        [] => String::new(),
        blockers => format!("; blocked by {}", blockers.join(" and ")),
    }
}

fn at(place: Option<&Place>) -> String {
    place
        .map(|place| format!(" at {place}"))
        .unwrap_or_default()
}

fn remedy_for(error: &sqlx::Error) -> Option<&'static str> {
    #[cfg(feature = "sqlite")]
    if crate::classify::is_busy(error) {
        return Some(WHO_HAS_IT);
    }
    if is_read_only(error) {
        return Some(
            "it takes no writes: DATABASE_URL must name the primary, or a file that this user may \
             write to and that is not opened with ?mode=ro",
        );
    }
    match &*error.as_database_error()?.code()? {
        "13" => Some("make room on the disk that has the file, or raise PRAGMA max_page_count"),
        "42501" => Some("let the role of DATABASE_URL create and change tables in its schema"),
        "25001" => Some(
            "a statement that cannot run in a transaction needs a file of its own that begins with \
             `-- no-transaction`",
        ),
        _ => None,
    }
}

fn helped(error: impl Into<BoxError>, remedy: Option<String>) -> BoxError {
    match remedy {
        Some(remedy) => help(error, remedy),
        None => error.into(),
    }
}

/// An error with its causes, in one line, for the log.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
