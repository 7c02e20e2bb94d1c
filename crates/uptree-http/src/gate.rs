//! Whether the app's routes are served: the one word that [`Ready`](crate::Ready) says and every
//! request reads.

use std::sync::atomic::{AtomicU8, Ordering};

/// How far the service is let into, or out of, the world.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Stage {
    /// `Ready` does not run: the boot goes on, or the tree is being restarted behind the endpoint.
    Starting,
    /// `Ready` runs: every route is served.
    Open,
    /// Asked to stop, and requests are served as always while the word spreads; `/ready` says no.
    Draining,
    /// Routes are served on connections that were open before; new ones get 503.
    LastCall,
    /// No request is let in; those in flight are finished.
    Stopping,
}

/// The stage, shared by every connection: read by each request, written a few times in a life.
#[derive(Debug)]
pub(crate) struct Gate {
    stage: AtomicU8,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        // SeqCst, here and in `set`: a request counts itself, then reads the stage; the drain sets
        // the stage, then reads the count. One of the two must see the other.
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Starting,
            1 => Stage::Open,
            2 => Stage::Draining,
            3 => Stage::LastCall,
            _ => Stage::Stopping,
        }
    }

    pub(crate) fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    /// Whether a request is let in; `late` if its connection was opened after the last call.
    pub(crate) fn admits(&self, late: bool) -> bool {
        match self.stage() {
            Stage::Open | Stage::Draining => true,
            Stage::LastCall => !late,
            Stage::Starting | Stage::Stopping => false,
        }
    }

    /// Opens the gate for as long as the guard lives.
    pub(crate) fn open(&self) -> Opened<'_> {
        self.set(Stage::Open);
        Opened { gate: self }
    }
}

/// Closes the gate when dropped, however its holder ends.
#[must_use = "the gate closes when this is dropped"]
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    gate: &'a Gate,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let closed = match self.gate.stage() {
            // It will be opened again: a sibling took its holder down, or its holder crashed.
            Stage::Starting | Stage::Open => Stage::Starting,
            Stage::Draining | Stage::LastCall | Stage::Stopping => Stage::Stopping,
        };
        self.gate.set(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in() {
        let gate = Gate::new();
        for (stage, early, late) in [
            (Stage::Starting, false, false),
            (Stage::Open, true, true),
            (Stage::Draining, true, true),
            (Stage::LastCall, true, false),
            (Stage::Stopping, false, false),
        ] {
            gate.set(stage);
            assert_eq!(gate.stage(), stage);
            let admitted = (gate.admits(false), gate.admits(true));
            assert_eq!(admitted, (early, late), "{stage:?}");
        }
    }

    #[test]
    fn the_gate_is_closed_until_it_is_opened() {
        assert_eq!(Gate::new().stage(), Stage::Starting);
    }

    #[test]
    fn it_closes_with_its_holder() {
        for (left_at, closed) in [
            (Stage::Open, Stage::Starting),
            (Stage::Draining, Stage::Stopping),
            (Stage::LastCall, Stage::Stopping),
            (Stage::Stopping, Stage::Stopping),
        ] {
            let gate = Gate::new();
            let opened = gate.open();
            assert_eq!(gate.stage(), Stage::Open);
            gate.set(left_at);
            drop(opened);
            assert_eq!(gate.stage(), closed, "left at {left_at:?}");
        }
    }

    #[test]
    fn it_can_be_opened_again() {
        let gate = Gate::new();
        drop(gate.open());
        let _opened = gate.open();
        assert!(gate.admits(true));
    }
}
