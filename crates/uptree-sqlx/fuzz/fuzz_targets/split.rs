//! Any text is split into statements in their order, with nothing lost between them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uptree_sqlx::fuzzing::{Dialect, hold_split};

fuzz_target!(|sql: &str| {
    for dialect in Dialect::ALL {
        hold_split(sql, dialect);
    }
});
