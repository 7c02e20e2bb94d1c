//! `migrate baseline`: enters migrations as applied, without running them.

use std::collections::HashMap;

use serde_json::json;
use uptree_app::{BoxError, Exit, Result, help};

use super::{
    Chosen,
    ask::ask,
    desk::Desk,
    elsewhere,
    output::{answer, count, object},
    unwritable,
    words::Words,
};
use crate::{
    ConnectError,
    files::File,
    ledger::{Ledger, Row, Tables},
};

pub(super) async fn run(chosen: &Chosen, yes: bool) -> Result<Exit> {
    let to = chosen.to.unwrap_or(i64::MAX);
    let files = chosen.files()?;
    let found = chosen.read().await?;
    let missing = missing(&found.ledger, &files, to)?;
    if !missing.is_empty() {
        let number = count(missing.len(), "migration");
        let question = format!(
            "This enters {number}, up to {to}, in {} of {} as applied, and runs none of them.\n\
             Is the schema as they would have left it? Type yes:",
            chosen.ledger(),
            chosen.target(),
        );
        ask(question, "yes".to_owned(), yes, "--yes").await?;
        write(chosen, &files, to, found.ledger.tables).await?;
    }
    let entered: Vec<_> = missing.iter().map(ToString::to_string).collect();
    answer(
        chosen.json,
        || match entered.len() {
            0 => format!("nothing to do: all up to {to} are in the ledger"),
            number => format!("{} entered as applied", count(number, "migration")),
        },
        || {
            let mut object = object("baseline", chosen);
            object.insert("to".into(), to.into());
            object.insert("entered".into(), json!(entered));
            object.into()
        },
    );
    Ok(Exit::clean())
}

/// The files up to `to` that the ledger does not have.
///
/// # Errors
///
/// The ledger says something else than that these, and no others, are applied.
fn missing<'a>(ledger: &Ledger, files: &'a [File], to: i64) -> Result<Vec<&'a File>> {
    let mut rows: HashMap<i64, &Row> = ledger.rows.iter().map(|row| (row.version, row)).collect();
    let mut missing = Vec::new();
    for file in files.iter().take_while(|file| file.version() <= to) {
        match rows.remove(&file.version()) {
            None => missing.push(file),
            Some(row) if !row.success => return Err(refused(row, "is not finished")),
            Some(row) if row.checksum != file.checksum() => {
                return Err(refused(row, "was applied from another file"));
            }
            Some(_) => {}
        }
    }
    let mut others: Vec<_> = rows.into_values().collect();
    others.sort_by_key(|row| row.version);
    match others.first() {
        Some(row) if row.version > to && !missing.is_empty() => {
            Err(refused(row, "is applied, and is later"))
        }
        Some(row) if row.version <= to => Err(refused(row, "is applied, and has no file")),
        _ => Ok(missing),
    }
}

fn refused(row: &Row, why: &str) -> BoxError {
    let (version, description) = (row.version, &row.description);
    help(
        format!("the ledger does not agree: migration {version} ({description}) {why}"),
        "a baseline is for a database whose schema was made without this ledger; see `migrate \
         status`",
    )
}

/// Enters them, if the ledger still says the same.
async fn write(chosen: &Chosen, files: &[File], to: i64, tables: Tables) -> Result {
    let names = chosen.migrator.names();
    let words = Words::new(names, chosen.dialect());
    let mut desk = Desk::open(chosen.target())
        .await
        .map_err(ConnectError::with_help)?;
    if !desk.begin().await.map_err(unwritable)? {
        return Err(elsewhere());
    }
    if tables != Tables::All {
        if let Some([find, create]) = words.create_schema()
            && desk.rows(&find).await.map_err(unwritable)?.is_empty()
        {
            desk.change(&create).await.map_err(unwritable)?;
        }
        for sql in words.create() {
            let created = desk.change(&sql).await;
            created.map_err(unwritable)?;
        }
    }
    let versions = desk.rows(&words.times()).await;
    let versions = versions.map_err(|error| chosen.unreadable(error))?;
    let is_there = |version: i64| {
        let version = version.to_string();
        let mut versions = versions.iter();
        versions.any(|row| row.first().and_then(Option::as_ref) == Some(&version))
    };
    for file in files.iter().take_while(|file| file.version() <= to) {
        if is_there(file.version()) {
            continue;
        }
        for sql in words.enter(file) {
            let entered = desk.change(&sql).await;
            entered.map_err(unwritable)?;
        }
    }
    let committed = desk.commit().await;
    desk.close().await;
    committed.map_err(unwritable)?;
    // As with `up`: what counts is what the ledger says.
    let found = chosen.read().await?;
    match missing(&found.ledger, files, to)?.first() {
        None => Ok(()),
        Some(file) => Err(format!("{file} is not in the ledger").into()),
    }
}
