//! Children that come and go.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Result, ended, start_child};
use crate::child::{self, Role};

/// A `JoinSet`, and a map of who is in it.
pub struct Dynamic {
    tasks: JoinSet<Result>,
    children: HashMap<Id, (Role, CancellationToken)>,
}

impl crate::Dynamic for Dynamic {
    type Child = Id;

    async fn start(_long_window: bool) -> Self {
        Self {
            tasks: JoinSet::new(),
            children: HashMap::new(),
        }
    }

    async fn start_child(&mut self, _: usize, role: Role) -> Id {
        let (id, stop) = start_child(&mut self.tasks, role).await;
        self.children.insert(id, (role, stop));
        id
    }

    async fn terminate_child(&mut self, child: Id) {
        if let Some((_, stop)) = self.children.get(&child) {
            stop.cancel();
        }
        while let Some(id) = self.ended().await {
            if id == child {
                break;
            }
        }
    }

    async fn supervise(&mut self, crashes: usize) {
        for _ in 0..crashes {
            self.ended().await;
        }
        child::done().await;
    }

    async fn stop(mut self) {
        for (_, stop) in self.children.values() {
            stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    async fn count(&mut self) -> usize {
        self.children.len()
    }

    /// The children with what each does and whether it runs.
    async fn which(&mut self) -> usize {
        let children = self.children.iter();
        let which: Vec<_> = children
            .map(|(&id, (role, stop))| (id, *role, !stop.is_cancelled()))
            .collect();
        std::hint::black_box(which).len()
    }
}

impl Dynamic {
    /// Takes note of the next exit: who crashed is started again.
    async fn ended(&mut self) -> Option<Id> {
        let id = ended(&mut self.tasks).await?;
        let (role, stop) = self.children.remove(&id).expect("every child is known");
        if !stop.is_cancelled() {
            let (id, stop) = start_child(&mut self.tasks, role).await;
            self.children.insert(id, (role, stop));
        }
        Some(id)
    }
}
