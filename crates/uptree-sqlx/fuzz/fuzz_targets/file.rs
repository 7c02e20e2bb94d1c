//! Any bytes are a file, or a message about one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uptree_sqlx::fuzzing::{Dialect, read};

fuzz_target!(|bytes: &[u8]| {
    for dialect in Dialect::ALL {
        for line in read("0001_file.sql", bytes.to_vec(), dialect) {
            assert!(!line.is_empty());
        }
    }
});
