//! What a database is like.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Definitions and data, without what is Uptree's own and without the ledger's times.
#[derive(Default)]
pub(crate) struct State {
    /// Definitions, by what they are of.
    pub(crate) objects: BTreeMap<String, String>,
    /// Data. The ledger is among them.
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) has_ledger: bool,
    /// The versions in the ledger that are there and successful.
    pub(crate) applied: Vec<i64>,
}

impl State {
    /// Adds a line, or more, to the definition of `name`.
    pub(crate) fn define(&mut self, name: impl Into<String>, text: &str) {
        let object = self.objects.entry(name.into()).or_default();
        if !object.is_empty() {
            object.push('\n');
        }
        object.push_str(text);
    }
}

/// The rows of a table: of each value only a digest, so that a big one can be kept.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Box<[u64]>>,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        let rows = Vec::new();
        Self { columns, rows }
    }

    pub(crate) fn push<T: Hash>(&mut self, row: impl IntoIterator<Item = T>) {
        self.rows.push(row.into_iter().map(digest).collect());
    }
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Whether it is one of the tables that Uptree keeps beside the ledger.
pub(crate) fn is_ours(table: &str) -> bool {
    table.starts_with("_uptree_") || table.starts_with("_sqlx_migrations_uptree")
}

pub(crate) const LEDGER: &str = "_sqlx_migrations";
/// What of the ledger must be the same.
pub(crate) const LEDGER_COLUMNS: &str = "version, description, success, checksum";
