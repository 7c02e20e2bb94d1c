//! Postgres: where the server is, how to connect to it, and what its refusals mean.

mod badge;
mod batch;
mod brake;
mod message;
mod observer;
mod session;
mod sql;
#[cfg(test)]
mod testing;

use std::{fmt, sync::Arc};

use sqlx::{
    ConnectOptions, Connection,
    any::AnyConnectOptions,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgConnection},
    raw_sql,
};

pub(crate) use self::sql::{ledger_mark, ledger_readable, lock_key};
use self::{brake::PgBrake, observer::Observer, session::PgSession};
use crate::{
    ConnectError, DatabaseUrl, UrlError, classify::may_be_reached, error::IS_IT_UP, ledger::Names,
    session::Migratable, split::Dialect, target::Target,
};

/// A Postgres server, a database of it, and a login.
#[derive(Clone)]
pub(crate) struct PgServer {
    options: PgConnectOptions,
}

impl PgServer {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options }
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, UrlError> {
        let mut any: AnyConnectOptions = url.parse()?;
        let url = &mut any.database_url;
        // sqlx would log each of these with its value, at every connection.
        let (known, ignored): (Vec<_>, Vec<_>) = url
            .query_pairs()
            .into_owned()
            .partition(|(name, _)| is_known(name));
        let host = url.host_str().and_then(|host| host.strip_prefix('['));
        let host = host.map(|host| ("host".to_owned(), host.trim_end_matches(']').to_owned()));
        url.set_query(None);
        if host.is_some() || !known.is_empty() {
            // sqlx would look the address up in DNS, brackets and all.
            url.query_pairs_mut()
                .extend_pairs(host.into_iter().chain(known));
        }
        let options = url.as_str().parse()?;
        Ok(DatabaseUrl {
            target: Target::Postgres(Self { options }),
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
        options: &PgConnectOptions,
    ) -> Result<PgConnection, ConnectError> {
        options.connect().await.map_err(|error| self.refusal(error))
    }

    pub(crate) fn refusal(&self, error: sqlx::Error) -> ConnectError {
        let what = format!("cannot connect to {self}");
        if may_be_reached(&error) {
            let code = error.as_database_error().and_then(DatabaseError::code);
            let remedy = match code.as_deref() {
                Some("53300") => {
                    "raise the server's max_connections, lower POOL_SIZE, or run fewer instances"
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
        if let sqlx::Error::Tls(_) = error {
            let remedy = "set sslmode in DATABASE_URL to what the server offers; TLS needs the \
                          feature `tls` of uptree-sqlx";
            return Some(remedy.to_owned());
        }
        let code = error.as_database_error()?.code()?;
        let user = self.options.get_username();
        let database = self.database();
        match &*code {
            "28P01" => Some("see that the user and the password in DATABASE_URL are right".into()),
            "28000" => Some(format!(
                "see that the role {user} exists and may log in from here (the server's \
                 pg_hba.conf), or change DATABASE_URL"
            )),
            "3D000" => Some(format!(
                "create it, with `CREATE DATABASE \"{database}\"`, or change DATABASE_URL"
            )),
            "42501" => Some(format!(
                "GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\""
            )),
            _ => None,
        }
    }

    pub(crate) fn database(&self) -> &str {
        // As the server has it.
        let options = &self.options;
        options.get_database().unwrap_or(options.get_username())
    }
}

impl fmt::Display for PgServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let (host, port) = (options.get_host(), options.get_port());
        let folder = match options.get_socket() {
            Some(folder) => Some(folder.to_string_lossy()),
            None => host.starts_with('/').then(|| host.into()),
        };
        f.write_str("Postgres at ")?;
        match folder {
            Some(folder) => write!(f, "{}/.s.PGSQL.{port}", folder.trim_end_matches('/'))?,
            None if host.contains(':') => write!(f, "[{host}]:{port}")?,
            None => write!(f, "{host}:{port}")?,
        }
        let (database, user) = (self.database(), options.get_username());
        write!(f, ", database {database}, user {user}")
    }
}

/// Whether sqlx knows a URL's parameter.
fn is_known(parameter: &str) -> bool {
    matches!(
        parameter,
        "sslmode"
            | "ssl-mode"
            | "sslrootcert"
            | "ssl-root-cert"
            | "ssl-ca"
            | "sslcert"
            | "ssl-cert"
            | "sslkey"
            | "ssl-key"
            | "statement-cache-capacity"
            | "host"
            | "hostaddr"
            | "port"
            | "dbname"
            | "user"
            | "password"
            | "application_name"
            | "options"
    ) || (parameter.starts_with("options[") && parameter.ends_with(']'))
}

impl Migratable for PgServer {
    type Session = PgSession;
    type Brake = PgBrake;

    const DIALECT: Dialect = Dialect::Postgres;

    fn brake(&self) -> PgBrake {
        PgBrake::new(self.options.clone())
    }

    async fn session(&self, names: &Names, brake: &PgBrake) -> Result<PgSession, ConnectError> {
        let options = self
            .options
            .clone()
            .application_name("uptree migrator")
            // It would warn of every migration that takes a second, with the whole of its text.
            .disable_statement_logging()
            // None are prepared but by a migration in Rust, and a pooler may know none of them.
            .statement_cache_capacity(0);
        let connection = self.connect(&options).await?;
        let badge = brake.session();
        let observer = Observer::new(options.clone(), Arc::clone(&badge));
        Ok(PgSession::new(connection, options, observer, names, badge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dies_while_it_is_connected_to_is_tried_again() {
        let server = PgServer::new(PgConnectOptions::new_without_pgpass());
        for (answer, passes) in [("0x00", true), ("0x48", false)] {
            let error = format!("unexpected response from SSLRequest: {answer}");
            let error = server.refusal(sqlx::Error::Protocol(error));
            assert_eq!(error.may_pass(), passes, "{answer}");
        }
    }
}
