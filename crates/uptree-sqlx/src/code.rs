//! Migrations that are written in Rust.

use std::{any::Any, fmt, pin::Pin, sync::Arc};

use sqlx::Database;
use uptree_app::Result;

/// What a migration in Rust returns: a future that may borrow the connection.
pub(crate) type CodeFuture<'c> = Pin<Box<dyn Future<Output = Result> + Send + 'c>>;

/// A migration in Rust for one kind of database.
pub(crate) type CodeFn<Db> =
    dyn for<'c> Fn(&'c mut <Db as Database>::Connection) -> CodeFuture<'c> + Send + Sync;

/// A migration in Rust, of whichever database it is for.
#[derive(Clone)]
pub(crate) struct Code(Arc<dyn Any + Send + Sync>);

impl Code {
    pub(crate) fn new<Db: Database>(run: Box<CodeFn<Db>>) -> Self {
        Self(Arc::new(run))
    }

    /// The migration, if it is for this kind of database.
    pub(crate) fn of<Db: Database>(&self) -> Option<&CodeFn<Db>> {
        let run = self.0.downcast_ref::<Box<CodeFn<Db>>>()?;
        Some(&**run)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}
