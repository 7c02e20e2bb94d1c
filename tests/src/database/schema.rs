//! What a migration can change in a database.

use super::Database;

const SQLITE: &str = "SELECT type, name, sql FROM sqlite_schema ORDER BY name, type";

/// Whether an index is valid is of its own: a build that was cut off leaves one that is not.
const POSTGRES: &str = "
    SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2;
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
    SELECT 'invalid', indexrelid::regclass::text FROM pg_index
        WHERE NOT (indisvalid AND indisready AND indislive) ORDER BY 2;
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2;
    SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prokind <> 'a' ORDER BY 1, 2;
    SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal ORDER BY 1, 2";

const MARIADB: &str = "
    SELECT table_name, ordinal_position, column_name, column_type, is_nullable, column_default,
            extra, collation_name
        FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2;
    SELECT table_name, index_name, seq_in_index, column_name, non_unique, index_type
        FROM information_schema.statistics WHERE table_schema = database() ORDER BY 1, 2, 3;
    SELECT table_name, constraint_name, constraint_type
        FROM information_schema.table_constraints WHERE table_schema = database() ORDER BY 1, 2;
    SELECT table_name, constraint_name, referenced_table_name, update_rule, delete_rule
        FROM information_schema.referential_constraints WHERE constraint_schema = database()
        ORDER BY 1, 2;
    SELECT table_name, view_definition
        FROM information_schema.views WHERE table_schema = database() ORDER BY 1;
    SELECT routine_name, routine_definition
        FROM information_schema.routines WHERE routine_schema = database() ORDER BY 1;
    SELECT trigger_name, event_object_table, action_statement
        FROM information_schema.triggers WHERE trigger_schema = database() ORDER BY 1";

impl Database {
    /// The versions in the ledger of migrations that are there and successful, such as `1 2 3`.
    pub fn ledger(&self) -> String {
        if !self.has_table("_sqlx_migrations") {
            return String::new();
        }
        let versions = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
        self.query(versions).replace('\n', " ")
    }

    /// Whether there is a table of this name.
    pub fn has_table(&self, name: &str) -> bool {
        let count = match self {
            Self::Sqlite(_) => format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'"),
            Self::Postgres(_) => {
                format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{name}')")
            }
            Self::MariaDb(_) => format!(
                "SELECT count(*) FROM information_schema.tables
                 WHERE table_schema = database() AND table_name = '{name}'"
            ),
        };
        self.query(&count) != "0"
    }

    /// All that a migration can change but the rows, as text: tables, columns, indexes and whether
    /// they are valid, constraints, functions, triggers, and the ledger without its times.
    pub fn schema(&self) -> String {
        let (schema, checksum) = match self {
            Self::Sqlite(_) => (SQLITE, "hex(checksum)"),
            Self::Postgres(_) => (POSTGRES, "encode(checksum, 'hex')"),
            Self::MariaDb(_) => (MARIADB, "hex(checksum)"),
        };
        let schema = self.query(schema);
        if !self.has_table("_sqlx_migrations") {
            return schema;
        }
        let ledger = format!(
            "SELECT version, description, success, {checksum} FROM _sqlx_migrations ORDER BY version"
        );
        format!("{schema}\n{}", self.query(&ledger))
    }
}
