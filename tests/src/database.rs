//! A database for one test, of either kind: what holds on SQLite has to hold on Postgres.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, raw_sql};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Postgres;
use crate::postgres::Session;

/// How long a test waits for a service to let it at a SQLite file.
const BUSY: Duration = Duration::from_secs(10);

/// An empty database of the test's own, gone when the test is.
pub enum Database {
    /// A file in a temporary folder.
    Sqlite(Sqlite),
    /// The database [`NAME`](Self::NAME) of a server of its own.
    Postgres(Postgres),
}

impl Database {
    /// The name of the database on Postgres.
    pub const NAME: &str = "shop";
    /// The role that it belongs to, as a service's should: not the superuser.
    pub const USER: &str = "clerk";
    /// That role's password. Nothing that a service writes may have it in it.
    pub const PASSWORD: &str = "Tr0ub4dor";

    /// A SQLite file that is not there yet.
    pub fn sqlite() -> Self {
        Self::Sqlite(Sqlite::new())
    }

    /// A database on a Postgres server; `None` as for [`Postgres::start`].
    pub fn postgres() -> Option<Self> {
        Self::postgres_with([])
    }

    /// A database on a Postgres server with settings of its own.
    pub fn postgres_with<const N: usize>(settings: [&str; N]) -> Option<Self> {
        let server = Postgres::start_with(settings)?;
        let (user, password, name) = (Self::USER, Self::PASSWORD, Self::NAME);
        let role = format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'");
        server.psql("postgres", &role);
        server.psql("postgres", &format!("CREATE DATABASE {name} OWNER {user}"));
        Some(Self::Postgres(server))
    }

    /// Its URL, as a service takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(sqlite) => format!("sqlite://{}?mode=rwc", sqlite.file.display()),
            Self::Postgres(server) => server.url_as(Self::USER, Self::PASSWORD, Self::NAME),
        }
    }

    /// Whether it is a file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The server.
    ///
    /// Fails the test if there is none.
    #[track_caller]
    pub fn server(&mut self) -> &mut Postgres {
        match self {
            Self::Postgres(server) => server,
            Self::Sqlite(_) => panic!("SQLite has no server"),
        }
    }

    /// Runs SQL. Rows are lines, columns are separated by `|`.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(sql),
            Self::Postgres(server) => server.psql(Self::NAME, sql),
        }
    }

    /// Makes it empty again, once those who were connected are gone.
    #[track_caller]
    pub fn clear(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.remove(),
            Self::Postgres(server) => {
                let user = Self::USER;
                let sql = format!(
                    "SET client_min_messages = warning;
                     DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {user}"
                );
                server.psql(Self::NAME, &sql);
            }
        }
    }

    /// Keeps the services from writing readings until the guard is dropped; they can read.
    #[track_caller]
    pub fn hold(&self) -> Held<'_> {
        match self {
            Self::Sqlite(sqlite) => Held::Sqlite(sqlite.hold()),
            Self::Postgres(server) => {
                let lock = "BEGIN; LOCK TABLE readings IN SHARE MODE";
                Held::Postgres(server.session(Self::NAME, lock))
            }
        }
    }

    /// The versions in the ledger of migrations that are there and successful, such as `1 2 3`.
    pub fn ledger(&self) -> String {
        let exists = match self {
            Self::Sqlite(_) => "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'",
            Self::Postgres(_) => {
                "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')"
            }
        };
        if self.query(exists) == "0" {
            return String::new();
        }
        let versions = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
        self.query(versions).replace('\n', " ")
    }

    /// All that a migration can change, as text: tables, columns, indexes, and the ledger without
    /// its times.
    pub fn schema(&self) -> String {
        let schema = match self {
            Self::Sqlite(_) => "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
            Self::Postgres(_) => {
                "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
                 FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2;
                 SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            }
        };
        let checksum = if self.is_sqlite() {
            "hex(checksum)"
        } else {
            "encode(checksum, 'hex')"
        };
        let ledger = format!(
            "SELECT version, description, success, {checksum} FROM _sqlx_migrations ORDER BY version"
        );
        format!("{}\n{}", self.query(schema), self.query(&ledger))
    }
}

/// A SQLite file in a temporary folder.
pub struct Sqlite {
    runtime: Runtime,
    file: PathBuf,
    folder: TempDir,
}

impl Sqlite {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime needs little");
        Self {
            runtime,
            file: folder.path().join("shop.db"),
            folder,
        }
    }

    /// The folder that the file is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn hold(&self) -> HeldFile<'_> {
        let mut connection = self.connect();
        let begun = raw_sql("BEGIN IMMEDIATE").execute(&mut connection);
        self.runtime.block_on(begun).expect("nobody holds it");
        HeldFile {
            runtime: &self.runtime,
            connection: Some(connection),
        }
    }

    #[track_caller]
    fn query(&self, sql: &str) -> String {
        let mut connection = self.connect();
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection);
        let rows = self.runtime.block_on(rows);
        let rows = rows.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let _ = self.runtime.block_on(connection.close());
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(&self.file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY);
        let connection = self.runtime.block_on(options.connect());
        connection.unwrap_or_else(|error| panic!("{}: {error}", self.file.display()))
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-migrate"] {
            let mut file = self.file.clone().into_os_string();
            file.push(suffix);
            let _ = std::fs::remove_file(file);
        }
    }
}

/// What keeps the services from writing until it is dropped.
#[must_use = "it holds nothing once it is dropped"]
pub enum Held<'a> {
    /// The file's lock.
    Sqlite(HeldFile<'a>),
    /// The table's lock.
    Postgres(Session),
}

/// The lock of a SQLite file.
pub struct HeldFile<'a> {
    runtime: &'a Runtime,
    connection: Option<SqliteConnection>,
}

impl Drop for HeldFile<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}

/// As psql shows it.
fn line(row: &SqliteRow) -> String {
    let columns = (0..row.len()).map(|column| {
        // SQLite makes a text of any value that is not NULL.
        let text: Option<String> = row.try_get_unchecked(column).expect("there is the column");
        text.unwrap_or_default()
    });
    columns.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_shows_rows_as_psql_does() {
        let database = Database::sqlite();
        let rows = database.query(
            "CREATE TABLE t (a, b, c);
             INSERT INTO t VALUES (1, 2.5, 'x'), (NULL, -3, 'two words');
             SELECT a, b, c FROM t ORDER BY b DESC",
        );
        assert_eq!(rows, "1|2.5|x\n|-3|two words");
        assert_eq!(database.ledger(), "");
        database.clear();
        assert_eq!(database.query("SELECT count(*) FROM sqlite_schema"), "0");
    }

    #[test]
    fn a_held_file_can_be_read_but_not_written() {
        let Database::Sqlite(sqlite) = Database::sqlite() else {
            unreachable!("it is")
        };
        sqlite.query("CREATE TABLE t (a)");
        let write = |connection: &mut SqliteConnection| {
            let sql = raw_sql("PRAGMA busy_timeout = 0; INSERT INTO t VALUES (1)");
            sqlite.runtime.block_on(sql.execute(connection)).is_ok()
        };
        let mut other = sqlite.connect();
        let held = sqlite.hold();
        assert!(!write(&mut other));
        assert_eq!(sqlite.query("SELECT count(*) FROM t"), "0");
        drop(held);
        assert!(write(&mut other));
    }
}
