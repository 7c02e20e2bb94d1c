//! A database for one test, of any kind: what holds on SQLite has to hold on a server.

mod schema;
mod sqlite;

pub use self::sqlite::{HeldFile, Sqlite};
use crate::{MariaDb, Postgres, Session, mariadb};

/// [`Database::PASSWORD`] as Postgres keeps it, but hashed once instead of 4096 times: that takes a
/// client without optimisation 50 ms, which two hundred of them do not have.
const PASSWORD_HASHED_ONCE: &str = "SCRAM-SHA-256$1:YSBzYWx0IG9mIDE2IGJ5Lg==$\
    RcMXX7xBXle79eESjE2/7dCJCI4Hu7IVI9sR8PRIo/8=:SWF3borLQh1dO7oy+aQK3IFvtiJxEECFFdEuKcCC/1I=";

/// An empty database of the test's own, gone when the test is.
pub enum Database {
    /// A file in a temporary folder.
    Sqlite(Sqlite),
    /// The database [`NAME`](Self::NAME) of a server of its own.
    Postgres(Postgres),
    /// As on Postgres.
    MariaDb(MariaDb),
}

impl Database {
    /// The name of the database on a server.
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
        let (user, name) = (Self::USER, Self::NAME);
        let role = format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD_HASHED_ONCE}'");
        server.psql("postgres", &role);
        server.psql("postgres", &format!("CREATE DATABASE {name} OWNER {user}"));
        Some(Self::Postgres(server))
    }

    /// A database on a MariaDB server; `None` as for [`MariaDb::start`].
    pub fn mariadb() -> Option<Self> {
        Self::mariadb_with([])
    }

    /// A database on a MariaDB server with settings of its own.
    pub fn mariadb_with<const N: usize>(settings: [&str; N]) -> Option<Self> {
        let server = MariaDb::start_with(settings)?;
        let (user, password, name) = (Self::USER, Self::PASSWORD, Self::NAME);
        server.create_database(name);
        let clerk = format!(
            "CREATE USER {user}@'%' IDENTIFIED BY '{password}'; GRANT ALL ON {name}.* TO {user}@'%'"
        );
        server.query("mysql", &clerk);
        Some(Self::MariaDb(server))
    }

    /// Its URL, as a service takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(sqlite) => format!("sqlite://{}?mode=rwc", sqlite.file().display()),
            Self::Postgres(server) => server.url_as(Self::USER, Self::PASSWORD, Self::NAME),
            Self::MariaDb(server) => server.url_as(Self::USER, Self::PASSWORD, Self::NAME),
        }
    }

    /// Such as `sqlite`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::MariaDb(_) => "mariadb",
        }
    }

    /// Whether it is a file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The Postgres server.
    ///
    /// Fails the test if there is none.
    #[track_caller]
    pub fn server(&mut self) -> &mut Postgres {
        match self {
            Self::Postgres(server) => server,
            _ => panic!("{} has no Postgres server", self.kind()),
        }
    }

    /// Where its server listens; `None` if there is none.
    pub fn addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => Some(server.addr()),
            Self::MariaDb(server) => Some(server.addr()),
        }
    }

    /// Ends its server as a crash does. A file has none.
    pub fn kill(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(server) => server.kill(),
            Self::MariaDb(server) => server.kill(),
        }
    }

    /// Stops its server as an operator does. A file has none.
    pub fn stop(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(server) => server.stop(),
            Self::MariaDb(server) => server.stop(),
        }
    }

    /// Starts its server after a [`stop`](Self::stop) or a [`kill`](Self::kill).
    pub fn start_again(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(server) => server.start_again(),
            Self::MariaDb(server) => server.start_again(),
        }
    }

    /// Runs SQL. Rows are lines, columns are separated by `|`.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(sql),
            Self::Postgres(server) => server.psql(Self::NAME, sql),
            Self::MariaDb(server) => server.query(Self::NAME, sql),
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
            Self::MariaDb(server) => {
                let create = mariadb::create_database(Self::NAME);
                server.query("mysql", &format!("DROP DATABASE {}; {create}", Self::NAME));
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
                Held::Server(server.session(Self::NAME, lock))
            }
            Self::MariaDb(server) => {
                Held::Server(server.session(Self::NAME, "LOCK TABLES readings READ"))
            }
        }
    }
}

/// What keeps the services from writing until it is dropped.
#[must_use = "it holds nothing once it is dropped"]
pub enum Held<'a> {
    /// The file's lock.
    Sqlite(HeldFile<'a>),
    /// The table's lock.
    Server(Session),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_shows_rows_as_psql_does() {
        shows_rows_as_psql_does(&Database::sqlite());
    }

    #[test]
    fn mariadb_shows_rows_as_psql_does() {
        if let Some(database) = Database::mariadb() {
            shows_rows_as_psql_does(&database);
        }
    }

    fn shows_rows_as_psql_does(database: &Database) {
        let rows = database.query(
            "CREATE TABLE t (a INT, b REAL, c TEXT);
             INSERT INTO t VALUES (1, 2.5, 'x'), (NULL, -3, 'two words');
             SELECT a, b, c FROM t ORDER BY b DESC",
        );
        assert_eq!(rows.replace("-3.0", "-3"), "1|2.5|x\n|-3|two words");
        assert_eq!(database.ledger(), "");
        assert_ne!(database.schema(), "");
        database.clear();
        assert_eq!(database.schema(), "");
    }
}
