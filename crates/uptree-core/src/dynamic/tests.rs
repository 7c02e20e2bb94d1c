//! Tables say what the machine does, the walk says what it never does; both are needed.

mod auto_shutdown;
mod calls;
mod restarts;
mod shutdown;
mod walk;

use super::*;
use crate::testing::{
    Call, Machine,
    player::{Player, specs},
};

impl Machine for DynamicSupervisor {
    fn tell(&mut self, event: Event, now: Duration, out: &mut impl FnMut(Note)) -> Option<Action> {
        self.step(event, now, out)
    }

    fn serve(&mut self, call: Call, out: &mut impl FnMut(Note)) -> Result<Option<Action>, Refusal> {
        match call {
            Call::Start(spec) => self.start_child(spec).map(Some),
            Call::Terminate(i) => Ok(self.terminate_child(i, out)),
            Call::Ask => Ok(None),
            Call::Restart(_) | Call::Delete(_) => panic!("it has no such call"),
        }
    }

    fn incarnation(&self, child: Index) -> Incarnation {
        self.incarnation(child)
    }

    fn audit(&self) {
        let mut free = vec![false; self.children.len()];
        for &i in &self.free {
            assert!(!free[i], "{i} is free twice\n{self:#?}");
            free[i] = true;
        }
        let mut counts = Counts::default();
        let (mut up, mut booting, mut significant) = (0, 0, 0);
        for (&child, free) in self.children.iter().zip(free) {
            let Child {
                kind,
                significant: counts_as,
                state,
                ..
            } = child;
            assert_eq!(free, state == State::Free, "{self:#?}");
            if free {
                continue;
            }
            counts.add(kind);
            counts.active += usize::from(state == State::Running);
            booting += usize::from(state == State::Starting(Why::Boot));
            up += match state {
                State::Starting(_) | State::Running | State::Stopping | State::CalledOff => 1,
                State::Failed | State::BackingOff | State::Stuck | State::Free => 0,
            };
            significant += match state {
                _ if !counts_as => 0,
                State::Starting(_) | State::Running | State::Failed | State::BackingOff => 1,
                State::Stopping | State::CalledOff | State::Stuck | State::Free => 0,
            };
        }
        assert_eq!(self.counts(), counts, "{self:#?}");
        assert_eq!(self.up, up, "{self:#?}");
        assert_eq!(self.significant, significant, "{self:#?}");
        if self.ending.is_none() {
            assert_eq!(self.booting, booting, "{self:#?}");
        }
    }
}

/// One restart in five seconds is allowed.
fn supervisor(children: &str) -> DynamicSupervisor {
    let intensity = Intensity::new(1, Duration::from_secs(5));
    DynamicSupervisor::new(intensity, specs(children))
}

fn booted(machine: DynamicSupervisor) -> Player<DynamicSupervisor> {
    let len = machine.children.len();
    Player::new(machine).booted(len)
}
