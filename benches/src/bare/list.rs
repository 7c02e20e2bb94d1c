//! Children in order.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Result, ended, start_child};
use crate::{
    Static, Strategy,
    child::{self, Role},
};

/// A `JoinSet`, and the stops in start order.
pub struct List {
    given: crate::List,
    tasks: JoinSet<Result>,
    stops: Vec<CancellationToken>,
    /// Who an exit belongs to. Kept only where that is asked: one child crashes among many.
    ids: HashMap<Id, usize>,
}

impl Static for List {
    type Specs = crate::List;

    fn specs(list: crate::List) -> crate::List {
        list
    }

    async fn start(list: crate::List) -> Self {
        let crashes = list.roles.iter().any(|role| matches!(role, Role::Crash(_)));
        let mut tasks = JoinSet::new();
        let mut stops = Vec::with_capacity(list.roles.len());
        let mut ids = HashMap::new();
        for (i, &role) in list.roles.iter().enumerate() {
            let (id, stop) = start_child(&mut tasks, role).await;
            stops.push(stop);
            if crashes {
                ids.insert(id, i);
            }
        }
        Self {
            given: list,
            tasks,
            stops,
            ids,
        }
    }

    async fn supervise(&mut self, crashes: usize) {
        let all = 0..self.given.roles.len();
        let bomb = self.given.roles.iter().position(|&role| role == Role::Bomb);
        for _ in 0..crashes {
            let range = match (self.given.strategy, bomb) {
                (Strategy::OneForAll, _) => all.clone(),
                (Strategy::RestForOne, Some(bomb)) => bomb..all.end,
                _ => {
                    self.restart_one().await;
                    continue;
                }
            };
            self.tasks.join_next().await;
            for i in range.clone().rev().filter(|&i| Some(i) != bomb) {
                self.stops[i].cancel();
                self.tasks.join_next().await;
            }
            for i in range {
                self.stops[i] = start_child(&mut self.tasks, self.given.roles[i]).await.1;
            }
        }
        child::done().await;
    }

    async fn stop(mut self) {
        while let Some(stop) = self.stops.pop() {
            stop.cancel();
            self.tasks.join_next().await;
        }
    }

    async fn count(&mut self) -> usize {
        self.stops.len()
    }

    /// The children with what each does and whether it runs.
    async fn which(&mut self) -> usize {
        let children = self.given.roles.iter().zip(&self.stops).enumerate();
        let which: Vec<_> = children
            .map(|(i, (&role, stop))| (i, role, !stop.is_cancelled()))
            .collect();
        std::hint::black_box(which).len()
    }
}

impl List {
    async fn restart_one(&mut self) {
        let Some(id) = ended(&mut self.tasks).await else {
            return;
        };
        let i = self.ids.remove(&id).expect("every child is known");
        let (id, stop) = start_child(&mut self.tasks, self.given.roles[i]).await;
        self.ids.insert(id, i);
        self.stops[i] = stop;
    }
}
