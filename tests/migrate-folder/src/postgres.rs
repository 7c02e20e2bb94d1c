//! A server of Postgres.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use percent_encoding::percent_decode_str;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, PgConnection, Row, postgres::PgConnectOptions,
    postgres::PgRow, raw_sql,
};
use tokio::process::Command;
use url::Url;
use xtask::servers;

use crate::{
    folder::Folder,
    server::database,
    state::{LEDGER, LEDGER_COLUMNS, State, Table, is_ours},
};

pub(crate) struct Postgres {
    url: Url,
    connection: PgConnection,
    /// The roles that were there before.
    roles: BTreeSet<String>,
    /// Those that a migration has made.
    made: Vec<String>,
}

/// Definitions as the catalogs have them, where there is no `pg_dump` for the server.
const CATALOGS: &str = include_str!("postgres.sql");

/// What holds data: tables, partitions, materialised views; not what only points to others.
const TABLES: &str = "
    SELECT format('%I.%I', nspname, relname), relname FROM pg_class
    JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm') AND relispopulated
      AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1";

const SEQUENCES: &str = "
    SELECT format('%I.%I', nspname, relname), relname FROM pg_class
    JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'S' AND nspname !~ '^pg_' ORDER BY 1";

/// What `pg_dump` leaves out of a database, because it belongs to it and not into it.
const DATABASE: &str = "
    SELECT 'DATABASE', format('ACL %s, comment %s', datacl, shobj_description(oid, 'pg_database'))
    FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT format('DATABASE for %s', CASE setrole WHEN 0 THEN 'all' ELSE setrole::regrole::text END),
      array_to_string(setconfig, E'\\n')
    FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = current_database()";

impl Postgres {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let mut url: Url = url.parse().context("the URL cannot be read")?;
        if url.path().trim_start_matches('/').is_empty() {
            // Not everybody has a database named like them.
            url.set_path("postgres");
        }
        let mut connection = open(url.as_str()).await?;
        let roles = roles(&mut connection).await?;
        Ok(Self {
            url,
            connection,
            roles,
            made: Vec::new(),
        })
    }

    pub(crate) async fn create(&mut self) -> Result<String> {
        self.remove().await?;
        let name = database();
        self.execute(&format!("CREATE DATABASE {name}")).await?;
        let mut url = self.url.clone();
        url.set_path(name);
        Ok(url.into())
    }

    pub(crate) async fn remove(&mut self) -> Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {}", database());
        // Before Postgres 13 there is no FORCE.
        if self.execute(&format!("{drop} WITH (FORCE)")).await.is_err() {
            self.execute(&drop).await?;
        }
        for role in std::mem::take(&mut self.made) {
            let drop = format!("DROP ROLE IF EXISTS {}", quoted(&role));
            if let Err(error) = self.execute(&drop).await {
                eprintln!("the role {role}, which a migration has made, stays: {error:#}");
            }
        }
        Ok(())
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql_safe = raw_sql(AssertSqlSafe(sql));
        let executed = sql_safe.execute(&mut self.connection).await;
        executed.map(drop).with_context(|| format!("cannot {sql}"))
    }

    pub(crate) async fn state(&mut self, url: &str, folder: &Folder) -> Result<State> {
        let mut state = State::default();
        let mut connection = open(url).await?;
        // As `pg_dump` does: names are written in full. To read a table may need the usual path, for
        // the functions of its indexes.
        rows(&mut connection, "SET search_path = ''").await?;
        self.definitions(url, &mut connection, &mut state).await?;
        rows(&mut connection, "RESET search_path").await?;
        for row in rows(&mut connection, DATABASE).await? {
            state.define(text(&row, 0)?, &text(&row, 1)?);
        }
        for row in rows(&mut connection, TABLES).await? {
            let (name, short) = (text(&row, 0)?, text(&row, 1)?);
            if is_ours(&short) {
                continue;
            }
            let columns = match short == LEDGER {
                true => LEDGER_COLUMNS,
                false => "*",
            };
            if short == LEDGER {
                state.has_ledger = true;
                let applied = format!("SELECT version FROM {name} WHERE success");
                for row in rows(&mut connection, &applied).await? {
                    state.applied.push(text(&row, 0)?.parse()?);
                }
            }
            let select = format!("SELECT {columns} FROM {name}");
            let table = table(&mut connection, &select).await?;
            state.tables.insert(name, table);
        }
        for row in rows(&mut connection, SEQUENCES).await? {
            let (name, short) = (text(&row, 0)?, text(&row, 1)?);
            if !is_ours(&short) {
                let select = format!("SELECT last_value, is_called FROM {name}");
                let table = table(&mut connection, &select).await?;
                state.tables.insert(format!("sequence {name}"), table);
            }
        }
        self.new_roles(folder, &mut state).await?;
        Ok(state)
    }

    /// Definitions by `pg_dump`, if there is one that can read this server.
    async fn definitions(
        &self,
        url: &str,
        connection: &mut PgConnection,
        state: &mut State,
    ) -> Result<()> {
        match pg_dump(&url.parse()?).await {
            Ok(dump) => read_dump(&dump, state),
            Err(error) => {
                eprintln!("the catalogs are compared, not dumps: {error:#}");
                for row in rows(connection, CATALOGS).await? {
                    state.define(text(&row, 0)?, &text(&row, 1)?);
                }
            }
        }
        Ok(())
    }

    /// Roles belong to the server: those that a migration has made are kept in mind, to be dropped.
    async fn new_roles(&mut self, folder: &Folder, state: &mut State) -> Result<()> {
        let now = roles(&mut self.connection).await?;
        let new = now.difference(&self.roles);
        // Somebody else may make roles, too.
        let new = new.filter(|role| folder.files.iter().any(|file| file.sql.contains(*role)));
        self.made = new.cloned().collect();
        for role in &self.made {
            let of = format!(
                "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, \
                 rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, rolconfig, \
                 (SELECT string_agg(b.rolname, ', ' ORDER BY b.rolname) FROM pg_auth_members m \
                  JOIN pg_roles b ON b.oid = m.roleid WHERE m.member = r.oid) \
                 FROM pg_roles r WHERE rolname = {}",
                literal(role)
            );
            let table = table(&mut self.connection, &of).await?;
            state.tables.insert(format!("role {role}"), table);
        }
        Ok(())
    }
}

