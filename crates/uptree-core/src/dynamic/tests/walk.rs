use super::*;
use crate::{
    AutoShutdown::{AllSignificant, AnySignificant},
    Restart,
    testing::walk::{
        Bounds, Life, PERMANENT, TEMPORARY, TRANSIENT, Walked, World, at_least, lists,
    },
};

impl Walked for DynamicSupervisor {
    const IS_ORDERED: bool = false;

    fn known(&self) -> Vec<Index> {
        self.children().map(|(i, _)| i).collect()
    }

    fn restart(&self, child: Index) -> Restart {
        self.children[child].restart
    }

    fn ending(&self) -> Option<Outcome> {
        self.ending
    }

    fn calls(child: Index) -> Vec<Call> {
        vec![Call::Terminate(child)]
    }

    fn simplify(&mut self, renumber: impl Fn(Incarnation) -> Incarnation) {
        for i in 0..self.children.len() {
            self.children[i].number = renumber(self.incarnation(i)).number;
        }
        let Some(outcome) = &mut self.ending else {
            return;
        };
        *outcome = match outcome {
            Outcome::Stuck(_) => Outcome::Stuck(0),
            _ => Outcome::Shutdown,
        };
        self.intensity = Intensity::default();
        self.backoffs = Backoffs::default();
        self.free.sort_unstable();
    }

    fn check(world: &World<Self>, action: Option<Action>) {
        let machine = &world.machine;
        for &(it, _) in &world.pending {
            let asked = world.is_up(it.child) && it == machine.incarnation(it.child);
            assert!(asked, "not answered: {it:?}\n{world:#?}");
        }
        if action.is_some() {
            return;
        }
        let ending = machine.ending.is_some();
        assert!(!ending || world.count(Life::Asked) > 0, "stuck\n{world:#?}");
        assert!(
            machine.booted || machine.booting > 0 || ending,
            "stuck\n{world:#?}"
        );
        for (i, child) in machine.children.iter().enumerate() {
            let life = world.lives[i].1;
            let is_waiting = world.waits.contains(&machine.incarnation(i));
            let is_well = match child.state {
                State::Starting(_) => life == Life::Starting && !ending,
                State::Running => life == Life::Ready && !ending,
                State::Stopping | State::CalledOff => life == Life::Asked,
                State::Failed | State::BackingOff => !life.is_up() && (is_waiting || ending),
                State::Stuck => life == Life::Stuck && ending,
                State::Free => life == Life::Gone,
            };
            assert!(is_well, "{i} is forgotten\n{world:#?}");
        }
    }
}

/// One restart is allowed.
fn machine(specs: Vec<Spec>) -> DynamicSupervisor {
    DynamicSupervisor::new(Intensity::new(1, Duration::from_secs(5)), specs)
}

/// Every restart waits for its backoff.
fn failing(specs: Vec<Spec>) -> DynamicSupervisor {
    let second = Duration::from_secs(1);
    let mut machine = machine(specs).backoff(Some(Backoff::new(second, second)));
    for i in 0..machine.children.len() {
        _ = machine.backoffs.failed(i, Duration::ZERO);
    }
    machine
}

/// As they have no order, one list of those that differ in nothing else is enough.
fn unordered(len: usize, specs: &[Spec]) -> impl Iterator<Item = Vec<Spec>> {
    let rank = |spec: &Spec| specs.iter().position(|it| it == spec);
    let lists = lists(len, specs).into_iter();
    lists.filter(move |list| list.is_sorted_by_key(rank))
}

#[test]
fn four_children() {
    let lists = unordered(4, &[PERMANENT, TRANSIENT, TEMPORARY]);
    let machines = lists.flat_map(|list| [machine(list.clone()), failing(list)]);
    at_least(60_000, machines.map(|it| Bounds::default().walk(it)));
}

#[test]
fn three_children_and_a_fourth() {
    let all = [PERMANENT, TRANSIENT, TEMPORARY];
    let bounds = Bounds {
        calls: 1,
        children: 4,
        added: &all,
    };
    let machines = unordered(3, &all).map(failing);
    at_least(110_000, machines.map(|it| bounds.walk(it)));
}

#[test]
fn two_children_and_several_calls() {
    let bounds = Bounds {
        calls: 3,
        children: 2,
        added: &[PERMANENT, TEMPORARY],
    };
    let of_two = unordered(2, &[PERMANENT, TEMPORARY]);
    let lists = [Vec::new(), vec![TRANSIENT]].into_iter().chain(of_two);
    let machines = lists.map(failing);
    at_least(8_000, machines.map(|it| bounds.walk(it)));
}

#[test]
fn significant_children() {
    let significant = |spec| Spec {
        significant: true,
        ..spec
    };
    let all = [PERMANENT, significant(TRANSIENT), significant(TEMPORARY)];
    let bounds = Bounds {
        calls: 1,
        children: 3,
        added: &all[1..2],
    };
    let lists = unordered(3, &all);
    let machines = lists.flat_map(|list| {
        let of = |auto| machine(list.clone()).auto_shutdown(auto);
        [of(AnySignificant), of(AllSignificant)]
    });
    at_least(35_000, machines.map(|it| bounds.walk(it)));
}
