//! A `Supervisor` as the root of a tree.

use std::time::Duration;

use uptree_supervisor::{StopCause, Supervisor, Tree};

use super::spec;
use crate::{Static, Strategy};

/// The running tree, and the handle.
pub struct List {
    tree: Tree,
    supervisor: Supervisor,
}

impl Static for List {
    type Specs = Supervisor;

    fn specs(list: crate::List) -> Supervisor {
        let supervisor = Supervisor::new("bench").strategy(match list.strategy {
            Strategy::OneForOne => uptree_supervisor::Strategy::OneForOne,
            Strategy::OneForAll => uptree_supervisor::Strategy::OneForAll,
            Strategy::RestForOne => uptree_supervisor::Strategy::RestForOne,
        });
        let supervisor = match list.long_window {
            false => supervisor.intensity(usize::MAX, Duration::from_secs(1)),
            true => supervisor.intensity(1_000_000, Duration::from_secs(3600)),
        };
        let roles = list.roles.into_iter().enumerate();
        supervisor.children(roles.map(|(i, role)| spec(i, role)))
    }

    async fn start(specs: Supervisor) -> Self {
        let supervisor = specs.clone();
        let tree = specs.start().await.expect("every child starts");
        Self { tree, supervisor }
    }

    async fn stop(mut self) {
        self.tree.stop(StopCause::Shutdown);
        self.tree.wait().await.expect("every child stops in order");
    }

    async fn count(&mut self) -> usize {
        let counts = self.supervisor.count_children().await;
        counts.expect("it answers").active
    }

    async fn which(&mut self) -> usize {
        let children = self.supervisor.which_children().await;
        children.expect("it answers").len()
    }
}
