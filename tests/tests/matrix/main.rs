//! Whatever befalls a boot, at whatever point of whatever migration: the next one takes it to the
//! end, and no hand is needed.
//!
//! Each kind of migration runs undisturbed first, which tells its points. Then each fault is let
//! happen at each point, on a database of its own; another process boots, and schema, rows and
//! ledger have to be as they were undisturbed. On a server the points are the flights between it and
//! the process, cut by a proxy; on SQLite they are the calls that write.
//!
//! By default a sample is tried, another one each time; its seed is printed. `UPTREE_MATRIX=SEED`
//! tries the same one again, and `UPTREE_MATRIX=all` everything, which takes many minutes.

mod kinds;
mod on_server;
mod sample;
mod writes;

use std::path::Path;

use uptree_tests::{Database, Example};

use self::kinds::Kind;

/// An empty database, or one with what was there before.
fn prepare(database: &Database, before: Option<&Path>) {
    database.clear();
    if let Some(before) = before {
        boot(database, before, &[]);
    }
}

/// Boots undisturbed.
fn boot(database: &Database, folder: &Path, envs: &[(&str, &str)]) {
    let mut process = Example::migrating(&database.url(), folder, envs);
    process.wait_until_ready();
    process.process.kill();
}

/// What is left when all is done, without times.
fn state(database: &Database) -> String {
    let mut state = database.schema();
    for table in ["readings", "steps"] {
        if database.has_table(table) {
            let rows = format!("SELECT * FROM {table} ORDER BY 1, 2");
            state.push('\n');
            state.push_str(&database.query(&rows));
        }
    }
    state
}

fn on_postgres(kind: fn(&Database) -> Kind) {
    if let Some(mut database) = Database::postgres() {
        let kind = kind(&database);
        on_server::try_all(&mut database, &kind);
    }
}

fn on_mariadb(kind: fn(&Database) -> Kind) {
    if let Some(mut database) = Database::mariadb() {
        let kind = kind(&database);
        on_server::try_all(&mut database, &kind);
    }
}

fn on_sqlite(kind: fn(&Database) -> Kind) {
    let database = Database::sqlite();
    let kind = kind(&database);
    writes::try_all(&database, &kind);
}

mod postgres {
    use super::{kinds, on_postgres};

    #[test]
    fn an_empty_ledger() {
        on_postgres(kinds::empty_ledger);
    }

    #[test]
    fn a_file() {
        on_postgres(kinds::file);
    }

    #[test]
    fn several_files() {
        on_postgres(kinds::several_files);
    }

    #[test]
    fn a_migration_in_rust() {
        on_postgres(kinds::migration_in_rust);
    }

    #[test]
    fn an_index_built_concurrently() {
        on_postgres(kinds::index_built_concurrently);
    }

    #[test]
    fn several_statements_without_a_transaction() {
        on_postgres(kinds::several_statements_without_a_transaction);
    }
}

mod mariadb {
    use super::{kinds, on_mariadb};

    #[test]
    fn an_empty_ledger() {
        on_mariadb(kinds::empty_ledger);
    }

    #[test]
    fn a_file() {
        on_mariadb(kinds::file);
    }

    #[test]
    fn several_files() {
        on_mariadb(kinds::several_files);
    }

    #[test]
    fn a_migration_in_rust() {
        on_mariadb(kinds::migration_in_rust);
    }
}

mod sqlite {
    use super::{kinds, on_sqlite};

    #[test]
    fn an_empty_ledger() {
        on_sqlite(kinds::empty_ledger);
    }

    #[test]
    fn a_file() {
        on_sqlite(kinds::file);
    }

    #[test]
    fn several_files() {
        on_sqlite(kinds::several_files);
    }

    #[test]
    fn a_migration_in_rust() {
        on_sqlite(kinds::migration_in_rust);
    }

    #[test]
    fn several_statements_without_a_transaction() {
        on_sqlite(kinds::several_statements_without_a_transaction);
    }

    #[test]
    fn a_table_made_anew() {
        on_sqlite(|_| kinds::rebuilt_table("-- in a transaction"));
    }

    #[test]
    fn a_table_made_anew_without_a_transaction() {
        on_sqlite(|_| kinds::rebuilt_table("-- no-transaction"));
    }
}
