//! The SQL that a migrating session sends. Pure.

use crate::ledger::{self, COLUMNS, Instance, Mark, Names, STEP_COLUMNS, Types, create, hex};
use crate::{files::File, session::Entry};

/// What has the server notice that its client is gone, each only where the server has the setting:
/// within a second if it has died, and within 10 s if it is cut off in silence. With a
/// `tcp_user_timeout` it is that, and not the count, which says when a connection is lost; it is
/// noticed a second later.
const KEEP: [(&str, &str); 5] = [
    ("client_connection_check_interval", "1000"),
    ("tcp_keepalives_idle", "3"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "7000"),
];

/// What a role may have set for its own short statements.
const UNLIMITED: [&str; 3] = [
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
];

/// The tables' names as SQL has them.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    names: Names,
    /// Whether the schema that is named is there.
    pub(super) has_schema: bool,
    pub(super) ledger: String,
    pub(super) steps: String,
    pub(super) instances: String,
}

impl Tables {
    pub(super) fn new(names: &Names) -> Self {
        let qualified = |table: &str| match &names.schema {
            Some(schema) => format!("{schema}.{table}"),
            None => table.to_owned(),
        };
        Self {
            ledger: qualified(&names.ledger),
            steps: qualified(&names.steps),
            instances: qualified(&names.instances),
            names: names.clone(),
            has_schema: false,
        }
    }

    /// Names their schema, quoted as SQL has it: from now on a file may change the search path.
    pub(super) fn qualify(&mut self, schema: &str) {
        if self.names.schema.is_none() {
            self.ledger = format!("{schema}.{}", self.names.ledger);
            self.steps = format!("{schema}.{}", self.names.steps);
            self.instances = format!("{schema}.{}", self.names.instances);
        }
    }

    /// Who this session is, and which of the tables there are: pid, database, whether the ledger
    /// exists, and whether both others do.
    ///
    /// Whoever is about to write needs to know more: the ledger's schema or the one that it would be
    /// made in, and whether that exists. It costs the server more than all the rest.
    pub(super) fn orientation(&self, writes: bool) -> String {
        let [ledger, steps, instances] = [&self.ledger, &self.steps, &self.instances].map(literal);
        let looks = format!(
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_database()::text,
                    pg_catalog.to_regclass({ledger}) IS NOT NULL,
                    pg_catalog.to_regclass({steps}) IS NOT NULL
                        AND pg_catalog.to_regclass({instances}) IS NOT NULL"
        );
        if !writes {
            return looks;
        }
        let own = match &self.names.schema {
            Some(schema) => literal(schema),
            None => "pg_catalog.current_schema()".to_owned(),
        };
        format!(
            "{looks},
                    pg_catalog.quote_ident(coalesce(
                        (SELECT nspname::text FROM pg_catalog.pg_class AS c
                         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                         WHERE c.oid = pg_catalog.to_regclass({ledger})), {own})),
                    pg_catalog.to_regnamespace({own}::text) IS NOT NULL"
        )
    }

    /// Enters a program in the table of instances.
    pub(super) fn register(&self, instance: &Instance) -> String {
        let (table, id, known) = (&self.instances, literal(&instance.id), instance.known);
        format!(
            "INSERT INTO {table} AS i (id, known) VALUES ({id}, {known})
             ON CONFLICT (id) DO UPDATE SET known = excluded.known, seen_at = excluded.seen_at"
        )
    }

    /// Forgets programs that have not booted for long.
    pub(super) fn forget_old(&self) -> String {
        let table = &self.instances;
        format!("DELETE FROM {table} WHERE seen_at < pg_catalog.now() - '30 days'::interval")
    }

    /// The rows of the ledger; those of the second table with it, if it is there.
    pub(super) fn rows(&self, with_steps: bool) -> String {
        // `bytea_output` is the role's to choose, the encoding of `encode` is not.
        let own = COLUMNS.map(|column| match column {
            "checksum" => "pg_catalog.encode(l.checksum, 'hex')".to_owned(),
            column => format!("l.{column}"),
        });
        let own = own.join(", ");
        let (ledger, steps) = (&self.ledger, &self.steps);
        if with_steps {
            let more = STEP_COLUMNS.map(|column| format!("s.{column}")).join(", ");
            format!(
                "SELECT {own}, {more}, s.version IS NOT NULL FROM {ledger} AS l
                 LEFT JOIN {steps} AS s ON s.version = l.version ORDER BY l.version"
            )
        } else {
            format!("SELECT {own} FROM {ledger} AS l ORDER BY l.version")
        }
    }

    /// Creates the tables.
    pub(super) fn create(&self, types: &Types) -> Vec<String> {
        // Who may not create schemas may not say so either, even if it is there.
        let schema = self.names.schema.as_ref().filter(|_| !self.has_schema);
        let schema = schema.map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        let tables = create([&self.ledger, &self.steps, &self.instances], types);
        let tables = tables.map(|sql| sql.trim_end_matches(';').to_owned());
        schema.into_iter().chain(tables).collect()
    }

