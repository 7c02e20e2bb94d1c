//! How each database writes what commands write. Pure.

use crate::{
    files::File,
    ledger::{self, Names, Tables},
    split::Dialect,
};

/// How a database writes what commands write.
#[derive(Clone, Debug)]
pub(super) struct Words {
    dialect: Dialect,
    /// On Postgres; a schema of MySQL is a database, and is there.
    schema: Option<String>,
    pub(super) ledger: String,
    pub(super) steps: String,
    pub(super) instances: String,
}

impl Words {
    pub(super) fn new(names: &Names, dialect: Dialect) -> Self {
        let qualified = |table: &str| match &names.schema {
            Some(schema) => format!("{schema}.{table}"),
            None => table.to_owned(),
        };
        let schema = names.schema.clone();
        Self {
            dialect,
            schema: schema.filter(|_| dialect == Dialect::Postgres),
            ledger: qualified(&names.ledger),
            steps: qualified(&names.steps),
            instances: qualified(&names.instances),
        }
    }

    /// A literal.
    pub(super) fn text(&self, text: &str) -> String {
        match self.dialect {
            Dialect::Postgres => {
                let text = text.replace('\\', r"\\").replace('\'', "''");
                format!("E'{text}'")
            }
            Dialect::Sqlite => format!("'{}'", text.replace('\'', "''")),
            Dialect::MySql => format!("_utf8mb4 x'{}'", ledger::hex(text.as_bytes())),
        }
    }

    /// Bytes.
    pub(super) fn bytes(&self, bytes: &[u8]) -> String {
        let hex = ledger::hex(bytes);
        match self.dialect {
            Dialect::Postgres => format!("pg_catalog.decode('{hex}', 'hex')"),
            Dialect::Sqlite | Dialect::MySql => format!("x'{hex}'"),
        }
    }

    /// The query for the ledger's versions, times of application and nanoseconds taken.
    pub(super) fn times(&self) -> String {
        let (version, at, took) = match self.dialect {
            Dialect::Postgres => (
                "version::text",
                "to_char(installed_on AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
                "execution_time::text",
            ),
            Dialect::Sqlite => (
                "CAST(version AS TEXT)",
                "strftime('%Y-%m-%dT%H:%M:%SZ', installed_on)",
                "CAST(execution_time AS TEXT)",
            ),
            Dialect::MySql => (
                "CAST(version AS CHAR)",
                "DATE_FORMAT(installed_on, '%Y-%m-%dT%H:%i:%sZ')",
                "CAST(execution_time AS CHAR)",
            ),
        };
        format!("SELECT {version}, {at}, {took} FROM {}", self.ledger)
    }

    /// The query whether the ledger's schema is there, and what creates it. Who may not create
    /// schemas may not say `IF NOT EXISTS` either.
    pub(super) fn create_schema(&self) -> Option<[String; 2]> {
        let schema = self.schema.as_ref()?;
        let name = self.text(schema);
        Some([
            format!("SELECT 'there' FROM pg_catalog.pg_namespace WHERE nspname = lower({name})"),
            format!("CREATE SCHEMA {schema}"),
        ])
    }

    /// Creates the ledger and the tables beside it.
    pub(super) fn create(&self) -> Vec<String> {
        let types = match self.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => &ledger::POSTGRES,
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => &ledger::SQLITE,
            #[cfg(feature = "mysql")]
            Dialect::MySql => &ledger::MYSQL,
            #[allow(unreachable_patterns, reason = "there may be all of them")]
            _ => return Vec::new(),
        };
        let names = [&*self.ledger, &self.steps, &self.instances];
        ledger::create(names, types).into()
    }

    /// Enters a file as applied, as sqlx's own `skip` does: its time is -1.
    pub(super) fn enter(&self, file: &File) -> Vec<String> {
        let (ledger, steps, version) = (&self.ledger, &self.steps, file.version());
        let (description, checksum) = (self.text(file.description()), self.bytes(file.checksum()));
        let entry = format!(
            "INSERT INTO {ledger} (version, description, success, checksum, execution_time)
             VALUES ({version}, {description}, TRUE, {checksum}, -1)"
        );
        let requires = file.requires();
        let requires = requires.map(|requires| {
            format!("INSERT INTO {steps} (version, requires) VALUES ({version}, {requires})")
        });
        [entry].into_iter().chain(requires).collect()
    }

    /// Takes a migration out of the tables.
    pub(super) fn forget(&self, version: i64, tables: Tables) -> Vec<String> {
        let tables = match tables {
            Tables::All => &[&self.ledger, &self.steps][..],
            Tables::Sqlx | Tables::None => &[&self.ledger],
        };
        let delete = |table| format!("DELETE FROM {table} WHERE version = {version}");
        tables.iter().map(delete).collect()
    }
}
