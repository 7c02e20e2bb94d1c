//! MySQL and MariaDB: where the server is, how to connect to it, and what its refusals mean.

mod blockers;
mod brake;
pub(crate) mod code;
#[cfg(test)]
mod crash_tests;
mod kind;
mod lost;
mod message;
mod picture;
mod script;
mod session;
mod sql;
mod watch;

use std::{fmt, net::Ipv6Addr};

use sqlx::{
    ConnectOptions, Connection,
    any::AnyConnectOptions,
    mysql::{MySqlConnectOptions, MySqlConnection},
    raw_sql,
};

use self::{brake::MySqlBrake, session::MySqlSession};
use crate::{
    ConnectError, DatabaseUrl, UrlError, classify::may_be_reached, error::IS_IT_UP, ledger::Names,
    session::Migratable, split::Dialect, target::Target,
};

/// A MySQL or MariaDB server, a database of it, and a login.
#[derive(Clone)]
pub(crate) struct MySqlServer {
    options: MySqlConnectOptions,
    /// What the URL calls it.
    kind: &'static str,
}

impl MySqlServer {
    pub(crate) fn new(options: MySqlConnectOptions) -> Self {
        let kind = "MySQL";
        Self { options, kind }
    }

    pub(crate) fn options(&self) -> &MySqlConnectOptions {
        &self.options
    }

    /// Whether the host is an address with colons.
    pub(crate) fn is_by_ipv6(&self) -> bool {
        self.options.get_socket().is_none() && self.options.get_host().parse::<Ipv6Addr>().is_ok()
    }

    pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, UrlError> {
        let mut any: AnyConnectOptions = url.parse()?;
        let url = &mut any.database_url;
        // sqlx says nothing of these, and does nothing with them.
        let (known, ignored): (Vec<_>, Vec<_>) = url
            .query_pairs()
            .into_owned()
            .partition(|(name, _)| is_known(name));
        url.set_query(None);
        if !known.is_empty() {
            url.query_pairs_mut().extend_pairs(known);
        }
        let mut options = MySqlConnectOptions::from_url(url)?;
        if options.get_database().is_none() {
            return Err(UrlError::NoDatabase);
        }
        let host = url.host_str().and_then(|host| host.strip_prefix('['));
        if let Some(host) = host {
            // sqlx would look the address up in DNS, brackets and all.
            options = options.host(host.trim_end_matches(']'));
        }
        let kind = match url.scheme() {
            "mariadb" => "MariaDB",
            _ => "MySQL",
        };
        Ok(DatabaseUrl {
            target: Target::MySql(Self { options, kind }),
            any,
            ignored: ignored.into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// Connects, asks something, and closes the connection.
    pub(crate) async fn prove(&self) -> Result<(), ConnectError> {
        let mut connection = self.connect(&self.options).await?;
        let answer = raw_sql("SELECT 1").execute(&mut connection).await;
        // It has answered or not: how it says goodbye does not matter.
        let _ = connection.close().await;
        answer.map(drop).map_err(|error| self.refusal(error))
    }

    /// Makes one attempt to connect.
    pub(crate) async fn connect(
        &self,
        options: &MySqlConnectOptions,
    ) -> Result<MySqlConnection, ConnectError> {
        options.connect().await.map_err(|error| self.refusal(error))
    }

    pub(crate) fn refusal(&self, error: sqlx::Error) -> ConnectError {
        let what = format!("cannot connect to {self}");
        if may_be_reached(&error) {
            let remedy = match code::number(&error) {
                Some(code::TOO_MANY_CONNECTIONS) => {
                    "raise the server's max_connections, lower POOL_SIZE, or run fewer instances"
                }
                Some(code::TOO_MANY_OF_USER | code::LIMIT_OF_USER) => {
                    "raise the user's limits (max_user_connections, or ALTER USER … WITH), lower \
                     POOL_SIZE, or run fewer instances"
                }
                Some(_) => "look at the log of the database",
                None => IS_IT_UP,
            };
            ConnectError::Unavailable {
                what,
                remedy,
                source: error.into(),
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
        match error {
            sqlx::Error::Tls(_) => {
                let remedy = "set ssl-mode in DATABASE_URL to what the server offers; TLS needs \
                              the feature `tls` of uptree-sqlx";
                return Some(remedy.to_owned());
            }
            // It has no key to encrypt a password with, and no TLS to send it through.
            sqlx::Error::Configuration(_) => {
                let remedy = "connect by TLS, with the feature `tls` of uptree-sqlx, or let the \
                              user log in by mysql_native_password";
                return Some(remedy.to_owned());
            }
            _ => {}
        }
        let user = self.options.get_username();
        let database = self.options.get_database().unwrap_or_default();
        let remedy = match code::number(error)? {
            code::ACCESS_DENIED => {
                "see that the user and the password in DATABASE_URL are right, and that the user \
                 may log in from here"
                    .to_owned()
            }
            code::ACCESS_DENIED_NO_PASSWORD => format!(
                "the user {user} logs in as the system's user of that name: give it a password, or \
                 change DATABASE_URL"
            ),
            code::UNKNOWN_DATABASE => {
                format!("create it, with `CREATE DATABASE `{database}``, or change DATABASE_URL")
            }
            code::DATABASE_DENIED => {
                format!("GRANT ALL ON `{database}`.* TO '{user}', or change DATABASE_URL")
            }
            code::HOST_DENIED => {
                format!("let the user log in from here: CREATE USER '{user}'@'%'")
            }
            code::HOST_BLOCKED => "unblock this host, with `FLUSH HOSTS`".to_owned(),
            number if code::PASSWORD_EXPIRED.contains(&number) => {
                format!("give the user {user} a new password, and change DATABASE_URL")
            }
            number if code::ACCOUNT_LOCKED.contains(&number) => {
                format!("ALTER USER '{user}' ACCOUNT UNLOCK")
            }
            _ => return None,
        };
        Some(remedy)
    }
}

impl fmt::Display for MySqlServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let (host, port) = (options.get_host(), options.get_port());
        write!(f, "{} at ", self.kind)?;
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None if host.contains(':') => write!(f, "[{host}]:{port}")?,
            None => write!(f, "{host}:{port}")?,
        }
        if let Some(database) = options.get_database() {
            write!(f, ", database {database}")?;
        }
        write!(f, ", user {}", options.get_username())
    }
}

/// Whether sqlx knows a URL's parameter.
fn is_known(parameter: &str) -> bool {
    matches!(
        parameter,
        "sslmode"
            | "ssl-mode"
            | "sslca"
            | "ssl-ca"
            | "sslcert"
            | "ssl-cert"
            | "sslkey"
            | "ssl-key"
            | "charset"
            | "collation"
            | "statement-cache-capacity"
            | "socket"
            | "timezone"
            | "time-zone"
    )
}

impl Migratable for MySqlServer {
    type Session = MySqlSession;
    type Brake = MySqlBrake;

    const DIALECT: Dialect = Dialect::MySql;

    fn brake(&self) -> MySqlBrake {
        MySqlBrake::new(self.options.clone())
    }

    async fn session(
        &self,
        names: &Names,
        brake: &MySqlBrake,
    ) -> Result<MySqlSession, ConnectError> {
        // It would warn of every migration that takes a second, with the whole of its text.
        let options = self.options.clone().disable_statement_logging();
        let connection = self.connect(&options).await?;
        Ok(MySqlSession::new(
            options,
            connection,
            names,
            brake.session(),
        ))
    }
}
