//! Folders of migrations, for `MIGRATIONS_DIR`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Database;

/// A folder with the example service's own three migrations, and these.
pub fn migrations<S: AsRef<str>>(more: &[(S, S)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    for file in fs::read_dir(own).expect("they are in the checkout") {
        let file = file.expect("it can be listed");
        let copy = folder.path().join(file.file_name());
        fs::copy(file.path(), copy).expect("the folder is ours");
    }
    for (name, sql) in more {
        let file = folder.path().join(name.as_ref());
        fs::write(file, sql.as_ref()).expect("the folder is ours");
    }
    folder
}

/// A migration that takes about `seconds`.
pub fn slow(database: &Database, seconds: u32) -> String {
    match database {
        Database::Postgres(_) => return format!("SELECT pg_sleep({seconds})"),
        // `DO sleep(…)` succeeds when it is killed.
        Database::MariaDb(_) => return format!("CREATE TABLE slept AS SELECT sleep({seconds})"),
        Database::Sqlite(_) => {}
    }
    let count = |to: u64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {to})
             SELECT count(*) FROM n"
        )
    };
    // How fast this machine counts is found out by counting further each time.
    let (scratch, mut to) = (Database::sqlite(), 100_000);
    // To make the file takes longer than to open it.
    scratch.query("CREATE TABLE made (id INT)");
    loop {
        let began = Instant::now();
        scratch.query(&count(to));
        let took = began.elapsed();
        if took > Duration::from_millis(200) {
            let millis = u64::try_from(took.as_millis()).expect("it is less than an hour");
            let to = to * u64::from(seconds) * 1000 / millis;
            return format!("CREATE TABLE slept AS {}", count(to));
        }
        to *= 2;
    }
}
