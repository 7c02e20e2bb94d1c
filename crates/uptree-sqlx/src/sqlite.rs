//! SQLite: which file, how to open it, and what its refusals mean.

mod apply;
mod brake;
mod foreign_keys;
mod link;
mod lock_file;
mod script;
mod session;
mod step;
mod tables;

use std::{
    fmt::{self, Write},
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection,
    any::AnyConnectOptions,
    raw_sql,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};

pub(crate) use self::lock_file::LockFile;
use self::{brake::SqliteBrake, link::Link, session::SqliteSession};
use crate::{
    ConnectError, DatabaseUrl, UrlError, classify::is_busy, error::WHO_HAS_IT, ledger::Names,
    session::Migratable, split::Dialect, target::Target,
};

/// How long SQLite itself waits for a lock during a start: whoever has to stop soon must not be
/// kept there. Who retries waits longer.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// A file, or a database in memory.
#[derive(Clone)]
pub(crate) struct SqliteFile {
    options: SqliteConnectOptions,
    kind: Kind,
    /// Whether it is created if it is not there.
    creates: bool,
    /// Whether its journal is ours to choose.
    ours: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    ReadOnly,
    Writable,
}

impl SqliteFile {
    /// A file with options that are not ours.
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        let name = options.get_filename().to_string_lossy();
        // sqlx's own databases in memory have such names, and what is behind a URI of SQLite's own
        // with a query is not known: nothing is put beside it.
        let is_uri = name.starts_with("file:")
            && (name.contains('?') || name.starts_with("file:sqlx-in-memory"));
        let kind = match name == ":memory:" || is_uri {
            true => Kind::Memory,
            false => Kind::Writable,
        };
        Self {
            options,
            kind,
            creates: true,
            ours: false,
        }
    }

    pub(crate) fn options(&self) -> &SqliteConnectOptions {
        &self.options
    }

    pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, UrlError> {
        let rest = url.strip_prefix("sqlite:").unwrap_or(url);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (file, query) = rest.split_once('?').unwrap_or((rest, ""));
        let has = |parameter: &str| query.split('&').any(|given| given == parameter);
        let kind = if file == ":memory:" || has("mode=memory") {
            Kind::Memory
        } else if has("mode=ro") || has("immutable=1") || has("immutable=true") {
            Kind::ReadOnly
        } else {
            Kind::Writable
        };
        if kind != Kind::Memory && file.is_empty() {
            return Err(UrlError::NoFile);
        }
        // Of a name that is parsed once, so that all connections are to the same database.
        let parsed = if kind == Kind::Memory && file.is_empty() {
            "sqlite::memory:"
        } else {
            url
        };
        let mut options: SqliteConnectOptions = parsed.parse()?;
        if kind == Kind::Memory {
            options = options.shared_cache(true);
        }
        let any = any_options(options.get_filename(), query, kind)?;
        Ok(DatabaseUrl {
            target: Target::Sqlite(Self {
                options,
                kind,
                creates: has("mode=rwc"),
                ours: true,
            }),
            any,
            ignored: Vec::new(),
        })
    }

    /// Opens it, has it written to or at least read, and closes it again.
    ///
    /// A database in memory is gone with its last connection: that one is returned.
    pub(crate) async fn prove(&self) -> Result<Option<Anchor>, ConnectError> {
        let options = self.options.clone().busy_timeout(BUSY_TIMEOUT);
        let mut connection = self.open(&options).await?;
        let proof = self.settle(&mut connection).await;
        if proof.is_ok() && self.kind == Kind::Memory {
            return Ok(Some(Anchor(connection)));
        }
        let _ = connection.close().await;
        proof.map(|()| None).map_err(|error| self.refusal(error))
    }

    async fn settle(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.kind == Kind::Writable {
            if self.ours {
                use_wal(connection).await?;
            }
            // Whoever else is writing has shown that it can be written to.
            match raw_sql("BEGIN IMMEDIATE; ROLLBACK")
                .execute(&mut *connection)
                .await
            {
                Err(error) if !is_busy(&error) => return Err(error),
                _ => {}
            }
        }
        let read = "SELECT count(*) FROM sqlite_schema";
        raw_sql(read).execute(&mut *connection).await.map(drop)
    }

    pub(crate) async fn open(
        &self,
        options: &SqliteConnectOptions,
    ) -> Result<SqliteConnection, ConnectError> {
        options.connect().await.map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: sqlx::Error) -> ConnectError {
        let what = format!("cannot open {self}");
        if is_busy(&error) {
            ConnectError::Unavailable {
                what,
                source: error.into(),
                remedy: WHO_HAS_IT,
            }
        } else {
            let remedy = self.remedy(&error);
            let source = error.into();
            ConnectError::Rejected {
                what,
                source,
                remedy,
            }
        }
    }

    fn remedy(&self, error: &sqlx::Error) -> Option<String> {
        const PERM: i32 = 3;
        const READONLY: i32 = 8;
        const CANTOPEN: i32 = 14;
        const NOTADB: i32 = 26;

        let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
        let file = absolute(self.path()).unwrap_or_else(|_| self.path().to_path_buf());
        let folder = file.parent().unwrap_or(&file);
        let shown = folder.display();
        // SQLite does not say which of them it was: the file system does.
        let remedy = match code & 0xff {
            NOTADB => "it is something else: change DATABASE_URL".to_owned(),
            CANTOPEN if file.is_dir() => "it is a folder: change DATABASE_URL".to_owned(),
            CANTOPEN if !folder.is_dir() => {
                format!("the folder {shown} does not exist: create it, or change DATABASE_URL")
            }
            CANTOPEN if !file.exists() && !self.creates => format!(
                "it does not exist in {shown}: to create it, let DATABASE_URL end in ?mode=rwc"
            ),
            CANTOPEN if !file.exists() => format!("let this user write to the folder {shown}"),
            PERM | READONLY | CANTOPEN if self.kind == Kind::ReadOnly => format!(
                "a write-ahead log needs this user to write to the folder {shown}, even to read; \
                 if nobody writes to the file, let DATABASE_URL end in ?immutable=true"
            ),
            PERM | READONLY | CANTOPEN => format!(
                "let this user write to the file and to its folder, {shown}; to read only, let \
                 DATABASE_URL end in ?mode=ro"
            ),
            _ => return None,
        };
        Some(remedy)
    }

    /// Where the file is. SQLite takes `file:` for the beginning of a URI.
    fn path(&self) -> &Path {
        let name = self.options.get_filename();
        let path = name.to_str().and_then(|name| name.strip_prefix("file:"));
        path.map_or(name, |path| {
            Path::new(path.strip_prefix("//").unwrap_or(path))
        })
    }
}

