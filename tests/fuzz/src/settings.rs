//! Any words are settings, or a message about each that is not.

use std::ffi::OsString;

use uptree_app::fuzzing::{Said, read};
use uptree_http::HttpSettings;

/// The settings that an endpoint's service has, by which a text is split: the first byte of each
/// line says which one it is, the rest is its value.
const FLAGS: [&str; 14] = [
    "addr",
    "body-limit",
    "drain-delay",
    "drain-limit",
    "probe-detail",
    "admin-addr",
    "admin-token",
    "metrics-addr",
    "tls-cert",
    "tls-key",
    "start-timeout",
    "stop-budget",
    "stall-limit",
    "rust-log",
];

/// Reads settings as a service does at its start.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let mut words: Vec<OsString> = vec!["service".into()];
    for line in text.split('\n') {
        let mut chars = line.chars();
        let flag = chars
            .next()
            .and_then(|it| FLAGS.get(it.to_digit(16)? as usize));
        // As it is, or a setting's value.
        let word = flag.map_or_else(
            || line.to_owned(),
            |flag| format!("--{flag}={}", chars.as_str()),
        );
        // It would be printed.
        if word == "help" || word == "--help" || word.starts_with("-h") {
            return;
        }
        words.push(word.into());
    }
    match read::<HttpSettings>(words) {
        Said::Settings(_, bad) => assert!(bad.iter().all(|it| !it.is_empty())),
        Said::Failure(text) => assert!(!text.is_empty()),
        Said::Help => panic!("nobody has asked for it"),
    }
}
