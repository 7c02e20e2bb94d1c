//! Tables say what the machine does, the walk says what it never does; both are needed.

mod auto_shutdown;
mod backoff;
mod boot;
mod calls;
mod restarts;
mod retries;
mod shutdown;
mod walk;

use std::iter::successors;

use super::*;
use crate::{
    Refusal,
    Strategy::{OneForAll, OneForOne, RestForOne},
    testing::{
        Call, Machine,
        player::{Player, specs},
    },
};

impl Machine for Supervisor {
    fn tell(&mut self, event: Event, now: Duration, out: &mut impl FnMut(Note)) -> Option<Action> {
        self.step(event, now, out)
    }

    fn serve(&mut self, call: Call, out: &mut impl FnMut(Note)) -> Result<Option<Action>, Refusal> {
        match call {
            Call::Start(spec) => self.start_child(spec).map(Some),
            Call::Restart(i) => self.restart_child(i).map(Some),
            Call::Terminate(i) => Ok(self.terminate_child(i, out)),
            Call::Delete(i) => self.delete_child(i, out).map(|()| None),
            Call::Ask => Ok(None),
        }
    }

    fn incarnation(&self, child: Index) -> Incarnation {
        self.incarnation(child)
    }

    fn audit(&self) {
        let mut known = vec![false; self.children.len()];
        let mut counts = Counts::default();
        let (mut significant, mut backing_off) = (0, 0);
        let mut before = None;
        for i in successors(self.order.first(), |&i| self.order.after(i)) {
            assert_eq!(self.order.before(i), before, "links of {i}\n{self:#?}");
            assert!(!known[i], "{i} is twice in the order\n{self:#?}");
            known[i] = true;
            before = Some(i);
            let child = self.children[i];
            let state = child.state;
            counts.add(child.kind);
            counts.active += usize::from(state == State::Running);
            backing_off += usize::from(state == State::BackingOff);
            significant += usize::from(child.significant && state != State::Down);
        }
        assert_eq!(self.order.last(), before, "{self:#?}");
        assert_eq!(self.counts(), counts, "{self:#?}");
        assert_eq!(self.significant, significant, "{self:#?}");
        assert_eq!(self.backing_off, backing_off, "{self:#?}");
        for &i in &self.free {
            assert!(!known[i], "{i} is free twice, or known\n{self:#?}");
            known[i] = true;
            assert_eq!(self.children[i].state, State::Free, "{self:#?}");
        }
        assert!(known.iter().all(|&known| known), "a lost slot\n{self:#?}");
    }
}

/// One restart in five seconds is allowed.
fn supervisor(strategy: Strategy, children: &str) -> Supervisor {
    let intensity = Intensity::new(1, Duration::from_secs(5));
    Supervisor::new(strategy, intensity, specs(children))
}

/// The same, booted.
fn booted(strategy: Strategy, children: &str) -> Player<Supervisor> {
    let machine = supervisor(strategy, children);
    let len = machine.children.len();
    Player::new(machine).booted(len)
}

/// The same, and so many restarts are allowed.
fn booted_with(restarts: usize, strategy: Strategy, children: &str) -> Player<Supervisor> {
    let mut machine = supervisor(strategy, children);
    machine.intensity = Intensity::new(restarts, Duration::from_secs(5));
    let len = machine.children.len();
    Player::new(machine).booted(len)
}
