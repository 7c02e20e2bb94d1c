//! SIGTERM and SIGINT, taken on an OS thread: a runtime whose workers are all blocked cannot.

use std::{fmt, io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGTERM, by which a supervisor of processes asks.
    Term,
    /// SIGINT, by which somebody at a terminal asks.
    Int,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
        })
    }
}

/// Signals are taken from when this is made until it is dropped.
pub(crate) struct Taken {
    handle: Handle,
}

impl Taken {
    /// Takes the signals from here on; `tell` is called with each one, on a thread of its own,
    /// until it answers `false`.
    pub(crate) fn take(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let handle = signals.handle();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    let signal = match signal {
                        SIGTERM => Signal::Term,
                        _ => Signal::Int,
                    };
                    if !tell(signal) {
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
