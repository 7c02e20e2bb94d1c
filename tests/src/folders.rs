//! Where Cargo put this test, and so everything else that it built.

use std::env;
use std::path::PathBuf;

/// The folder of the profile that this test was built with, such as `target/debug`.
pub(crate) fn profile() -> PathBuf {
    // A test binary is in `target/<profile>/deps`.
    let exe = env::current_exe().expect("the system knows which binary this is");
    let folder = exe
        .ancestors()
        .nth(2)
        .expect("a test binary is two folders down");
    folder.to_owned()
}

/// A folder inside `target` that outlives a test: for what tests share.
pub(crate) fn shared() -> PathBuf {
    let folder = profile().join("../tests");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder.canonicalize().expect("it was just made")
}
