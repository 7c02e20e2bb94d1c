//! What the tests of real databases and real processes share.
//!
//! | | |
//! |---|---|
//! | [`Database`] | an empty database of any kind; [`on_all!`] runs a test on each, [`on_both!`] without MariaDB |
//! | [`Postgres`], [`MariaDb`] | a server of the test's own, gone when the test is |
//! | [`PgBouncer`] | a pooler before such a Postgres server |
//! | [`Service`] | one of the examples' binaries: spawned, signalled, waited for, read line by line |
//! | [`Example`] | the example service on a free address, or one that only migrates |
//! | [`migrations`], [`slow`] | a folder for `MIGRATIONS_DIR`, and a file for it that takes its time |
//! | [`http`] | a blocking HTTP/1.1 client: single requests, kept connections, raw bytes |
//! | [`kubelet`] | runs, probes, kills and updates a service as Kubernetes does |
//! | [`load`] | clients that go on, and note what came of each request |
//! | [`Proxy`] | between a process and its database: counts round trips, delays, cuts at numbered points |
//! | [`Network`] | a network of the test's own, whose cable can be pulled |
//! | [`free_addr`] | an address that nothing listens on, and no other test is given |
//! | [`eventually`] | tries again until a value is there, or the time is up |
//!
//! All of it blocks, and all of it fails the test by panicking with what it saw; only the HTTP
//! client answers with a `Result`, because a refused connection is often what a test wants to see.
//! `cargo xtask test` builds the binaries and installs the servers that tests need; after a change
//! to an example, `cargo build -p service` does the first.
//!
//! ```no_run
//! use std::time::Duration;
//! use uptree_tests::{Ended, Postgres, Service, Signal, eventually, free_addr, http};
//!
//! // #[test]
//! fn a_reading_is_stored() {
//!     let Some(postgres) = Postgres::start() else { return };
//!     let url = postgres.create_database("readings");
//!     let addr = free_addr();
//!     let envs = [("ADDR", addr.to_string()), ("DATABASE_URL", url)];
//!     let mut service = Service::spawn("service", envs);
//!
//!     // Until the endpoint listens, the request is refused and tried again.
//!     let alive = eventually(Duration::from_secs(5), || http::get(addr, "/alive").ok());
//!     assert_eq!(alive.status, 200);
//!     service.wait_for_line(|line| line.contains("service/ready"), Duration::from_secs(10));
//!     let reading = r#"{"sensor": "attic", "value": 21.5}"#;
//!     let answer = http::post_json(addr, "/readings", reading).unwrap();
//!     assert_eq!(answer.status, 202, "{}", answer.text());
//!
//!     service.signal(Signal::TERM);
//!     assert_eq!(service.wait(Duration::from_secs(5)), Ended::Code(0), "{}", service.stderr());
//!     assert_eq!(postgres.psql("readings", "SELECT count(*) FROM readings"), "1");
//! }
//! ```

#![allow(
    clippy::missing_panics_doc,
    reason = "a harness fails its test by panicking"
)]

#[cfg(doctest)]
mod book;
mod database;
mod eventually;
mod example;
mod folders;
pub mod http;
pub mod kubelet;
pub mod load;
mod mariadb;
mod migrations;
mod network;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod proxy;
mod server;

pub use database::{Database, Held, HeldFile, Sqlite};
pub use eventually::eventually;
pub use example::{Example, failure};
pub use mariadb::MariaDb;
pub use migrations::{migrations, slow};
pub use network::Network;
pub use pgbouncer::{PgBouncer, PoolMode};
pub use port::free_addr;
pub use postgres::Postgres;
pub use process::{Ended, Service, binary, command};
pub use proxy::{Cut, Proxy};
pub use rustix::process::Signal;
pub use server::Session;

/// Makes tests of functions that take a [`Database`]: for `fn it_works(database: &Database)` the
/// tests `it_works::on_sqlite` and `it_works::on_postgres`.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::Database;

            #[test]
            fn on_sqlite() {
                super::$name(&Database::sqlite());
            }

            #[test]
            fn on_postgres() {
                if let Some(database) = Database::postgres() {
                    super::$name(&database);
                }
            }
        })+
    };
}

/// As [`on_both!`], and the test `it_works::on_mariadb`.
#[macro_export]
macro_rules! on_all {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::Database;

            #[test]
            fn on_sqlite() {
                super::$name(&Database::sqlite());
            }

            #[test]
            fn on_postgres() {
                if let Some(database) = Database::postgres() {
                    super::$name(&database);
                }
            }

            #[test]
            fn on_mariadb() {
                if let Some(database) = Database::mariadb() {
                    super::$name(&database);
                }
            }
        })+
    };
}
