//! Waiting for what cannot tell when it happens.

use std::thread;
use std::time::{Duration, Instant};

/// Calls `attempt` until it answers `Some`, and returns what is in it.
///
/// Fails the test when the time is up. Prefer what can be waited for, as
/// [`Service::wait_for_line`](crate::Service::wait_for_line) does: this one looks again every 10
/// ms.
#[track_caller]
pub fn eventually<T>(timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "it did not happen within {timeout:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
