//! The parts of the example service: what a reading is, how it is kept, and who writes it.

mod ingestion;
mod reading;
mod routes;
mod settings;
mod store;

pub use ingestion::Ingestion;
pub use routes::routes;
pub use settings::Settings;
