//! A `DynamicSupervisor` below the root of a tree.

use std::time::Duration;

use uptree_supervisor::{ChildRef, DynamicSupervisor, StopCause, Supervisor, Tree};

use super::spec;
use crate::child::Role;

/// The running tree, and the handle.
pub struct Dynamic {
    tree: Tree,
    supervisor: DynamicSupervisor,
}

impl crate::Dynamic for Dynamic {
    type Child = ChildRef;

    async fn start(long_window: bool) -> Self {
        let supervisor = DynamicSupervisor::new("children");
        let supervisor = match long_window {
            false => supervisor.intensity(usize::MAX, Duration::from_secs(1)),
            true => supervisor.intensity(1_000_000, Duration::from_secs(3600)),
        };
        let root = Supervisor::new("bench").child(supervisor.clone());
        let tree = root.start().await.expect("it starts");
        Self { tree, supervisor }
    }

    async fn start_child(&mut self, i: usize, role: Role) -> ChildRef {
        let started = self.supervisor.start_child(spec(i, role)).await;
        let started = started.expect("the child starts");
        started.child().expect("it is not ignored").clone()
    }

    async fn terminate_child(&mut self, child: ChildRef) {
        let stopped = self.supervisor.terminate_child(&child).await;
        stopped.expect("the child is there");
    }

    async fn stop(mut self) {
        self.tree.stop(StopCause::Shutdown);
        self.tree.wait().await.expect("all children stop");
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
