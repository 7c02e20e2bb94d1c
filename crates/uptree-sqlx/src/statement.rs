//! What a statement is, by its words.
//!
//! It decides how long a statement may wait for a lock, whether it is run in a transaction, and how
//! a session finds out whether it was done. It knows the words that matter for that, and is no
//! parser: what it does not know is [`Kind::Dml`], which is run as it stands.

mod alter;
mod cursor;
mod ddl;
mod mysql;
mod name;
mod postgres;
mod sqlite;

use self::cursor::Cursor;
pub(crate) use self::name::Name;
use crate::split::{Dialect, statements};

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// From its first word to its last: without its semicolon, and comments before that.
    pub(crate) sql: &'a str,
    /// Where it begins in the file, in bytes.
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    traits: Traits,
}

/// What does not follow from the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) needs_no_transaction: bool,
    pub(crate) commits_implicitly: bool,
}

/// The statements of `sql` in their order.
pub(crate) fn parse(sql: &str, dialect: Dialect) -> Vec<Statement<'_>> {
    let statement = |range: std::ops::Range<usize>| Statement::new(sql, range, dialect);
    statements(sql, dialect).map(statement).collect()
}

impl<'a> Statement<'a> {
    fn new(file: &'a str, range: std::ops::Range<usize>, dialect: Dialect) -> Self {
        let at = range.start;
        let sql = &file[range];
        let mut cursor = Cursor::new(sql, dialect);
        let mut traits = Traits::default();
        let kind = match dialect {
            Dialect::Postgres => postgres::classify(&mut cursor, &mut traits),
            Dialect::Sqlite => sqlite::classify(&mut cursor, &mut traits),
            Dialect::MySql => mysql::classify(&mut cursor, &mut traits),
        };
        Self {
            sql,
            at,
            kind,
            traits,
        }
    }

    /// Whether the server may refuse it in a transaction.
    ///
    /// On Postgres `ALTER TYPE .. ADD VALUE` is among them, which only those before 12 refuse.
    pub(crate) fn needs_no_transaction(&self) -> bool {
        self.traits.needs_no_transaction
    }

    /// `ALTER TYPE .. ADD VALUE`.
    pub(crate) fn adds_enum_value(&self) -> bool {
        match &self.kind {
            Kind::Ddl(ddl) => ddl.object == Object::Type && self.traits.needs_no_transaction,
            _ => false,
        }
    }

    /// Whether it may end the transaction that it is run in: on MySQL, where there is no other way
    /// for DDL, and where nobody knows what a routine does.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code))]
    pub(crate) fn commits_implicitly(&self) -> bool {
        self.traits.commits_implicitly
    }

    /// How long it may wait for a lock.
    pub(crate) fn pace(&self) -> Pace {
        match &self.kind {
            Kind::Ddl(ddl) if ddl.strong => Pace::Hurried,
            Kind::Ddl(_) | Kind::Dml => Pace::Ordinary,
            Kind::Patient(_) => Pace::Patient,
            Kind::Settings { .. } | Kind::Transaction(_) => Pace::Unset,
        }
    }
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes the schema, or takes a lock on a table by name.
    Ddl(Ddl),
    /// `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `COPY`, `SELECT`, `WITH`, `DO`, `CALL`, and whatever is not known.
    Dml,
    /// It waits as long as it takes, and nobody has to wait behind it meanwhile.
    Patient(Patient),
    /// `SET`, `RESET`, `SELECT set_config(..)`, `PRAGMA`.
    Settings {
        /// Whether it says how long to wait for a lock.
        lock_timeout: bool,
    },
    /// It begins or ends a transaction, or a part of one.
    Transaction(Control),
}

/// How long a statement may wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A moment: reads or writes queue up behind it.
    Hurried,
    /// Long, but not for ever.
    Ordinary,
    /// As long as it takes.
    Patient,
    /// It takes no lock: there is nothing to set before it.
    Unset,
}

