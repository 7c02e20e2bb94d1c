//! What the numbers of MySQL's and MariaDB's errors mean.
//!
//! A SQLSTATE is often `HY000`, which says nothing, and `08S01` is a lost connection as well as a
//! packet that is too large.

use sqlx::mysql::MySqlDatabaseError;

pub(super) const TOO_MANY_CONNECTIONS: u16 = 1040;
pub(super) const DATABASE_DENIED: u16 = 1044;
pub(super) const ACCESS_DENIED: u16 = 1045;
pub(super) const UNKNOWN_DATABASE: u16 = 1049;
pub(super) const SYNTAX: u16 = 1064;
pub(super) const HOST_BLOCKED: u16 = 1129;
pub(super) const HOST_DENIED: u16 = 1130;
pub(super) const DUPLICATE_KEY: u16 = 1062;
pub(super) const NO_SUCH_TABLE: u16 = 1146;
/// Of a command, on a table or a column.
pub(super) const DENIED: [u16; 2] = [1142, 1143];
/// MariaDB cannot describe a table that others are about to change.
pub(super) const SKIPPED: u16 = 1684;
/// A lock was not had in time; a deadlock, which others come out of.
pub(super) const LOCKED: [u16; 3] = [1205, 1213, SKIPPED];
pub(super) const TOO_LARGE: u16 = 1153;
pub(super) const TOO_MANY_OF_USER: u16 = 1203;
pub(super) const LIMIT_OF_USER: u16 = 1226;
pub(super) const OLD_LOGIN: u16 = 1251;
pub(super) const OPTION_PREVENTS: u16 = 1290;
/// As MariaDB has it, for a user that is known by the system's login alone.
pub(super) const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
pub(super) const PASSWORD_EXPIRED: [u16; 2] = [1820, 1862];
pub(super) const ACCOUNT_LOCKED: [u16; 2] = [3118, 4151];

/// The number of a MySQL error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    let error: &MySqlDatabaseError = error.try_downcast_ref()?;
    Some(error.number())
}

/// Whether the same request may succeed later.
pub(crate) fn is_unavailable(error: &MySqlDatabaseError) -> bool {
    match error.number() {
        TOO_LARGE | OLD_LOGIN => false,
        // Disk full, out of memory, out of threads.
        1021 | 1037 | 1038 | 1041 | 1135 => true,
        // Out of connections; the server stops, or is offline; it ended an idle session.
        TOO_MANY_CONNECTIONS | TOO_MANY_OF_USER | LIMIT_OF_USER => true,
        1053 | 1079 | 3032 | 3168 | 3169 | 4031 => true,
        // MariaDB: the session was killed.
        1927 => true,
        // A lock was not had in time; NOWAIT; a deadlock; too many transactions.
        1205 | 1213 | 1637 | 3572 => true,
        // A statement that took too long: MySQL, MariaDB.
        1969 | 3024 => true,
        _ if is_read_only(error) => true,
        // Lost connections, and transactions that a cluster has rolled back.
        _ => is_of_class(error, &["08", "40"]),
    }
}

/// Whether the same request cannot succeed, because of its values.
pub(crate) fn is_rejected(error: &MySqlDatabaseError) -> bool {
    match error.number() {
        TOO_LARGE => true,
        // No value and no default; truncated; not a value of its type; no partition takes it; a
        // check constraint. MySQL gives some of them no class.
        1265 | 1364 | 1366 | 1526 | 3819 | 4025 => true,
        _ => is_of_class(error, &["22", "23"]),
    }
}

/// Whether the server takes no writes.
pub(crate) fn is_read_only(error: &MySqlDatabaseError) -> bool {
    match error.number() {
        // Other options prevent other things.
        OPTION_PREVENTS => {
            error.message().contains("read-only") || error.message().contains("read_only")
        }
        // In read-only mode; in a read-only transaction.
        1792 | 1836 => true,
        _ => false,
    }
}

fn is_of_class(error: &MySqlDatabaseError, classes: &[&str]) -> bool {
    let state = error.code().unwrap_or_default();
    classes.iter().any(|class| state.starts_with(class))
}
