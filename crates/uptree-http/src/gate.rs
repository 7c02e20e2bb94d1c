//! Whether the app's routes are served: the one word that [`Ready`](crate::Ready) says and every
//! request reads.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

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
    /// What is in flight is finished. No request is let in, but for those that are on their way on
    /// HTTP/2 connections whose clients have yet to hear that they are to go.
    Stopping,
    /// The drain is over: nothing is let in.
    Stopped,
}

/// What kind of connection a request comes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum From {
    /// It was opened after the last call.
    Late,
    /// It was open before.
    Early,
    /// It was open before, and ends by HTTP/2's GOAWAY: until that has been there and back, its
    /// client may begin requests in good faith. The drain waits for its end.
    Parting,
}

/// The stage, shared by every connection: read by each request, written a few times in a life.
#[derive(Debug)]
pub(crate) struct Gate {
    stage: AtomicU8,
    changed: Notify,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            changed: Notify::new(),
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
            4 => Stage::Stopping,
            _ => Stage::Stopped,
        }
    }

    pub(crate) fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Completes when the stage is set after this call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    #[cfg(feature = "grpc")]
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whether a request on such a connection is let in.
    pub(crate) fn admits(&self, from: From) -> bool {
        match self.stage() {
            Stage::Open | Stage::Draining => true,
            Stage::LastCall => from != From::Late,
            Stage::Stopping => from == From::Parting,
            Stage::Starting | Stage::Stopped => false,
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
            Stage::Draining | Stage::LastCall | Stage::Stopping | Stage::Stopped => Stage::Stopped,
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
        for (stage, late, early, parting) in [
            (Stage::Starting, false, false, false),
            (Stage::Open, true, true, true),
            (Stage::Draining, true, true, true),
            (Stage::LastCall, false, true, true),
            (Stage::Stopping, false, false, true),
            (Stage::Stopped, false, false, false),
        ] {
            gate.set(stage);
            assert_eq!(gate.stage(), stage);
            let admitted = [From::Late, From::Early, From::Parting].map(|from| gate.admits(from));
            assert_eq!(admitted, [late, early, parting], "{stage:?}");
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
            (Stage::Draining, Stage::Stopped),
            (Stage::LastCall, Stage::Stopped),
            (Stage::Stopping, Stage::Stopped),
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
        assert!(gate.admits(From::Late));
    }
}