/// A statement that changes the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word that is there or is not"
)]
pub(crate) struct Ddl {
    pub(crate) verb: Verb,
    pub(crate) object: Object,
    /// What it is done to, as `a` and `b` of `DROP TABLE a, b`; empty for an index without a name.
    pub(crate) names: Vec<Name>,
    /// The table of an index, trigger, rule or policy; the referenced ones are not told.
    pub(crate) table: Option<Name>,
    /// The new name, of a renaming.
    pub(crate) to: Option<Name>,
    /// The parts of an `ALTER`.
    pub(crate) actions: Vec<Action>,
    /// `OR REPLACE`.
    pub(crate) replaces: bool,
    /// `IF EXISTS`, `IF NOT EXISTS`.
    pub(crate) conditional: bool,
    pub(crate) temporary: bool,
    pub(crate) unique: bool,
    /// Whether it may take a lock on a table, other than one that it makes, at which ordinary reads
    /// or writes wait: on Postgres one that conflicts with `ROW EXCLUSIVE`. `SHARE UPDATE
    /// EXCLUSIVE`, which is next to it in the manual's order, does not: it keeps out its like,
    /// vacuum and index builds, and nobody queues behind it.
    pub(crate) strong: bool,
}

impl Ddl {
    pub(crate) fn name(&self) -> Option<&Name> {
        self.names.first()
    }
}

/// One part of an `ALTER`, such as `ADD COLUMN a int`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) verb: Verb,
    pub(crate) object: Object,
    pub(crate) name: Option<Name>,
    /// The new name, of a renaming.
    pub(crate) to: Option<Name>,
    /// `IF EXISTS`, `IF NOT EXISTS`.
    pub(crate) conditional: bool,
    lock: ActionLock,
}

/// How an action is kept from what others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActionLock {
    Strong,
    /// Nobody waits who reads or writes.
    Weak,
    /// `CONCURRENTLY`, of a partition that is detached.
    Concurrently,
    /// `FINALIZE`, of a partition that is detached.
    Finalize,
}

/// A statement that has all the time it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patient {
    pub(crate) task: Task,
    /// What it is done to: of `CREATE INDEX` the index, of others the table. There is none for an
    /// index without a name, and for a whole database.
    pub(crate) name: Option<Name>,
    /// The table of an index; the partition that is detached.
    pub(crate) table: Option<Name>,
    /// `IF EXISTS`, `IF NOT EXISTS`.
    pub(crate) conditional: bool,
    pub(crate) unique: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// `CREATE INDEX CONCURRENTLY`.
    CreateIndex,
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex,
    /// `REINDEX .. CONCURRENTLY` of this.
    Reindex(Object),
    /// `ALTER TABLE .. VALIDATE CONSTRAINT`, and nothing else.
    Validate,
    /// `ALTER TABLE .. DETACH PARTITION .. CONCURRENTLY`, or `FINALIZE`.
    Detach,
    /// `REFRESH MATERIALIZED VIEW CONCURRENTLY`.
    Refresh,
    /// `VACUUM`, but not `FULL`.
    Vacuum,
    Analyze,
}

/// What a statement begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Begin,
    Commit,
    Rollback,
    /// `SAVEPOINT`.
    Savepoint,
    /// `RELEASE`.
    Release,
    /// `ROLLBACK TO`.
    RollbackTo,
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`, `XA`.
    Prepared,
    /// `SET TRANSACTION`, `SET CONSTRAINTS`.
    Set,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Alter,
    Add,
    Drop,
    Rename,
    Truncate,
    Lock,
    Comment,
    Grant,
    Revoke,
    Refresh,
    Reindex,
    Rewrite,
    Validate,
    Attach,
    Detach,
    Other,
}

/// What something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Table,
    Column,
    Index,
    Constraint,
    View,
    MaterializedView,
    Sequence,
    Routine,
    Trigger,
    Event,
    Rule,
    Policy,
    Partition,
    Type,
    Domain,
    Schema,
    Database,
    Tablespace,
    Extension,
    Role,
    /// `DROP OWNED BY`.
    Owned,
    Statistics,
    Publication,
    Subscription,
    System,
    Other,
}

#[cfg(test)]
mod tests;
