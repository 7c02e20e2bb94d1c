//! `migrate down`: undoes migrations, for development.

use serde_json::json;
use uptree_app::{BoxError, Exit, Result, help};

use super::{
    Chosen,
    ask::ask,
    desk::{Desk, Failed},
    elsewhere,
    output::{answer, count, object},
    unwritable,
    words::Words,
};
use crate::{
    ConnectError, MigrateError,
    files::{Down, File, check::check},
    ledger::{Ledger, Row, Tables},
    place,
    split::Dialect,
    statement,
};

pub(super) async fn run(chosen: &Chosen, yes: bool) -> Result<Exit> {
    let files = chosen.files()?;
    let found = chosen.read().await?;
    let steps = steps(&found.ledger, &files, chosen.to, chosen.dialect())?;
    if !steps.is_empty() {
        let number = count(steps.len(), "migration");
        let list: Vec<_> = steps.iter().map(|step| step.down.to_string()).collect();
        let first = format!(
            "This undoes {number} of {}:\n  {}\nIs it a database for development? Type yes:",
            chosen.target(),
            list.join("\n  "),
        );
        let second = "What is in the tables and columns that go is lost. To roll back a release \
                      this is not needed: an older release runs on the newer schema. Type undo:";
        ask(first, "yes".to_owned(), yes, "--yes-i-know").await?;
        ask(second.to_owned(), "undo".to_owned(), yes, "--yes-i-know").await?;
    }
    let mut undone: Vec<String> = Vec::new();
    if !steps.is_empty() {
        let desk = Desk::open(chosen.target()).await;
        let mut desk = desk.map_err(ConnectError::with_help)?;
        let mut outcome = Ok(());
        for step in &steps {
            outcome = step.undo(chosen, &mut desk, found.ledger.tables).await;
            if outcome.is_err() {
                break;
            }
            tracing::info!(file = %step.down, "migration undone");
            undone.push(step.down.to_string());
        }
        desk.close().await;
        outcome?;
    }
    answer(
        chosen.json,
        || match undone.len() {
            0 => "nothing to undo".to_owned(),
            number => format!("{} undone", count(number, "migration")),
        },
        || {
            let mut object = object("down", chosen);
            object.insert("undone".into(), json!(undone));
            object.into()
        },
    );
    Ok(Exit::clean())
}

/// An applied migration, and what undoes it.
struct Step<'a> {
    version: i64,
    down: &'a Down,
}

/// What is to be undone, the last first: all after `to`, or the last alone.
fn steps<'a>(
    ledger: &Ledger,
    files: &'a [File],
    to: Option<i64>,
    dialect: Dialect,
) -> Result<Vec<Step<'a>>> {
    if let Some(row) = ledger.rows.iter().find(|row| !row.success) {
        let error = format!("{} is not finished", name(row));
        return Err(help(
            error,
            "finish it first, by `migrate up` or `migrate resolve`",
        ));
    }
    let rows = ledger.rows.iter().rev();
    let rows: Vec<_> = match to {
        Some(to) => rows.take_while(|row| row.version > to).collect(),
        None => rows.take(1).collect(),
    };
    let steps = rows.into_iter().map(|row| {
        let mut files = files.iter();
        let Some(file) = files.find(|file| file.version() == row.version) else {
            let error = format!("{} is not among this program's files", name(row));
            return Err(help(error, "undo it with the release that has it"));
        };
        let Some(down) = file.down() else {
            let error = format!("{file} has no file that leads back");
            let remedy = "write one beside it: NAME.up.sql is undone by NAME.down.sql";
            return Err(help(error, remedy));
        };
        let findings = check(&down.as_file(), dialect);
        if let Some(refusal) = findings.refusals.into_iter().next() {
            return Err(MigrateError::from(refusal).with_help());
        }
        let version = row.version;
        Ok(Step { version, down })
    });
    steps.collect()
}

fn name(row: &Row) -> String {
    format!("migration {} ({})", row.version, row.description)
}

impl Step<'_> {
    /// Runs the file and takes the migration out of the ledger: both or neither, if it can be run
    /// in a transaction.
    async fn undo(&self, chosen: &Chosen, desk: &mut Desk, tables: Tables) -> Result {
        let in_transaction = self.down.in_transaction() && chosen.dialect() != Dialect::MySql;
        if !in_transaction {
            if !desk.lock().await.map_err(unwritable)? {
                return Err(elsewhere());
            }
            for (done, statement) in statement::parse(self.down.sql(), chosen.dialect())
                .iter()
                .enumerate()
            {
                let ran = desk.run(statement.sql).await;
                ran.map_err(|failed| self.failed(chosen, done, failed))?;
            }
        }
        let sets_keys = in_transaction && self.sets_foreign_keys(chosen);
        if sets_keys {
            desk.set_foreign_keys(false).await.map_err(unwritable)?;
        }
        if !desk.begin().await.map_err(unwritable)? {
            return Err(elsewhere());
        }
        let words = Words::new(chosen.migrator.names(), chosen.dialect());
        // The row first: whoever else undoes it is seen before anything is lost.
        for (index, sql) in words.forget(self.version, tables).iter().enumerate() {
            let changed = desk.change(sql).await.map_err(unwritable)?;
            if index == 0 && changed != 1 {
                let error = format!("migration {} is not in the ledger any more", self.version);
                return Err(help(error, "look again, by `migrate status`"));
            }
        }
        if in_transaction {
            let ran = desk.run(self.down.sql()).await;
            ran.map_err(|failed| self.failed(chosen, 0, failed))?;
        }
        if sets_keys && let Some(table) = desk.broken_reference().await.map_err(unwritable)? {
            let error = format!("{} leaves rows of {table} that refer to nothing", self.down);
            return Err(help(error, "let it mend or delete them"));
        }
        desk.commit().await.map_err(unwritable)?;
        if sets_keys {
            desk.set_foreign_keys(true).await.map_err(unwritable)?;
        }
        Ok(())
    }

    /// Whether it says so of SQLite's foreign keys, which in a transaction does nothing.
    fn sets_foreign_keys(&self, chosen: &Chosen) -> bool {
        chosen.dialect() == Dialect::Sqlite && !self.down.as_file().sets_foreign_keys().is_empty()
    }

    fn failed(&self, chosen: &Chosen, done: usize, failed: Failed) -> BoxError {
        let Failed { completed, error } = failed;
        let error = MigrateError::Failed {
            file: self.down.to_string(),
            place: completed.and_then(|completed| {
                place::of_statement(self.down.sql(), chosen.dialect(), done + completed, None)
            }),
            source: error.into(),
        };
        error.with_help()
    }
}
