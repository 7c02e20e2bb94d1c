//! axum's extractors with problems as rejections: what is wrong, and where.

mod json;
mod path;
mod query;

pub use json::Json;
pub use path::Path;
pub use query::Query;
