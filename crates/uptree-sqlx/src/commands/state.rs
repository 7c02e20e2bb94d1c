//! What became of each migration, given the ledger and the files. Pure.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::{
    files::File,
    ledger::{Ledger, Row},
    split::Dialect,
    statement,
};

/// Whether a file is run statement by statement.
pub(super) fn is_stepwise(file: &File, dialect: Dialect) -> bool {
    file.code().is_none() && (!file.in_transaction() || dialect == Dialect::MySql)
}

/// How many statements a file has.
pub(super) fn statements(file: &File, dialect: Dialect) -> usize {
    statement::parse(file.sql(), dialect).len()
}

/// What became of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Applied,
    Pending,
    /// It comes to be applied after later ones.
    Late,
    /// So many of its statements are done, if their number is known: a process is at it, or was.
    Running {
        done: usize,
        total: Option<usize>,
    },
    /// sqlx has begun it, and has not finished.
    Dirty,
    /// Its file is not what was applied.
    Changed,
    /// Applied, and not among the files.
    Gone,
    /// Applied by a newer release.
    Newer,
}

impl State {
    /// Its name in JSON, which does not change.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Late => "late",
            Self::Running { .. } => "running",
            Self::Dirty => "dirty",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Newer => "newer",
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Running {
                done,
                total: Some(total),
            } => format!("running, {done} of {total}"),
            state => state.name().to_owned(),
        }
    }

    /// Whether the schema has what the program needs of it.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Applied | Self::Gone | Self::Newer)
    }
}

/// When a migration was applied, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) at: Option<String>,
    /// None of one that was entered without being run.
    pub(super) nanoseconds: Option<u64>,
}

/// A migration, of the files, of the ledger or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) description: String,
    pub(super) file: Option<String>,
    pub(super) state: State,
    pub(super) requires: Option<i64>,
    pub(super) times: Times,
}

impl Migration {
    pub(super) fn json(&self) -> Value {
        let (done, total) = match self.state {
            State::Running { done, total } => (Some(done), total),
            _ => (None, None),
        };
        let milliseconds = self.times.nanoseconds.map(|ns| ns / 10_000);
        #[expect(clippy::cast_precision_loss, reason = "it is shown")]
        let milliseconds = milliseconds.map(|hundredths| hundredths as f64 / 100.0);
        json!({
            "version": self.version,
            "description": self.description,
            "file": self.file,
            "state": self.state.name(),
            "statements_done": done,
            "statements": total,
            "applied_at": self.times.at,
            "took_ms": milliseconds,
            "requires": self.requires,
        })
    }
}

/// All migrations, in the order of their versions.
pub(super) fn migrations(
    ledger: &Ledger,
    files: &[File],
    times: &HashMap<i64, Times>,
    dialect: Dialect,
) -> Vec<Migration> {
    let newest_applied = ledger.rows.iter().filter(|row| row.success);
    let newest_applied = newest_applied.map(|row| row.version).max();
    let newest_file = files.last().map(File::version);
    let mut all: BTreeMap<i64, Migration> = BTreeMap::new();
    for row in &ledger.rows {
        let state = match (row.success, &row.mark) {
            (true, _) if Some(row.version) > newest_file => State::Newer,
            (true, _) => State::Gone,
            (false, Some(mark)) => State::Running {
                done: mark.done,
                total: None,
            },
            (false, None) => State::Dirty,
        };
        let migration = Migration {
            version: row.version,
            description: row.description.clone(),
            file: None,
            state,
            requires: row.requires,
            times: times.get(&row.version).cloned().unwrap_or_default(),
        };
        all.insert(row.version, migration);
    }
    let rows: HashMap<i64, &Row> = ledger.rows.iter().map(|row| (row.version, row)).collect();
    for file in files {
        let version = file.version();
        let row = rows.get(&version);
        let state = match row {
            Some(row) if row.success && row.checksum == file.checksum() => State::Applied,
            Some(row) if row.success => State::Changed,
            Some(row) => match &row.mark {
                Some(mark) => State::Running {
                    done: mark.done,
                    total: Some(statements(file, dialect)),
                },
                None => State::Dirty,
            },
            None if newest_applied > Some(version) => State::Late,
            None => State::Pending,
        };
        let migration = all.entry(version).or_insert_with(|| Migration {
            version,
            description: file.description().to_owned(),
            file: None,
            state: State::Pending,
            requires: file.requires(),
            times: Times::default(),
        });
        migration.file = Some(file.to_string());
        migration.state = state;
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Mark;

    fn row(version: i64, change: impl FnOnce(&mut Row)) -> Row {
        let mut row = Row {
            version,
            description: format!("file {version}"),
            checksum: File::for_tests(version).checksum().to_owned(),
            success: true,
            requires: None,
            mark: None,
        };
        change(&mut row);
        row
    }

    #[test]
    fn a_migration_is_what_the_ledger_and_its_file_say_together() {
        let begun = |row: &mut Row| {
            row.success = false;
            row.mark = Some(Mark::default());
        };
        let rows = [
            row(1, |_| {}),
            row(2, |_| {}),
            row(4, |row| row.checksum = vec![0]),
            row(5, |row| row.success = false),
            row(6, begun),
            row(9, begun),
            row(10, |_| {}),
        ];
        let ledger = Ledger {
            rows: rows.to_vec(),
            ..Ledger::default()
        };
        let files = [1, 3, 4, 5, 6, 7].map(File::for_tests);
        let times = HashMap::from([(
            1,
            Times {
                at: Some("then".to_owned()),
                nanoseconds: Some(1_234_567),
            },
        )]);
        let all = migrations(&ledger, &files, &times, Dialect::Sqlite);
        let found: Vec<_> = all
            .iter()
            .map(|it| (it.version, it.state.words()))
            .collect();
        let expected = [
            (1, "applied"),
            (2, "gone"),
            (3, "late"),
            (4, "changed"),
            (5, "dirty"),
            (6, "running, 0 of 1"),
            (7, "late"),
            (9, "running"),
            (10, "newer"),
        ];
        assert_eq!(
            found,
            expected.map(|(version, state)| (version, state.to_owned()))
        );
        let json = all[0].json();
        assert_eq!(
            (&json["took_ms"], &json["applied_at"]),
            (&json!(1.23), &json!("then"))
        );
        assert_eq!(all[1].json()["file"], Value::Null);
    }

    #[test]
    fn a_file_after_all_that_is_applied_is_pending() {
        let ledger = Ledger {
            rows: vec![row(1, |_| {})],
            ..Ledger::default()
        };
        let files = [1, 2].map(File::for_tests);
        let all = migrations(&ledger, &files, &HashMap::new(), Dialect::Sqlite);
        let states: Vec<_> = all.iter().map(|it| it.state.is_settled()).collect();
        assert_eq!(
            (states, &all[1].state),
            (vec![true, false], &State::Pending)
        );
    }
}
