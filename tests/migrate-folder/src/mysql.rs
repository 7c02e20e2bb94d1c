//! A server of MySQL or MariaDB.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlRow},
    raw_sql,
};
use url::Url;

use crate::{
    folder::Folder,
    server::database,
    state::{LEDGER, LEDGER_COLUMNS, State, Table, is_ours},
};

pub(crate) struct MySql {
    url: Url,
    connection: MySqlConnection,
    /// The accounts that were there before; `None` if they cannot be read.
    users: Option<BTreeSet<String>>,
    /// Those that a migration has made.
    made: Vec<String>,
}

const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables
    WHERE table_schema = DATABASE() ORDER BY 1";

/// What else there is: its kind, its name, and in which column its definition is shown.
const OTHERS: [(&str, usize, &str); 4] = [
    (
        "PROCEDURE",
        2,
        "SELECT routine_name FROM information_schema.routines
         WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'",
    ),
    (
        "FUNCTION",
        2,
        "SELECT routine_name FROM information_schema.routines
         WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'",
    ),
    (
        "TRIGGER",
        2,
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    ),
    (
        "EVENT",
        3,
        "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()",
    ),
];

impl MySql {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let url: Url = url.parse().context("the URL cannot be read")?;
        let mut without = url.clone();
        without.set_path("");
        let mut connection = open(without.as_str()).await?;
        let users = users(&mut connection).await.ok();
        Ok(Self {
            url,
            connection,
            users,
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
        self.execute(&drop).await?;
        for user in std::mem::take(&mut self.made) {
            if let Err(error) = self.execute(&format!("DROP USER IF EXISTS {user}")).await {
                eprintln!("the user {user}, whom a migration has made, stays: {error:#}");
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
        let default = "SHOW CREATE DATABASE";
        for row in rows(&mut connection, &format!("{default} {}", database())).await? {
            state.define("DATABASE", &text(&row, 1)?);
        }
        for row in rows(&mut connection, TABLES).await? {
            let (name, kind) = (text(&row, 0)?, text(&row, 1)?);
            if is_ours(&name) {
                continue;
            }
            let kind = match kind.as_str() {
                "VIEW" | "SEQUENCE" => kind,
                _ => "TABLE".to_owned(),
            };
            show(&mut connection, &kind, &name, 1, &mut state).await?;
            if kind != "VIEW" {
                let columns = if name == LEDGER { LEDGER_COLUMNS } else { "*" };
                let select = format!("SELECT {columns} FROM {}", quoted(&name));
                let table = table(&mut connection, &select).await?;
                state.tables.insert(name.clone(), table);
            }
            if name == LEDGER {
                state.has_ledger = true;
                let applied = format!("SELECT version FROM {LEDGER} WHERE success");
                for row in rows(&mut connection, &applied).await? {
                    state.applied.push(text(&row, 0)?.parse()?);
                }
            }
        }
        for (kind, column, names) in OTHERS {
            for row in rows(&mut connection, names).await? {
                let name = text(&row, 0)?;
                show(&mut connection, kind, &name, column, &mut state).await?;
            }
        }
        self.new_users(folder, &mut state).await?;
        Ok(state)
    }

    /// Users belong to the server: those that a migration has made are kept in mind, to be dropped.
    async fn new_users(&mut self, folder: &Folder, state: &mut State) -> Result<()> {
        let Some(before) = &self.users else {
            return Ok(());
        };
        let now = users(&mut self.connection).await?;
        // Somebody else may make users, too.
        let named = |user: &&String| {
            let name = user.split('\'').nth(1).unwrap_or_default();
            folder.files.iter().any(|file| file.sql.contains(name))
        };
        self.made = now.difference(before).filter(named).cloned().collect();
        for user in &self.made {
            for row in rows(&mut self.connection, &format!("SHOW GRANTS FOR {user}")).await? {
                state.define(format!("USER {user}"), &text(&row, 0)?);
            }
        }
        Ok(())
    }
}

async fn open(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    options
        .connect()
        .await
        .context("cannot connect to the server")
}

/// As `'user'@'host'`.
async fn users(connection: &mut MySqlConnection) -> Result<BTreeSet<String>> {
    let users = "SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user";
    let rows = rows(connection, users).await?;
    rows.iter().map(|row| text(row, 0)).collect()
}

async fn show(
    connection: &mut MySqlConnection,
    kind: &str,
    name: &str,
    column: usize,
    state: &mut State,
) -> Result<()> {
    let show = format!("SHOW CREATE {kind} {}", quoted(name));
    for row in rows(connection, &show).await? {
        state.define(format!("{kind} {name}"), &text(&row, column)?);
    }
    Ok(())
}

async fn rows(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<MySqlRow>> {
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await;
    rows.with_context(|| format!("cannot read the database: {sql}"))
}

async fn table(connection: &mut MySqlConnection, select: &str) -> Result<Table> {
    let mut rows = raw_sql(AssertSqlSafe(select)).fetch(connection);
    let mut table = Table::default();
    let failed = || format!("cannot read the database: {select}");
    while let Some(row) = rows.try_next().await.with_context(failed)? {
        if table.columns.is_empty() {
            table = Table::new(row.columns().iter().map(Column::name));
        }
        let values = (0..row.len()).map(|i| row.try_get_unchecked::<Option<&[u8]>, _>(i));
        table.push(values.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(table)
}

/// Everything comes as text by the text protocol.
fn text(row: &MySqlRow, column: usize) -> Result<String> {
    let text: Option<Vec<u8>> = row.try_get_unchecked(column)?;
    Ok(String::from_utf8_lossy(&text.unwrap_or_default()).into_owned())
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
