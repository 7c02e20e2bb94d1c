//! What a database's error means for whoever asked.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

/// Whether the database could not be asked, or could not answer now: the same request may succeed
/// later.
///
/// No connection from the pool in time, a closed pool, a lost connection; a server that starts,
/// stops, is out of room for connections or takes no writes now; a deadlock, a lock that was not
/// had in time, a serialisation failure; a file that is locked, full or cannot be read. A handler
/// answers 503, a writer tries again.
///
/// # Examples
///
/// ```
/// assert!(uptree_sqlx::is_unavailable(&sqlx::Error::PoolTimedOut));
/// assert!(!uptree_sqlx::is_unavailable(&sqlx::Error::RowNotFound));
/// ```
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => match Code::of(&**error) {
            Some(Code::SqlState(state)) => {
                ["08", "40", "53", "57P"].iter().any(|class| state.starts_with(class))
                    // Lock not available; a read-only server: a failover is under way.
                    || state == "55P03"
                    || state == "25006"
            }
            // BUSY, LOCKED, IOERR, FULL, CANTOPEN (also: no file descriptor left), PROTOCOL.
            Some(Code::Sqlite(code)) => matches!(code, 5 | 6 | 10 | 13 | 14 | 15),
            #[cfg(feature = "mysql")]
            Some(Code::MySql(error)) => crate::mysql::code::is_unavailable(error),
            None => false,
        },
        _ => false,
    }
}

/// Whether the database refuses the values for good: the same request cannot succeed.
///
/// SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation); SQLite's
/// constraint, mismatch and too big; what MySQL says of a value outside of these classes; a value
/// that the driver cannot encode. A batch is then split, to find which row it is.
///
/// # Examples
///
/// ```
/// assert!(!uptree_sqlx::is_rejected(&sqlx::Error::PoolTimedOut));
/// ```
pub fn is_rejected(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => match Code::of(&**error) {
            Some(Code::SqlState(state)) => state.starts_with("22") || state.starts_with("23"),
            // TOOBIG, CONSTRAINT, MISMATCH.
            Some(Code::Sqlite(code)) => matches!(code, 18..=20),
            #[cfg(feature = "mysql")]
            Some(Code::MySql(error)) => crate::mysql::code::is_rejected(error),
            None => false,
        },
        _ => false,
    }
}

/// Whether a SQLite file was locked by somebody else.
#[cfg(feature = "sqlite")]
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(Code::of);
    // PROTOCOL is a race for the first use of a WAL.
    matches!(code, Some(Code::Sqlite(5 | 6 | 15)))
}

/// Whether a server that could not be connected to may be reached later.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn may_be_reached(error: &sqlx::Error) -> bool {
    match error {
        // Not an address at all.
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidInput,
        // sqlx takes the end of the connection for an answer, when a Postgres dies just then.
        sqlx::Error::Protocol(what) => what.contains("SSLRequest: 0x00"),
        error => is_unavailable(error),
    }
}

/// Whether the server has no room for one more connection.
pub(crate) fn is_crowded(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(Code::of) {
        Some(Code::SqlState(state)) => state == "53300",
        _ => false,
    }
}

/// Whether the role may not do what was asked.
pub(crate) fn is_denied(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(Code::of) {
        Some(Code::SqlState(state)) => state == "42501",
        _ => false,
    }
}

/// Whether the database was opened to be read only, or is a copy that is.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(Code::of) {
        Some(Code::SqlState(state)) => state == "25006",
        Some(Code::Sqlite(code)) => code == 8,
        #[cfg(feature = "mysql")]
        Some(Code::MySql(error)) => crate::mysql::code::is_read_only(error),
        None => false,
    }
}

/// A database's code for its error.
enum Code<'a> {
    SqlState(Cow<'a, str>),
    /// SQLite's primary code: the low byte of the extended one.
    Sqlite(i32),
    /// A SQLSTATE tells little of a MySQL error: its number does.
    #[cfg(feature = "mysql")]
    MySql(&'a sqlx::mysql::MySqlDatabaseError),
}

impl<'a> Code<'a> {
    fn of(error: &'a dyn DatabaseError) -> Option<Self> {
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref() {
            return Some(Self::MySql(error));
        }
        let code = error.code()?;
        // A SQLSTATE has five characters; SQLite's extended codes have four digits at most. Through
        // `sqlx::Any` the type of the error does not say which database it is of.
        if code.len() == 5 {
            Some(Self::SqlState(code))
        } else {
            code.parse::<i32>()
                .ok()
                .map(|code| Self::Sqlite(code & 0xff))
        }
    }
}
