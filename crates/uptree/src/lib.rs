//! Uptree boots a Tokio service the way OTP boots an application: as an ordered list of supervised
//! children.
//!
//! The HTTP endpoint comes first, so that `/alive` answers at once; then the database pool; then a
//! migrator, which must succeed before anything that needs the schema starts; then the app's own
//! children; last `Ready`, which flips `/ready` and lets traffic in. Children are restarted, or
//! the service stops, by OTP's strategies.
//!
//! This crate re-exports the others: start at [`prelude`], [`main`] and [`App`].
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `http` | the endpoint, its probes and its drain | yes |
//! | `tls` | HTTPS; TLS to a database is a feature of uptree-sqlx | no |
//! | `grpc` | gRPC health checking on the endpoint's port | no |
//! | `kubernetes` | the commands `manifest` and `check` | yes |
//! | `sqlite` | pool and migrator on SQLite | yes |
//! | `postgres` | pool and migrator on Postgres | yes |
//! | `mysql` | pool and migrator on MySQL and MariaDB | no |
//!
//! A service has the command `plan`, and by these features `healthcheck`, `manifest`, `check` and `migrate`.

mod commands;

pub use commands::{Commands, main, main_with};
pub use uptree_app::*;
#[cfg(feature = "http")]
pub use uptree_http as http;
#[cfg(feature = "kubernetes")]
pub use uptree_kubernetes as kubernetes;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use uptree_sqlx as sqlx;

/// What a service's `main` and its children use.
pub mod prelude {
    pub use uptree_app::{
        App, Backoff, BoxError, Child, Context, DynamicSupervisor, Exit, IntoChild,
        PartitionSupervisor, Restart, Result, Shutdown, Starting, Strategy, Supervisor,
        TaskSupervisor, once, parallel, service, worker,
    };
    #[cfg(feature = "http")]
    pub use uptree_http::{Endpoint, GoingAway, HttpSettings, Problem, Ready};
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub use uptree_sqlx::{DatabaseSettings, Migrator, Repo};
}
