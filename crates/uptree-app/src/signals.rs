//! SIGTERM and SIGINT, taken on an OS thread: a runtime whose workers are all blocked cannot.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

/// Signals are taken from when this is made until it is dropped.
pub(crate) struct Taken {
    handle: Handle,
}

impl Taken {
    /// Takes the signals from here on; `tell` is called with each one's name, on a thread of its
    /// own, until it answers `false`.
    pub(crate) fn take(
        mut tell: impl FnMut(&'static str) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let handle = signals.handle();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    let name = if signal == SIGTERM {
                        "SIGTERM"
                    } else {
                        "SIGINT"
                    };
                    if !tell(name) {
                        return;
                    }
                }
            })?;
        Ok(Self { handle })
    }
}

impl Drop for Taken {
    /// Ends the thread, which nobody else waits for.
    fn drop(&mut self) {
        self.handle.close();
    }
}
