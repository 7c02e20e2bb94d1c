use super::*;
use crate::{
    AutoShutdown::{AllSignificant, AnySignificant},
    testing::walk::{
        Bounds, Life, PERMANENT, TEMPORARY, TRANSIENT, Walked, World, at_least, lists,
    },
};

impl Walked for Supervisor {
    const IS_ORDERED: bool = true;

    fn known(&self) -> Vec<Index> {
        let order = successors(self.order.first(), |&i| self.order.after(i));
        order.take(self.children.len() + 1).collect()
    }

    fn restart(&self, child: Index) -> Restart {
        self.children[child].restart
    }

    fn ending(&self) -> Option<Outcome> {
        self.ending
    }

    fn calls(child: Index) -> Vec<Call> {
        vec![
            Call::Restart(child),
            Call::Terminate(child),
            Call::Delete(child),
        ]
    }

    fn simplify(&mut self, renumber: impl Fn(Incarnation) -> Incarnation) {
        for message in &mut self.mailbox {
            match message {
                Message::Exited(it) | Message::Retry(it) | Message::Waited(it) => {
                    *it = renumber(*it);
                }
                Message::Call => {}
            }
        }
        for i in 0..self.children.len() {
            self.children[i].number = renumber(self.incarnation(i)).number;
        }
        if !self
            .children
            .iter()
            .any(|child| child.state == State::Starting)
        {
            self.start_is_for = StartIsFor::Order;
        }
        let Some(outcome) = &mut self.ending else {
            return;
        };
        *outcome = match outcome {
            Outcome::Stuck(_) => Outcome::Stuck(0),
            _ => Outcome::Shutdown,
        };
        self.start_is_for = StartIsFor::Order;
        self.mailbox.clear();
        self.intensity = Intensity::default();
        self.backoffs = Backoffs::default();
        for child in &mut self.children {
            if let State::Exited(exit) = &mut child.state {
                *exit = Exit::Normal;
            }
        }
    }

    fn check(world: &World<Self>, action: Option<Action>) {
        let machine = &world.machine;
        let ending = machine.ending.is_some();
        let (starts, stops) = (world.count(Life::Starting), world.count(Life::Asked));
        let later = |i| successors(machine.order.after(i), |&i| machine.order.after(i));
        let all_down_after = |i| later(i).all(|i| !world.is_up(i));
        match action {
            Some(Action::Start(it)) => {
                assert_eq!((starts, stops), (0, 0), "{it:?}\n{world:#?}");
                let alone = match machine.phase {
                    Phase::Starting { boot, .. } => machine.strategy == OneForOne && !boot,
                    _ => true,
                };
                assert!(alone || all_down_after(it.child), "{it:?}\n{world:#?}");
            }
            Some(Action::Stop(it)) => {
                assert_eq!(stops, 0, "{it:?}\n{world:#?}");
                assert!(starts == 0 || ending, "{it:?}\n{world:#?}");
                let Phase::Stopping { then, .. } = machine.phase else {
                    assert_eq!(machine.phase, Phase::Serving, "{it:?}\n{world:#?}");
                    return;
                };
                assert!(all_down_after(it.child), "{it:?}\n{world:#?}");
                let affected = match (then, machine.strategy) {
                    (Then::Finish, _) | (_, OneForAll) => true,
                    (_, OneForOne) => false,
                    (Then::Start(failed) | Then::Wait(failed, _), RestForOne) => {
                        later(failed).any(|i| i == it.child)
                    }
                };
                assert!(affected, "{it:?}\n{world:#?}");
            }
            Some(Action::Wait(it, _)) => {
                assert_eq!((starts, stops), (0, 0), "{it:?}\n{world:#?}");
                assert_eq!(machine.children[it.child].state, State::BackingOff);
            }
            Some(Action::Serve) => {
                assert!(!ending, "{world:#?}");
                assert_eq!((starts, stops), (0, 0), "{world:#?}");
                assert_eq!(world.pending, [], "not answered\n{world:#?}");
            }
            Some(Action::Finish(_)) => {}
            None if starts + stops > 0 => {}
            None => check_idle(world),
        }
    }
}

/// Nothing is in flight and there is nothing to do: nobody must be waiting for anything.
fn check_idle(world: &World<Supervisor>) {
    let machine = &world.machine;
    assert_eq!(machine.ending, None, "stuck\n{world:#?}");
    assert_eq!(machine.phase, Phase::Idle, "stuck\n{world:#?}");
    assert!(machine.mailbox.is_empty(), "stuck\n{world:#?}");
    assert_eq!(world.queued, 0, "a lost call\n{world:#?}");
    assert_eq!(world.pending, [], "not answered\n{world:#?}");
    for (i, child) in machine.children.iter().enumerate() {
        let is_well = match child.state {
            State::Running => world.is_up(i),
            State::Down | State::Free => !world.is_up(i),
            State::BackingOff => world.waits.contains(&machine.incarnation(i)),
            _ => false,
        };
        assert!(is_well, "{i} is forgotten\n{world:#?}");
    }
}

