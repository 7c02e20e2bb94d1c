//! What reads bytes from outside, each as a function that fails by panicking. `fuzz/` has a target
//! for each, and its corpus; the tests here play the corpus back.

#![allow(clippy::missing_panics_doc, reason = "that is how they tell")]

mod http;
mod manifest;
mod settings;

pub use http::http;
pub use manifest::manifest;
pub use settings::settings;
