//! The database pool and its migrator, as children of a supervision tree.
//!
//! | | |
//! |---|---|
//! | [`Repo`] | a pool of connections: a handle, and the child that fills it |
//! | [`Migrator`] | a child that brings the schema up to date before those after it start |
//! | [`Migrate`] | a command, `SERVICE migrate`: plan, status, up and the rest |
//! | [`DatabaseSettings`], [`MigrateSettings`] | `DATABASE_URL`, `MIGRATE` and the others, by flag or environment |
//! | [`is_unavailable`], [`is_rejected`] | what an error means for whoever asked |
//!
//! # Features
//!
//! `postgres` and `sqlite`, both by default, and `mysql`, which is MySQL and MariaDB: the databases,
//! one of which there must be. `tls`:
//! connections by TLS, with rustls and the system's certificates; off by default, because it is
//! twelve crates more, ring among them, and a database on the same host does not need it. Without
//! it `sslmode=prefer`, which is the default, connects without TLS, and `require` fails.
//!
//! # How it is made
//!
//! What to do is decided by one pure function, `plan`, from the ledger and the files. `migrate`
//! does it, and is the same for all databases; what a database must be able to do is the trait
//! `session::Session`, implemented in one file a database. Nothing here knows of HTTP.

#[cfg(not(any(feature = "postgres", feature = "sqlite", feature = "mysql")))]
compile_error!(
    "uptree-sqlx needs a database: one of its features `postgres`, `sqlite` and `mysql`"
);

mod activity;
mod backend;
mod classify;
mod code;
mod commands;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ledger;
mod lock_retry;
mod migrate;
mod migrator;
#[cfg(feature = "mysql")]
mod mysql;
mod place;
mod plan;
#[cfg(feature = "postgres")]
mod postgres;
mod pulse;
mod repo;
mod retry;
mod session;
mod settings;
mod split;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod steps;
mod target;
mod url;
mod wait;

pub use backend::{Backend, Native};
pub use classify::{is_rejected, is_unavailable};
pub use commands::Migrate;
pub use error::{ConnectError, DriverError, MigrateError, WrongDatabase};
pub use files::FileError;
pub use migrator::Migrator;
pub use place::Place;
pub use repo::Repo;
pub use settings::{DatabaseSettings, MigrateRole, MigrateSettings};
pub use url::{DatabaseUrl, UrlError};