/// One restart is allowed: after the next one nothing new happens.
fn machine(strategy: Strategy, specs: Vec<Spec>) -> Supervisor {
    Supervisor::new(strategy, Intensity::new(1, Duration::from_secs(5)), specs)
}

/// Every restart waits for its backoff.
fn failing(strategy: Strategy, specs: Vec<Spec>) -> Supervisor {
    let second = Duration::from_secs(1);
    let mut machine = machine(strategy, specs).backoff(Some(Backoff::new(second, second)));
    for i in 0..machine.children.len() {
        _ = machine.backoffs.failed(i, Duration::ZERO);
    }
    machine
}

fn four_children(strategy: Strategy) {
    let lists = lists(4, &[PERMANENT, TRANSIENT, TEMPORARY]);
    let machines = lists
        .into_iter()
        .flat_map(|list| [machine(strategy, list.clone()), failing(strategy, list)]);
    at_least(110_000, machines.map(|it| Bounds::default().walk(it)));
}

#[test]
fn four_children_one_for_one() {
    four_children(OneForOne);
}

#[test]
fn four_children_one_for_all() {
    four_children(OneForAll);
}

#[test]
fn four_children_rest_for_one() {
    four_children(RestForOne);
}

/// A transient child differs from the two others in how it ends alone, which three children show.
fn four_children_and_a_call(strategy: Strategy) {
    let bounds = Bounds {
        calls: 1,
        children: 4,
        added: &[PERMANENT, TEMPORARY],
    };
    let lists = lists(4, &[PERMANENT, TEMPORARY]);
    let machines = lists.into_iter().map(|list| machine(strategy, list));
    at_least(80_000, machines.map(|it| bounds.walk(it)));
}

#[test]
fn four_children_and_a_call_one_for_one() {
    four_children_and_a_call(OneForOne);
}

#[test]
fn four_children_and_a_call_one_for_all() {
    four_children_and_a_call(OneForAll);
}

#[test]
fn four_children_and_a_call_rest_for_one() {
    four_children_and_a_call(RestForOne);
}

fn three_children_and_a_fourth(strategy: Strategy) {
    let all = [PERMANENT, TRANSIENT, TEMPORARY];
    let bounds = Bounds {
        calls: 1,
        children: 4,
        added: &all,
    };
    let lists = lists(3, &all);
    let machines = lists.into_iter().map(|list| failing(strategy, list));
    at_least(140_000, machines.map(|it| bounds.walk(it)));
}

#[test]
fn three_children_and_a_fourth_one_for_one() {
    three_children_and_a_fourth(OneForOne);
}

#[test]
fn three_children_and_a_fourth_one_for_all() {
    three_children_and_a_fourth(OneForAll);
}

#[test]
fn three_children_and_a_fourth_rest_for_one() {
    three_children_and_a_fourth(RestForOne);
}

/// With several calls slots are used again, and calls wait behind each other.
#[test]
fn two_children_and_several_calls() {
    let bounds = Bounds {
        calls: 3,
        children: 2,
        added: &[PERMANENT, TEMPORARY],
    };
    let of_two = lists(2, &[PERMANENT, TEMPORARY]);
    let lists = [lists(0, &[]), lists(1, &[TRANSIENT]), of_two].concat();
    let machines = lists.iter().flat_map(|list| {
        [OneForOne, OneForAll, RestForOne].map(|strategy| failing(strategy, list.clone()))
    });
    at_least(35_000, machines.map(|it| bounds.walk(it)));
}

#[test]
fn significant_children() {
    let significant = |spec| Spec {
        significant: true,
        ..spec
    };
    let specs = [TRANSIENT, TEMPORARY].map(significant);
    let bounds = Bounds {
        calls: 1,
        children: 3,
        added: &specs[..1],
    };
    let lists = lists(3, &[PERMANENT, specs[0], specs[1]]);
    let with = |auto: AutoShutdown| {
        let of = move |list: &Vec<Spec>| machine(RestForOne, list.clone()).auto_shutdown(auto);
        lists.iter().map(of)
    };
    let machines = with(AnySignificant).chain(with(AllSignificant));
    at_least(40_000, machines.map(|it| bounds.walk(it)));
}
