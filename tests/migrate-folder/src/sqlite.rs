//! A file of SQLite.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow},
};
use tempfile::TempDir;

use crate::state::{LEDGER, LEDGER_COLUMNS, State, Table, is_ours};

/// A folder of our own in the one that the URL names.
pub(crate) struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub(crate) fn within(url: &str) -> Result<Self> {
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let path = PathBuf::from(path.split('?').next().unwrap_or_default());
        if path.as_os_str().is_empty() || path.is_file() {
            bail!("sqlite://FOLDER takes a folder, in which databases are made");
        }
        let cannot = || format!("{} cannot be written to", path.display());
        fs::create_dir_all(&path).with_context(cannot)?;
        let path = path.canonicalize().with_context(cannot)?;
        let folder = tempfile::Builder::new()
            .prefix("uptree-migrate-folder-")
            .tempdir_in(&path)
            .with_context(cannot)?;
        Ok(Self { folder })
    }

    pub(crate) fn create(&self) -> Result<String> {
        self.remove()?;
        let file = self.folder.path().join("migrated.db");
        Ok(format!("sqlite://{}?mode=rwc", file.display()))
    }

    pub(crate) fn remove(&self) -> Result<()> {
        for file in fs::read_dir(self.folder.path())? {
            let file = file?.path();
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    }

    pub(crate) async fn state(&self, url: &str) -> Result<State> {
        let options: SqliteConnectOptions = url.parse()?;
        let mut connection = options.connect().await?;
        let state = state(&mut connection).await;
        connection.close().await?;
        state
    }
}

async fn state(connection: &mut SqliteConnection) -> Result<State> {
    let mut state = State::default();
    for pragma in ["user_version", "application_id"] {
        for row in rows(connection, &format!("PRAGMA {pragma}")).await? {
            state.define(format!("PRAGMA {pragma}"), &text(&row, 0)?);
        }
    }
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    for row in rows(connection, schema).await? {
        let (kind, name) = (text(&row, 0)?, text(&row, 1)?);
        if is_ours(&text(&row, 2)?) {
            continue;
        }
        state.define(format!("{kind} {name}"), &text(&row, 3)?);
        if kind != "table" {
            continue;
        }
        if name == LEDGER {
            state.has_ledger = true;
            let ledger = format!("SELECT {LEDGER_COLUMNS} FROM {LEDGER} WHERE success");
            for row in rows(connection, &ledger).await? {
                state.applied.push(row.try_get(0)?);
            }
        }
        let table = table(connection, &name).await;
        // A virtual table whose module is not here can be read by nobody.
        let table = table.unwrap_or_else(|error| Table::new([error.to_string()]));
        state.tables.insert(name, table);
    }
    Ok(state)
}

async fn table(connection: &mut SqliteConnection, name: &str) -> Result<Table> {
    let columns = match name {
        LEDGER => LEDGER_COLUMNS.split(", ").map(str::to_owned).collect(),
        _ => {
            let columns = format!("PRAGMA table_xinfo({})", quoted(name));
            let mut names = Vec::new();
            for row in rows(connection, &columns).await? {
                // 1 is a virtual table's hidden column.
                if text(&row, 6)? != "1" {
                    names.push(text(&row, 1)?);
                }
            }
            names
        }
    };
    let values: Vec<_> = columns
        .iter()
        .map(|it: &String| format!("quote({})", quoted(it)))
        .collect();
    let select = format!("SELECT {} FROM {}", values.join(", "), quoted(name));
    let mut table = Table::new(columns);
    for row in rows(connection, &select).await? {
        let row: Result<Vec<_>> = (0..row.len()).map(|i| text(&row, i)).collect();
        table.push(row?);
    }
    Ok(table)
}

async fn rows(connection: &mut SqliteConnection, sql: &str) -> Result<Vec<SqliteRow>> {
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await;
    rows.with_context(|| format!("cannot read the database: {sql}"))
}

/// SQLite makes a text of any value.
fn text(row: &SqliteRow, column: usize) -> Result<String> {
    let text: Option<String> = row.try_get_unchecked(column)?;
    Ok(text.unwrap_or_default())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