impl fmt::Display for SqliteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Memory => f.write_str("SQLite in memory"),
            Kind::ReadOnly | Kind::Writable => write!(f, "SQLite file {}", self.path().display()),
        }
    }
}

/// What keeps a database in memory alive.
pub(crate) struct Anchor(#[expect(dead_code, reason = "it is kept, not used")] SqliteConnection);

/// Readers and a writer at the same time. The file remembers it.
async fn use_wal(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    if mode == "wal" {
        return Ok(());
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
        .fetch_one(&mut *connection)
        .await?;
    if mode != "wal" {
        tracing::warn!(
            journal_mode = mode,
            "the file system does not allow a write-ahead log: readers and writers wait for each other"
        );
    }
    Ok(())
}

/// sqlx parses the URL of `Any` as a URL, and that of SQLite as it stands: `data/../x.db` would be
/// two files. Escaped whole, the file's name means the same to both.
fn any_options(file: &Path, query: &str, kind: Kind) -> Result<AnyConnectOptions, UrlError> {
    let escaped = escape(&file.to_string_lossy());
    let url = match kind {
        Kind::Memory => format!("sqlite:{escaped}?mode=memory&cache=shared"),
        Kind::ReadOnly | Kind::Writable => format!("sqlite:{escaped}?{query}"),
    };
    Ok(url.parse()?)
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all that is written to it");
        }
        escaped
    })
}

impl Migratable for SqliteFile {
    type Session = SqliteSession;
    type Brake = SqliteBrake;

    const DIALECT: Dialect = Dialect::Sqlite;

    fn brake(&self) -> SqliteBrake {
        SqliteBrake::default()
    }

    async fn session(
        &self,
        names: &Names,
        brake: &SqliteBrake,
    ) -> Result<SqliteSession, ConnectError> {
        let options = self
            .options
            .clone()
            .busy_timeout(BUSY_TIMEOUT)
            // It would warn of every migration that takes a second, with the whole of its text.
            .disable_statement_logging();
        let link = Link::open(options, brake.clone()).await;
        Ok(SqliteSession::new(
            link.map_err(|error| self.refusal(error))?,
            names,
            self.kind != Kind::ReadOnly,
            self.lock_path(),
        ))
    }
}

impl SqliteFile {
    /// Whether there is no such file yet.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind == Kind::Writable && !self.path().exists()
    }

    /// The file whose lock says that somebody is migrating; none for a database in memory, which
    /// nobody else has.
    pub(crate) fn lock_path(&self) -> Option<PathBuf> {
        if self.kind == Kind::Memory {
            return None;
        }
        let mut path = self.path().as_os_str().to_owned();
        path.push("-migrate");
        Some(path.into())
    }
}