async fn open(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    options
        .connect()
        .await
        .context("cannot connect to the server")
}

async fn roles(connection: &mut PgConnection) -> Result<BTreeSet<String>> {
    let rows = rows(connection, "SELECT rolname FROM pg_roles").await?;
    rows.iter().map(|row| text(row, 0)).collect()
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>> {
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await;
    rows.with_context(|| format!("cannot read the database: {sql}"))
}

async fn table(connection: &mut PgConnection, select: &str) -> Result<Table> {
    let mut rows = raw_sql(AssertSqlSafe(select)).fetch(connection);
    let mut table = Table::default();
    let failed = || format!("cannot read the database: {select}");
    while let Some(row) = rows.try_next().await.with_context(failed)? {
        if table.columns.is_empty() {
            table = Table::new(row.columns().iter().map(Column::name));
        }
        let values = (0..row.len()).map(|i| row.try_get_unchecked::<Option<&str>, _>(i));
        table.push(values.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(table)
}

/// Everything comes as text by the simple protocol.
fn text(row: &PgRow, column: usize) -> Result<String> {
    let text: Option<String> = row.try_get_unchecked(column)?;
    Ok(text.unwrap_or_default())
}

async fn pg_dump(url: &Url) -> Result<String> {
    let folder = servers::postgres().context("pg_dump is not installed")?;
    let mut dump = Command::new(folder.join("pg_dump"));
    dump.args(["--schema-only", "--exclude-table=*._uptree_*"]);
    dump.arg("--exclude-table=*._sqlx_migrations_uptree*");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut host = decoded(url.host_str().unwrap_or_default());
    for (name, value) in url.query_pairs() {
        match &*name {
            "host" => host = value.into_owned(),
            "sslmode" | "ssl-mode" => _ = dump.env("PGSSLMODE", &*value),
            "sslrootcert" | "ssl-root-cert" => _ = dump.env("PGSSLROOTCERT", &*value),
            _ => {}
        }
    }
    for (name, value) in [
        ("PGHOST", host),
        (
            "PGPORT",
            url.port().map(|it| it.to_string()).unwrap_or_default(),
        ),
        ("PGUSER", decoded(url.username())),
        // Not as an argument, which everybody on this machine could read.
        ("PGPASSWORD", decoded(url.password().unwrap_or_default())),
        ("PGDATABASE", decoded(url.path().trim_start_matches('/'))),
    ] {
        if !value.is_empty() {
            dump.env(name, value);
        }
    }
    let output = dump.kill_on_drop(true).output().await;
    let output = output.context("pg_dump cannot be run")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes a dump apart into its objects.
fn read_dump(dump: &str, state: &mut State) {
    let mut name = "settings of the dump".to_owned();
    for line in dump.lines() {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            let mut parts = header.split("; ");
            let short = parts.next().unwrap_or_default();
            let kind = parts
                .next()
                .unwrap_or_default()
                .trim_start_matches("Type: ");
            let schema = parts.next().unwrap_or_default();
            let schema = schema.trim_start_matches("Schema: ");
            name = match schema {
                "-" => format!("{kind} {short}"),
                schema => format!("{kind} {schema}.{short}"),
            };
        // The key of `\restrict` is another one each time.
        } else if !line.is_empty() && !line.starts_with("--") && !line.starts_with('\\') {
            state.define(&name, line);
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_taken_apart_into_objects() {
        let dump = "\
            --\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET lock_timeout = 0;\n\n\
            --\n-- Name: t; Type: TABLE; Schema: public; Owner: clerk\n--\n\n\
            CREATE TABLE public.t (\n    a integer\n);\n\n\n\\unrestrict abc\n";
        let mut state = State::default();
        read_dump(dump, &mut state);
        let objects: Vec<_> = state.objects.into_iter().collect();
        let table = "CREATE TABLE public.t (\n    a integer\n);";
        let expected = [
            ("TABLE public.t", table),
            ("settings of the dump", "SET lock_timeout = 0;"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(objects, expected);
    }
}
