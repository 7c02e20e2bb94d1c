//! Files for unit tests.

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

use crate::files::{File, Source};

/// Files with these texts, in this order.
pub(super) fn files(texts: &[&str]) -> Vec<File> {
    let migration = |(version, text): (i64, &&str)| {
        let no_tx = text.starts_with("-- no-transaction");
        let sql = AssertSqlSafe((*text).to_owned()).into_sql_str();
        Migration::new(version, "x".into(), MigrationType::Simple, sql, no_tx)
    };
    let migrations: Vec<_> = (1..).zip(texts).map(migration).collect();
    let loaded = Source::embedded(&migrations).load();
    loaded.expect("they are good files").files
}
