//! The kinds of migrations. Each of their statements would show if it ran twice, or not at all.

use std::fs;

use tempfile::TempDir;
use uptree_tests::Database;

/// Enough rows for a server to be caught at work on them.
const ROWS: u32 = 20_000;
/// The same for MariaDB, which takes longer.
const ROWS_OF_MARIADB: u32 = 5_000;
/// Enough for a page or two, each of which is a point.
const ROWS_IN_A_FILE: u32 = 200;

/// Files that are applied to a database which has some already, or none.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    before: Vec<String>,
    files: Vec<String>,
    /// Whether a migration in Rust comes after them.
    code: bool,
}

impl Kind {
    /// The folder of what is applied beforehand, undisturbed; `None` if there is nothing.
    pub(crate) fn before(&self) -> Option<TempDir> {
        (!self.before.is_empty()).then(|| folder(&self.before))
    }

    /// The folder of everything.
    pub(crate) fn all(&self) -> TempDir {
        let all: Vec<_> = self.before.iter().chain(&self.files).cloned().collect();
        folder(&all)
    }

    /// What else the process is told.
    pub(crate) fn envs(&self) -> &'static [(&'static str, &'static str)] {
        match self.code {
            true => &[("CODE", "true")],
            false => &[],
        }
    }
}

/// In this order.
fn folder(files: &[String]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for (number, sql) in (1..).zip(files) {
        let file = folder.path().join(format!("{number:04}_step.sql"));
        fs::write(file, sql).expect("the folder is ours");
    }
    folder
}

pub(crate) fn empty_ledger(database: &Database) -> Kind {
    let more = (2..=6).map(|file| {
        format!(
            "INSERT INTO steps VALUES ({file}, 1);
             CREATE TABLE table_{file} (id INT);
             INSERT INTO steps VALUES ({file}, 2);"
        )
    });
    Kind {
        name: "an empty ledger",
        before: Vec::new(),
        files: [tables(database)].into_iter().chain(more).collect(),
        code: false,
    }
}

pub(crate) fn file(database: &Database) -> Kind {
    Kind {
        name: "a file of DDL, DML, DDL",
        before: vec![tables(database)],
        files: vec![ddl_dml_ddl(2)],
        code: false,
    }
}

pub(crate) fn several_files(database: &Database) -> Kind {
    Kind {
        name: "several files",
        before: vec![tables(database)],
        files: (2..=4).map(ddl_dml_ddl).collect(),
        code: false,
    }
}

pub(crate) fn index_built_concurrently(database: &Database) -> Kind {
    let sql = "-- no-transaction\nCREATE INDEX CONCURRENTLY by_sensor ON readings (sensor);";
    Kind {
        name: "an index built concurrently",
        before: vec![tables(database)],
        files: vec![sql.to_owned()],
        code: false,
    }
}

pub(crate) fn several_statements_without_a_transaction(database: &Database) -> Kind {
    let sql = match database {
        Database::Postgres(_) => {
            "-- no-transaction
             INSERT INTO steps VALUES (2, 1);
             CREATE INDEX CONCURRENTLY by_sensor ON readings (sensor);
             INSERT INTO steps VALUES (2, 2);
             UPDATE readings SET value = value + 1;
             DROP INDEX CONCURRENTLY by_sensor;
             CREATE UNIQUE INDEX CONCURRENTLY by_id ON readings (id);
             INSERT INTO steps VALUES (2, 3);"
        }
        _ => {
            "-- no-transaction
             INSERT INTO steps VALUES (2, 1);
             VACUUM;
             UPDATE readings SET value = value + 1;
             CREATE INDEX by_sensor ON readings (sensor);
             INSERT INTO steps VALUES (2, 2);"
        }
    };
    Kind {
        name: "several statements without a transaction",
        before: vec![tables(database)],
        files: vec![sql.to_owned()],
        code: false,
    }
}

pub(crate) fn migration_in_rust(database: &Database) -> Kind {
    Kind {
        name: "a file and a migration in Rust",
        before: vec![tables(database)],
        files: vec![ddl_dml_ddl(2)],
        code: true,
    }
}

/// A table that others refer to, made anew with foreign keys off: on again, they would take the
/// others' rows with it.
pub(crate) fn rebuilt_table(first_line: &str) -> Kind {
    let before = "CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor TEXT);
        CREATE TABLE steps (file INT, step INT REFERENCES readings (id) ON DELETE CASCADE);
        INSERT INTO readings VALUES (1, 'attic'), (2, 'cellar');
        INSERT INTO steps VALUES (1, 1), (1, 2);";
    let file = format!(
        "{first_line}
         PRAGMA foreign_keys = OFF;
         CREATE TABLE made_anew (id INTEGER PRIMARY KEY, sensor TEXT NOT NULL);
         INSERT INTO made_anew SELECT * FROM readings;
         DROP TABLE readings;
         ALTER TABLE made_anew RENAME TO readings;
         PRAGMA foreign_keys = ON;
         INSERT INTO steps VALUES (2, 1);"
    );
    Kind {
        name: "a table that is made anew",
        before: vec![before.to_owned()],
        files: vec![file],
        code: false,
    }
}

fn ddl_dml_ddl(file: u32) -> String {
    format!(
        "CREATE TABLE table_{file} (id INT);
         INSERT INTO steps VALUES ({file}, 1);
         ALTER TABLE readings ADD COLUMN column_{file} INT;
         UPDATE readings SET value = value + {file}, column_{file} = value;
         INSERT INTO steps VALUES ({file}, 2);
         CREATE INDEX index_{file} ON readings (column_{file});"
    )
}

/// The tables that the others work on.
fn tables(database: &Database) -> String {
    let rows = match database {
        Database::Postgres(_) => format!("SELECT generate_series(1, {ROWS}) AS n"),
        Database::MariaDb(_) => format!("SELECT seq AS n FROM seq_1_to_{ROWS_OF_MARIADB}"),
        Database::Sqlite(_) => format!(
            "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < {ROWS_IN_A_FILE})
             SELECT n FROM a"
        ),
    };
    format!(
        "CREATE TABLE steps (file INT, step INT);
         CREATE TABLE readings (id INT, sensor VARCHAR(40), value INT);
         INSERT INTO readings SELECT n, 'attic', n * 7 FROM ({rows}) AS numbers;
         INSERT INTO steps VALUES (1, 1);"
    )
}