    /// Enters a file as applied, before it is: its time is that of its end less this one's.
    pub(super) fn enter(&self, file: &File) -> String {
        self.insert(file, true, &format!("-{NANOSECONDS}"))
    }

    fn insert(&self, file: &File, success: bool, execution_time: &str) -> String {
        let version = file.version();
        let description = literal(file.description());
        let checksum = hex(file.checksum());
        let table = &self.ledger;
        format!(
            "INSERT INTO {table}
                 (version, description, installed_on, success, checksum, execution_time)
             SELECT {version}, {description}, pg_catalog.clock_timestamp(), {success}, \
                    pg_catalog.decode('{checksum}', 'hex'), {execution_time}"
        )
    }

    /// Writes how long a file has taken; and its whole row, if the file has taken that out, as those
    /// do that begin anew with one file in place of many.
    pub(super) fn timed(&self, file: &File) -> String {
        let (table, version) = (&self.ledger, file.version());
        let insert = self.insert(file, true, "0");
        format!(
            "WITH timed AS (
                 UPDATE {table} SET execution_time = execution_time + {NANOSECONDS}
                 WHERE version = {version} RETURNING version)
             {insert} WHERE NOT EXISTS (SELECT FROM timed)"
        )
    }

    /// Writes what a file requires of programs, if it does.
    pub(super) fn requires(&self, file: &File) -> Option<String> {
        let (table, version) = (&self.steps, file.version());
        let requires = file.requires()?;
        Some(format!(
            "INSERT INTO {table} AS s (version, requires) VALUES ({version}, {requires})
             ON CONFLICT (version) DO UPDATE SET requires = excluded.requires"
        ))
    }

    /// Writes how far a file has come that runs statement by statement, in both tables.
    pub(super) fn mark(&self, file: &File, mark: &Mark, entry: Entry) -> Vec<String> {
        let (ledger, steps, version) = (&self.ledger, &self.steps, file.version());
        if mark.is_blank() {
            return vec![
                format!("DELETE FROM {steps} WHERE version = {version}"),
                format!("DELETE FROM {ledger} WHERE version = {version} AND NOT success"),
            ];
        }
        let requires = file.requires().map_or("NULL".into(), |r| r.to_string());
        let (done, begun) = (mark.done, mark.begun);
        let digest = literal(&mark.digest);
        let before = mark.before.as_deref().map_or("NULL".into(), literal);
        let mut sql = Vec::new();
        if entry == Entry::New {
            let time = format!("-{NANOSECONDS}");
            sql.push(self.insert(file, mark.finished, &time));
        }
        sql.push(format!(
            "INSERT INTO {steps} AS s
                 (version, requires, steps_done, steps_digest, step_begun, step_before)
             VALUES ({version}, {requires}, {done}, {digest}, {begun}, {before})
             ON CONFLICT (version) DO UPDATE SET
                 requires = excluded.requires, steps_done = excluded.steps_done,
                 steps_digest = excluded.steps_digest, step_begun = excluded.step_begun,
                 step_before = excluded.step_before, updated_at = excluded.updated_at"
        ));
        if mark.finished {
            let checksum = hex(file.checksum());
            sql.push(format!(
                "UPDATE {ledger} SET success = TRUE,
                     checksum = pg_catalog.decode('{checksum}', 'hex'),
                     execution_time = greatest(0, execution_time + {NANOSECONDS})
                 WHERE version = {version}"
            ));
        }
        sql
    }
}

/// What tells, in one text, which process of the server it is and, after a space, what the ledger is
/// like: another than before if a row has come, gone or changed.
pub(crate) fn ledger_mark(names: &Names) -> String {
    let ledger = Tables::new(names).ledger;
    format!(
        "SELECT pg_catalog.pg_backend_pid() || ' ' || count(*) || ' ' ||
                coalesce(pg_catalog.sum(l.xmin::text::bigint), 0)
         FROM {ledger} AS l"
    )
}

/// What has no row if there is no ledger, or it may not be read; and is no error then.
pub(crate) fn ledger_readable(names: &Names) -> String {
    let ledger = literal(Tables::new(names).ledger);
    format!(
        "SELECT 'yes' FROM pg_catalog.pg_class
         WHERE oid = pg_catalog.to_regclass({ledger})
           AND pg_catalog.has_table_privilege(oid, 'SELECT')"
    )
}

/// The nanoseconds of the server's clock.
const NANOSECONDS: &str = "(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp()) * 1000000000)::bigint";

/// What sqlx says when it connects. A pooler says it by `SET`, which a `RESET` undoes.
const CONNECTED: [(&str, &str); 3] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
];

