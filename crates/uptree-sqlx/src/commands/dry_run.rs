//! `migrate dry-run`: applies what is missing in a transaction, and rolls it back.

use std::fmt::Write;

use serde_json::{Value, json};
use uptree_app::{BoxError, Exit, Result, help};

use super::{
    Chosen,
    desk::{Desk, Failed},
    elsewhere,
    output::{answer, object},
    state::is_stepwise,
};
use crate::{
    ConnectError, MigrateError,
    files::{File, check::check},
    place,
    plan::plan,
    split::Dialect,
};

pub(super) async fn run(chosen: &Chosen) -> Result<Exit> {
    let files = chosen.files()?;
    let found = chosen.read().await?;
    let table = &chosen.migrator.names().ledger;
    let plan = plan(&found.ledger, &files, chosen.to, table).map_err(MigrateError::with_help)?;
    for file in &plan.steps {
        let findings = check(file, chosen.dialect());
        if let Some(refusal) = findings.refusals.into_iter().next() {
            return Err(MigrateError::from(refusal).with_help());
        }
    }
    if chosen.dialect() == Dialect::MySql {
        print_sql(chosen, &plan.steps);
        return Ok(Exit::clean());
    }
    let (tried, failed) = attempt(chosen, &plan.steps).await?;
    answer(
        chosen.json,
        || text(chosen, &tried),
        || {
            let mut object = object("dry-run", chosen);
            let tried: Vec<_> = tried.iter().map(Tried::json).collect();
            object.insert("migrations".into(), json!(tried));
            object.insert("failed".into(), failed.is_some().into());
            object.into()
        },
    );
    match failed {
        Some(error) => Err(error),
        None => Ok(Exit::clean()),
    }
}

/// What became of a file.
struct Tried<'a> {
    file: &'a File,
    outcome: Outcome,
}

enum Outcome {
    Works,
    Fails,
    /// And why.
    NotTried(String),
}

impl Tried<'_> {
    fn json(&self) -> Value {
        let (outcome, reason) = match &self.outcome {
            Outcome::Works => ("works", None),
            Outcome::Fails => ("fails", None),
            Outcome::NotTried(reason) => ("not tried", Some(reason)),
        };
        json!({
            "version": self.file.version(),
            "file": self.file.to_string(),
            "outcome": outcome,
            "reason": reason,
        })
    }
}

/// Runs the files one after the other, up to the first that cannot be tried or fails; those after it
/// may need it.
async fn attempt<'a>(
    chosen: &Chosen,
    files: &[&'a File],
) -> Result<(Vec<Tried<'a>>, Option<BoxError>)> {
    let not_tried = |file, reason: &str| Tried {
        file,
        outcome: Outcome::NotTried(reason.to_owned()),
    };
    let mut tried = Vec::new();
    let mut failed = None;
    let Some(first) = files.first() else {
        return Ok((tried, failed));
    };
    let obstacle = |file: &File| match (file.code().is_some(), is_stepwise(file, chosen.dialect()))
    {
        (true, _) => Some("it is written in Rust"),
        (_, true) => Some("it runs outside a transaction"),
        _ => None,
    };
    let mut desk = None;
    if obstacle(first).is_none() {
        let opened = desk.insert(
            Desk::open(chosen.target())
                .await
                .map_err(ConnectError::with_help)?,
        );
        if chosen.dialect() == Dialect::Sqlite
            && files
                .iter()
                .any(|file| !file.sets_foreign_keys().is_empty())
        {
            // In the transaction it does nothing.
            let set = opened.set_foreign_keys(false).await;
            set.map_err(|error| chosen.unreadable(error))?;
        }
        if !opened
            .begin()
            .await
            .map_err(|error| chosen.unreadable(error))?
        {
            return Err(elsewhere());
        }
    }
    let mut stopped_at: Option<&File> = None;
    for file in files {
        if let Some(before) = stopped_at {
            tried.push(not_tried(*file, &format!("it comes after {before}")));
        } else if let Some(reason) = obstacle(file) {
            stopped_at = Some(file);
            tried.push(not_tried(*file, reason));
        } else if let Some(desk) = &mut desk {
            let outcome = match desk.attempt(file, chosen.dialect()).await {
                Ok(()) => Outcome::Works,
                Err(error) => {
                    stopped_at = Some(file);
                    failed = Some(with_help(error));
                    Outcome::Fails
                }
            };
            tried.push(Tried { file, outcome });
        }
    }
    if let Some(mut desk) = desk {
        // If it fails the connection is lost, and the transaction with it.
        let _ = desk.change("ROLLBACK").await;
        desk.close().await;
    }
    Ok((tried, failed))
}

impl Desk {
    async fn attempt(&mut self, file: &File, dialect: Dialect) -> Result<(), MigrateError> {
        let failed = |Failed { completed, error }: Failed| MigrateError::Failed {
            file: file.to_string(),
            place: completed
                .and_then(|completed| place::of_statement(file.sql(), dialect, completed, None)),
            source: error.into(),
        };
        self.run(file.sql()).await.map_err(failed)?;
        // A constraint that is deferred to the end is the file's, too.
        let reset = self.reset().await;
        reset.map_err(|error| failed(Failed::whole(error)))?;
        let broken = self.broken_reference().await.ok().flatten();
        match broken.filter(|_| !file.sets_foreign_keys().is_empty()) {
            Some(table) => Err(MigrateError::Code {
                file: file.to_string(),
                source: format!("it leaves rows of {table} that refer to nothing").into(),
            }),
            None => Ok(()),
        }
    }
}

fn with_help(error: MigrateError) -> BoxError {
    let code = error.as_sqlx().and_then(sqlx::Error::as_database_error);
    match code.and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("55P03") => help(
            error,
            "others hold a lock that it needs, which `up` would wait for: try again later",
        ),
        _ => error.with_help(),
    }
}

fn text(chosen: &Chosen, tried: &[Tried<'_>]) -> String {
    if tried.is_empty() {
        return format!("{}: nothing to do", chosen.target());
    }
    let mut text = format!("{}, rolled back:\n", chosen.target());
    for Tried { file, outcome } in tried {
        _ = match outcome {
            Outcome::Works => writeln!(text, "  {file}: works"),
            Outcome::Fails => writeln!(text, "  {file}: fails"),
            Outcome::NotTried(reason) => writeln!(text, "  {file}: not tried: {reason}"),
        };
    }
    text
}

/// Where a schema cannot be rolled back.
fn print_sql(chosen: &Chosen, files: &[&File]) {
    answer(
        chosen.json,
        || {
            let target = chosen.target();
            let mut text = format!(
                "-- {target}: this database cannot roll a schema back. Nothing was tried; this \
                 would be run:\n"
            );
            for file in files {
                let sql = match file.code() {
                    Some(_) => "-- It is written in Rust.",
                    None => file.sql().trim_end(),
                };
                _ = writeln!(text, "\n-- {file}\n{sql}");
            }
            text
        },
        || {
            let mut object = object("dry-run", chosen);
            let files = files.iter().map(|file| {
                json!({
                    "version": file.version(),
                    "file": file.to_string(),
                    "outcome": "not tried",
                    "reason": "this database cannot roll a schema back",
                    "sql": file.sql(),
                })
            });
            let files: Vec<_> = files.collect();
            object.insert("migrations".into(), json!(files));
            object.insert("failed".into(), false.into());
            object.into()
        },
    );
}
