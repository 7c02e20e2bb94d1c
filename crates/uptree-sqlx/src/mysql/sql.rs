//! The SQL that a migrating session sends. Pure.

use crate::{
    files::File,
    ledger::{self, COLUMNS, Instance, Mark, Names, STEP_COLUMNS, create, hex},
};

/// The name of sqlx's lock on the database that is in use.
pub(super) const LOCK: &str = "LOWER(HEX(1026731422 * CRC32(DATABASE())))";

/// The nanoseconds of the server's clock.
const NANOSECONDS: &str = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000000 AS SIGNED)";

/// The tables' names as SQL has them.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) ledger: String,
    pub(super) steps: String,
    pub(super) instances: String,
}

impl Tables {
    /// The tables of `database`, if the names do not say another: a file may use another.
    pub(super) fn new(names: &Names, database: Option<&str>) -> Self {
        let schema = names.schema.as_deref().or(database);
        let qualified = |table: &str| match schema {
            Some(schema) => format!("{}.{}", name(schema), name(table)),
            None => name(table),
        };
        Self {
            ledger: qualified(&names.ledger),
            steps: qualified(&names.steps),
            instances: qualified(&names.instances),
        }
    }

    /// Enters a program in the table of instances.
    pub(super) fn register(&self, instance: &Instance) -> String {
        let (table, id, known) = (&self.instances, text(&instance.id), instance.known);
        format!(
            "INSERT INTO {table} (id, known) VALUES ({id}, {known})
             ON DUPLICATE KEY UPDATE known = {known}, seen_at = CURRENT_TIMESTAMP"
        )
    }

    /// Forgets programs that have not booted for long.
    pub(super) fn forget_old(&self) -> String {
        let table = &self.instances;
        // In safe mode a limit is wanted.
        format!("DELETE FROM {table} WHERE seen_at < NOW() - INTERVAL 30 DAY LIMIT 1000")
    }

    /// The rows of the ledger; those of the second table with it, if it is there.
    pub(super) fn rows(&self, with_steps: bool) -> String {
        let own = COLUMNS.map(|column| format!("l.{column}")).join(", ");
        let (ledger, steps) = (&self.ledger, &self.steps);
        if with_steps {
            let more = STEP_COLUMNS.map(|column| format!("s.{column}")).join(", ");
            format!(
                "SELECT {own}, {more} FROM {ledger} AS l
                 LEFT JOIN {steps} AS s ON s.version = l.version ORDER BY l.version"
            )
        } else {
            format!("SELECT {own} FROM {ledger} AS l ORDER BY l.version")
        }
    }

    /// Creates the tables.
    pub(super) fn create(&self) -> [String; 3] {
        let names = [&*self.ledger, &*self.steps, &*self.instances];
        create(names, &ledger::MYSQL).map(|sql| sql.trim_end_matches(';').to_owned())
    }

    /// Enters a file as begun. Its time is that of its end less this one's.
    pub(super) fn enter(&self, file: &File) -> String {
        let version = file.version();
        let description = text(file.description());
        let checksum = hex(file.checksum());
        let table = &self.ledger;
        format!(
            "INSERT INTO {table} (version, description, success, checksum, execution_time)
             VALUES ({version}, {description}, FALSE, x'{checksum}', -{NANOSECONDS})"
        )
    }

    /// Makes room for a file's mark.
    pub(super) fn enter_mark(&self, file: &File) -> String {
        let (table, version) = (&self.steps, file.version());
        format!("INSERT IGNORE INTO {table} (version) VALUES ({version})")
    }

    /// Writes how far a file has come. `before` is an expression for the server.
    pub(super) fn mark(&self, file: &File, mark: &Mark, before: &str) -> String {
        let (table, version) = (&self.steps, file.version());
        let requires = file.requires().map_or("NULL".into(), |r| r.to_string());
        let Mark {
            done,
            digest,
            begun,
            ..
        } = mark;
        format!(
            "UPDATE {table} SET requires = {requires}, steps_done = {done},
                 steps_digest = '{digest}', step_begun = {begun}, step_before = {before},
                 updated_at = CURRENT_TIMESTAMP
             WHERE version = {version}"
        )
    }

    /// Writes that a file is applied.
    pub(super) fn finish(&self, file: &File) -> String {
        let (table, version) = (&self.ledger, file.version());
        let checksum = hex(file.checksum());
        format!(
            "UPDATE {table} SET success = TRUE, checksum = x'{checksum}',
                 execution_time = GREATEST(0, execution_time + {NANOSECONDS})
             WHERE version = {version}"
        )
    }

    /// Takes a file out of the tables of which nothing is done.
    pub(super) fn withdraw(&self, file: &File) -> [String; 2] {
        let (ledger, steps, version) = (&self.ledger, &self.steps, file.version());
        [
            format!("DELETE FROM {steps} WHERE version = {version}"),
            format!("DELETE FROM {ledger} WHERE version = {version} AND NOT success"),
        ]
    }
}

/// A text as a literal that means the same whatever `sql_mode` and the character sets are.
pub(super) fn text(text: &str) -> String {
    format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
}

/// A name in quotes.
fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_survive_the_way_into_sql() {
        assert_eq!(text("it's"), "_utf8mb4 x'69742773'");
        assert_eq!(name("a`b"), "`a``b`");
    }
}