/// Has the server look after its client and not hurry it: for the transaction, or for the session.
///
/// `check` is false for a server whose system cannot look whether a client is there.
pub(super) fn keep(for_transaction: bool, check: bool) -> String {
    keep_but(for_transaction, check, "")
}

/// The same, but for what `said` has set already.
pub(super) fn keep_but(for_transaction: bool, check: bool, said: &str) -> String {
    let said = said.to_ascii_lowercase();
    let named = |(name, value): &(&'static str, &'static str)| (*name, *value);
    let settings = KEEP.iter().map(named);
    let settings = settings.filter(|(name, _)| check || !name.starts_with("client_"));
    let settings = settings.chain(UNLIMITED.map(|name| (name, "0")));
    let settings = settings.filter(|(name, _)| !said.contains(name));
    let settings: Vec<_> = settings
        .map(|(name, value)| {
            format!(
                "CASE WHEN pg_catalog.current_setting('{name}', true) IS NOT NULL
                      THEN pg_catalog.set_config('{name}', '{value}', {for_transaction}) END"
            )
        })
        .collect();
    format!("SELECT {}", settings.join(",\n"))
}

/// What a reset has undone that a pooler would say again before the next transaction.
pub(super) fn as_connected() -> String {
    let connected =
        CONNECTED.map(|(name, value)| format!("pg_catalog.set_config('{name}', '{value}', true)"));
    format!("SELECT {}", connected.join(", "))
}

/// Takes the locks for the transaction; fails, with a division by zero, if another has one of them.
pub(super) fn lock(key: i64) -> String {
    format!("SELECT 1 / ({})::int", lock_transaction(key))
}

/// The key of the lock that is between programs of this crate alone, given sqlx's.
fn own_key(key: i64) -> i64 {
    key ^ i64::from_be_bytes(*b"\0\0uptree")
}

/// Sees to it that this crate's own lock is held until the end of the transaction, whatever a file
/// has done to the session's; fails, with a division by zero, if another has it.
pub(super) fn hold(key: i64) -> String {
    let own = own_key(key);
    format!("SELECT 1 / pg_catalog.pg_try_advisory_xact_lock({own})::int")
}

/// Takes both locks for the transaction, and says whether it has them.
pub(super) fn lock_transaction(key: i64) -> String {
    let own = own_key(key);
    format!(
        "CASE WHEN pg_catalog.pg_try_advisory_xact_lock({own})
              THEN pg_catalog.pg_try_advisory_xact_lock({key}) ELSE false END"
    )
}

/// Takes both locks for the session, or neither, and says which.
pub(super) fn lock_session(key: i64) -> String {
    let (own, sqlx) = (own_key(key), lock_sqlx(key));
    format!(
        "CASE WHEN NOT pg_catalog.pg_try_advisory_lock({own}) THEN false
              WHEN {sqlx} THEN true
              ELSE NOT pg_catalog.pg_advisory_unlock({own}) END"
    )
}

/// Takes sqlx's lock for the session, and says whether it has it.
pub(super) fn lock_sqlx(key: i64) -> String {
    format!("pg_catalog.pg_try_advisory_lock({key})")
}

/// Gives up sqlx's lock.
pub(super) fn unlock_sqlx(key: i64) -> String {
    format!("SELECT pg_catalog.pg_advisory_unlock({key})")
}

/// Whether a row of `pg_locks` is about one of the locks.
pub(super) fn is_ours(key: i64) -> String {
    let own = own_key(key);
    format!(
        "locktype = 'advisory' AND objsubid = 1
         AND (classid::bigint << 32) | objid::bigint IN ({key}, {own})
         AND database = (SELECT oid FROM pg_catalog.pg_database
                         WHERE datname = pg_catalog.current_database())"
    )
}

/// A file may have another role than its connection's; the ledger is written as the latter. It
/// lasts until the transaction ends.
pub(super) const AS_OURSELVES: [&str; 2] = [
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL role = DEFAULT",
];

/// What a file has set ends with it, and so do its constraints.
pub(super) const RESET: [&str; 5] = [
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET ROLE",
    "RESET ALL",
    // The driver does not take notifications for answers.
    "UNLISTEN *",
];

/// The columns' types.
pub(super) const TYPES: &Types = &ledger::POSTGRES;

/// A literal that means the same whatever `standard_conforming_strings` is.
pub(super) fn literal(text: impl AsRef<str>) -> String {
    let text = text.as_ref().replace('\\', r"\\").replace('\'', "''");
    format!("E'{text}'")
}

/// sqlx's key for the lock on a database.
pub(crate) fn lock_key(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32(database.as_bytes()))
}

/// CRC-32 as zip has it. A name is too short for a table to pay.
fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_the_one_that_sqlx_takes() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(lock_key("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }

    #[test]
    fn texts_survive_the_way_into_sql() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
    }
}
