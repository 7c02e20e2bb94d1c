//! The HTTP endpoint, its probes, its gate and its drain, as children.
//!
//! [`Endpoint`] is the first child of a list: `/alive` answers before anything else has started,
//! and `/ready` and the app's routes answer 503. [`Ready`] is the last: when it starts, everything
//! before it has, and the routes are served. At a stop it comes first and drains: what is in
//! flight is finished while the rest of the tree still stands.
//!
//! The app's routes are an [`axum::Router`]. Whatever error leaves them is a [`Problem`]
//! (RFC 9457); [`Json`], [`Query`] and [`Path`] are axum's extractors with problems as rejections.
//!
//! This crate does not know what the routes need, nor what stands between endpoint and readiness.
//!
//! # Examples
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use uptree_app::{App, Exit};
//! use uptree_http::{Endpoint, HttpSettings, Ready};
//!
//! fn main() -> Exit {
//!     uptree_app::main(|http: HttpSettings| {
//!         let routes = Router::new().route("/hello", get(|| async { "hello" }));
//!         let endpoint = Endpoint::new(&http).routes(routes);
//!
//!         App::new("service")
//!             .child(endpoint.clone())
//!             .child(Ready::new(&endpoint))
//!     })
//! }
//! ```

mod admin;
mod away;
mod body;
mod connection;
mod connections;
mod drain;
mod endpoint;
mod events;
mod extract;
mod gate;
#[cfg(feature = "grpc")]
mod grpc;
mod healthcheck;
mod limit;
mod limits;
mod mend;
mod meters;
mod notice;
mod probes;
mod problem;
mod ready;
mod requests;
mod serve;
mod settings;
mod socket;
mod spoken;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod tls_error;

pub use admin::{AdminAddr, AdminSettings};
pub use away::GoingAway;
pub use endpoint::{Endpoint, EndpointError};
pub use extract::{Json, Path, Query};
pub use healthcheck::Healthcheck;
pub use problem::Problem;
pub use ready::{Ready, ReadyError};
pub use settings::HttpSettings;
pub use tls_error::TlsError;
