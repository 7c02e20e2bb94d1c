//! The ledger: the tables that say which migrations have been applied, and how far others have come.
//!
//! The first is sqlx's own, `_sqlx_migrations`, to the letter, so that `sqlx migrate` and this crate
//! can be used on one database in turn. What it has no room for is in two tables beside it.

use std::fmt::Write;

use crate::MigrateError;

/// The names of the tables, as they were set: without their schema, not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// `None`: where the search path finds it, or the database itself.
    pub(crate) schema: Option<String>,
    /// sqlx's.
    pub(crate) ledger: String,
    /// How far a migration has come that runs statement by statement, and what its rows require.
    pub(crate) steps: String,
    /// Which programs have booted, and what they know.
    pub(crate) instances: String,
}

impl Names {
    /// The names for a ledger. A ledger that sqlx was given as `schema.table` names its schema itself.
    pub(crate) fn new(ledger: &str, schema: Option<&str>) -> Self {
        let (own, ledger) = match ledger.split_once('.') {
            Some((own, ledger)) => (Some(own), ledger),
            None => (None, ledger),
        };
        let (steps, instances) = match ledger {
            "_sqlx_migrations" => ("_uptree_migrations".into(), "_uptree_instances".into()),
            other => (
                format!("{other}_uptree"),
                format!("{other}_uptree_instances"),
            ),
        };
        Self {
            schema: schema.or(own).map(str::to_owned),
            ledger: ledger.to_owned(),
            steps,
            instances,
        }
    }
}

/// What the tables say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// In the order of their versions.
    pub(crate) rows: Vec<Row>,
    pub(crate) tables: Tables,
}

/// Which of the tables there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tables {
    /// None: nothing has ever been applied.
    #[default]
    None,
    /// sqlx's alone.
    Sqlx,
    /// All of them.
    All,
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: i64,
    pub(crate) description: String,
    /// SHA-384 of the file.
    pub(crate) checksum: Vec<u8>,
    /// `false`: begun and not finished.
    pub(crate) success: bool,
    /// The newest migration that a program must know to run on this schema.
    pub(crate) requires: Option<i64>,
    /// How far it has come, if it runs statement by statement.
    pub(crate) mark: Option<Mark>,
}

/// How far a migration has come that runs statement by statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// How many of its statements are done.
    pub(crate) done: usize,
    /// What these were: one of the file's [`digests`](crate::steps::digests).
    pub(crate) digest: String,
    /// Whether the next one was begun, and may have been done or not.
    pub(crate) begun: bool,
    /// What the one that was begun is about to change, as it was before; as the session drew it.
    pub(crate) before: Option<String>,
    /// Whether all are done: the ledger's own row says so with this mark.
    pub(crate) finished: bool,
}

impl Mark {
    /// Nothing is done and nothing begun: written, it takes the file out of the tables again.
    pub(crate) fn is_blank(&self) -> bool {
        self.done == 0 && !self.begun && !self.finished
    }
}

/// Bytes as SQL's functions read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
        hex
    })
}

/// Reads a row: of sqlx's table, and [`with_steps`](Tables::All) of the second; `checksum` reads the
/// third column.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn read<R: sqlx::Row>(
    row: &R,
    with_steps: bool,
    checksum: impl FnOnce(&R) -> Result<Vec<u8>, sqlx::Error>,
) -> Result<Row, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> bool: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let success = row.try_get(3)?;
    let (mut requires, mut mark) = (None, None);
    if with_steps {
        requires = row.try_get(4)?;
        if let Some(done) = row.try_get::<Option<i64>, _>(5)? {
            mark = Some(Mark {
                done: usize::try_from(done).unwrap_or_default(),
                digest: row.try_get::<Option<String>, _>(6)?.unwrap_or_default(),
                begun: row.try_get(7)?,
                before: row.try_get(8)?,
                finished: success,
            });
        }
    }
    Ok(Row {
        version: row.try_get(0)?,
        description: row.try_get(1)?,
        checksum: checksum(row)?,
        success,
        requires,
        mark,
    })
}

/// The columns of sqlx's table that are read, in the order of a [`Row`].
pub(crate) const COLUMNS: [&str; 4] = ["version", "description", "checksum", "success"];

/// The columns of the second table that are read, in the order of a [`Row`] and its [`Mark`].
pub(crate) const STEP_COLUMNS: [&str; 5] = [
    "requires",
    "steps_done",
    "steps_digest",
    "step_begun",
    "step_before",
];

/// `CREATE TABLE` for each of the three; `names` are as SQL has them.
///
/// sqlx's is its own text, which SQLite keeps, line breaks included. The second has room for phases
/// and for work in the background, which write more columns.
pub(crate) fn create([ledger, steps, instances]: [&str; 3], types: &Types) -> [String; 3] {
    let Types {
        installed_on,
        checksum,
        text,
        time,
        now,
    } = types;
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {ledger} (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on {installed_on},
    success BOOLEAN NOT NULL,
    checksum {checksum} NOT NULL,
    execution_time BIGINT NOT NULL
);"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {steps} (
    version BIGINT PRIMARY KEY,
    requires BIGINT,
    phase {text},
    steps_done BIGINT,
    steps_digest {text},
    step_begun BOOLEAN NOT NULL DEFAULT FALSE,
    step_before {text},
    detail {text},
    updated_at {time} NOT NULL DEFAULT {now}
);"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {instances} (
    id VARCHAR(255) PRIMARY KEY,
    known BIGINT NOT NULL,
    seen_at {time} NOT NULL DEFAULT {now}
);"
        ),
    ]
}

/// What a database calls the types of the tables' columns.
pub(crate) struct Types {
    /// sqlx's `installed_on`, with its default.
    pub(crate) installed_on: &'static str,
    pub(crate) checksum: &'static str,
    pub(crate) text: &'static str,
    pub(crate) time: &'static str,
    pub(crate) now: &'static str,
}

#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: Types = Types {
    installed_on: "TIMESTAMPTZ NOT NULL DEFAULT now()",
    checksum: "BYTEA",
    text: "TEXT",
    time: "TIMESTAMPTZ",
    now: "now()",
};

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: Types = Types {
    installed_on: "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
    checksum: "BLOB",
    text: "TEXT",
    time: "TIMESTAMP",
    now: "CURRENT_TIMESTAMP",
};

#[cfg(feature = "mysql")]
pub(crate) const MYSQL: Types = Types {
    installed_on: "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
    checksum: "BLOB",
    text: "LONGTEXT",
    time: "TIMESTAMP",
    now: "CURRENT_TIMESTAMP",
};

/// Who is migrating, or has come to see that there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The host and the process: a container that is restarted in its pod is the same again.
    pub(crate) id: String,
    /// The newest migration that it knows; 0 if it has none.
    pub(crate) known: i64,
}

impl Instance {
    pub(crate) fn new(known: i64) -> Self {
        let host = gethostname::gethostname();
        let id = format!("{}:{}", host.to_string_lossy(), std::process::id());
        Self {
            id: id.chars().take(255).collect(),
            known,
        }
    }
}

impl Ledger {
    /// Refuses what a newer release has marked as not for this one: a row whose `requires` is newer
    /// than the newest migration that is known here.
    pub(crate) fn admits(&self, known: i64) -> Result<(), MigrateError> {
        let stranger = self
            .rows
            .iter()
            .find(|row| row.requires.is_some_and(|requires| requires > known));
        match stranger {
            None => Ok(()),
            Some(row) => Err(MigrateError::TooOld {
                version: row.version,
                description: row.description.clone(),
                requires: row.requires.unwrap_or_default(),
                known,
            }),
        }
    }
}
