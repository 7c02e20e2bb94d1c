//! `migrate status`: what became of each migration, and who is migrating.

use std::{collections::HashMap, fmt::Write};

use serde_json::json;
use uptree_app::{Exit, Result};

use super::{
    Chosen, Found,
    desk::Desk,
    output::{answer, count, object, table},
    state::{Migration, State, Times, is_stepwise, migrations, statements},
    words::Words,
};
use crate::{MigrateError, files::File, ledger::Tables, split::Dialect};

pub(super) async fn run(chosen: &Chosen) -> Result<Exit> {
    let files = chosen.files()?;
    let found = chosen.read().await?;
    let times = times(chosen, &found).await?;
    let all = migrations(&found.ledger, &files, &times, chosen.dialect());
    let settled = all.iter().all(|migration| migration.state.is_settled());
    let too_old = found
        .ledger
        .admits(files.last().map_or(i64::MAX, File::version));
    let notes = notes(chosen, &files, &found, &all, too_old.as_ref().err());
    let up_to_date = settled && too_old.is_ok();
    answer(
        chosen.json,
        || text(chosen, &all, &found, &notes),
        || {
            let mut object = object("status", chosen);
            object.insert("up_to_date".into(), up_to_date.into());
            object.insert("locked_by".into(), found.holder.clone().into());
            let all: Vec<_> = all.iter().map(Migration::json).collect();
            object.insert("migrations".into(), json!(all));
            object.insert("notes".into(), json!(notes));
            object.into()
        },
    );
    Ok(match up_to_date {
        true => Exit::clean(),
        false => Exit::answer(1),
    })
}

/// When each was applied.
async fn times(chosen: &Chosen, found: &Found) -> Result<HashMap<i64, Times>> {
    if found.ledger.rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut desk = Desk::open(chosen.target())
        .await
        .map_err(crate::ConnectError::with_help)?;
    let words = Words::new(chosen.migrator.names(), chosen.dialect());
    let rows = desk.rows(&words.times()).await;
    desk.close().await;
    let rows = rows.map_err(|error| chosen.unreadable(error))?;
    let times = rows.into_iter().filter_map(|row| {
        let [version, at, took] = <[_; 3]>::try_from(row).ok()?;
        let took: Option<i64> = took.and_then(|took| took.parse().ok());
        let times = Times {
            at,
            nanoseconds: took.and_then(|took| u64::try_from(took).ok()),
        };
        Some((version?.parse().ok()?, times))
    });
    Ok(times.collect())
}

/// What a person may want to know beside the table.
fn notes(
    chosen: &Chosen,
    files: &[File],
    found: &Found,
    all: &[Migration],
    too_old: Option<&MigrateError>,
) -> Vec<String> {
    let mut notes: Vec<String> = too_old.map(ToString::to_string).into_iter().collect();
    for migration in all {
        let (version, state) = (migration.version, &migration.state);
        let name = migration.file.as_deref().unwrap_or(&migration.description);
        notes.extend(match state {
            State::Changed => Some(format!(
                "{name} has been changed since it was applied: put it back, or accept it by \
                 `migrate resolve {version} --accept-change`"
            )),
            State::Dirty => Some(format!(
                "{name} was begun by sqlx and did not finish: say what became of it by \
                 `migrate resolve {version}`"
            )),
            State::Late => Some(format!(
                "{name} comes after migrations with higher versions"
            )),
            State::Running { .. } if migration.file.is_none() => Some(format!(
                "migration {version} was begun by another release, and is not finished"
            )),
            _ => None,
        });
    }
    if chosen.dialect() == Dialect::Postgres {
        let several = files.iter().filter(|file| {
            is_stepwise(file, chosen.dialect()) && statements(file, chosen.dialect()) > 1
        });
        notes.extend(several.map(|file| {
            format!(
                "{file} runs several statements outside a transaction, which sqlx itself refuses: \
                 `sqlx migrate run` cannot apply it"
            )
        }));
    }
    if found.ledger.tables == Tables::Sqlx {
        notes.push(
            "so far sqlx alone has migrated this database: the last release that still does must \
             set `ignore_missing`, or it will not start on a newer schema if it is rolled back to"
                .to_owned(),
        );
    }
    notes
}

fn text(chosen: &Chosen, all: &[Migration], found: &Found, notes: &[String]) -> String {
    let mut text = format!("{}, ledger {}\n\n", chosen.target(), chosen.ledger());
    if all.is_empty() {
        text.push_str("There are no migrations.\n");
    } else {
        let row = |migration: &Migration| {
            let took = match migration.state.is_settled() {
                true => migration.times.nanoseconds.map(took),
                false => None,
            };
            vec![
                migration.version.to_string(),
                migration.state.words(),
                migration.times.at.clone().unwrap_or_default(),
                took.unwrap_or_default(),
                migration.description.clone(),
            ]
        };
        let rows: Vec<_> = all.iter().map(row).collect();
        let header = ["VERSION", "STATE", "APPLIED AT", "TOOK", "DESCRIPTION"];
        text.push_str(&table(&header, &rows));
        _ = writeln!(text, "\n{}", summary(all));
    }
    if let Some(holder) = &found.holder {
        _ = writeln!(text, "Locked by {holder}.");
    }
    for note in notes {
        _ = writeln!(text, "note: {note}");
    }
    text
}

fn summary(all: &[Migration]) -> String {
    let settled = all.iter().filter(|migration| migration.state.is_settled());
    let settled = settled.count();
    match all.len() - settled {
        0 => format!("{}: the schema is up to date.", count(settled, "migration")),
        left => format!("{settled} applied, {left} not."),
    }
}

/// As people say it: "850 µs", "12 ms", "3.2 s".
#[expect(clippy::cast_precision_loss, reason = "it is shown")]
fn took(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1000),
        1_000_000..1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        _ => format!("{:.1} s", nanoseconds as f64 / 1e9),
    }
}
