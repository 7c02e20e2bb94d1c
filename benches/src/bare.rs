//! Bare tokio: what one writes without a supervisor. Its driver is the task that is measured;
//! there are no names, no limits, no reports, no timeouts.

use std::collections::HashMap;

use tokio::{
    sync::oneshot,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    List, Peer, Strategy,
    child::{self, BoxError, How, Role},
};

type Result = std::result::Result<(), BoxError>;

/// A `JoinSet`, and for each child a `CancellationToken` and an acknowledgement by `oneshot`.
pub struct Bare {
    list: List,
    tasks: JoinSet<Result>,
    stops: Vec<CancellationToken>,
    /// Who an exit belongs to. Kept only where that is asked: one child crashes among many.
    ids: HashMap<Id, usize>,
}

impl Peer for Bare {
    type Specs = List;

    fn specs(list: List) -> List {
        list
    }

    async fn start(list: List) -> Self {
        let crashes = list.roles.iter().any(|role| matches!(role, Role::Crash(_)));
        let mut this = Self {
            stops: Vec::with_capacity(list.roles.len()),
            list,
            tasks: JoinSet::new(),
            ids: HashMap::new(),
        };
        for i in 0..this.list.roles.len() {
            let (id, stop) = this.start_child(i).await;
            this.stops.push(stop);
            if crashes {
                this.ids.insert(id, i);
            }
        }
        this
    }

    async fn supervise(&mut self, crashes: usize) {
        let all = 0..self.list.roles.len();
        let bomb = self.list.roles.iter().position(|&role| role == Role::Bomb);
        for _ in 0..crashes {
            let range = match (self.list.strategy, bomb) {
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
                self.stops[i] = self.start_child(i).await.1;
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
}

impl Bare {
    async fn start_child(&mut self, i: usize) -> (Id, CancellationToken) {
        let (ack, acked) = oneshot::channel();
        let stop = CancellationToken::new();
        let task = match self.list.roles[i] {
            Role::Idle => self.tasks.spawn(idle(ack, stop.clone())),
            Role::Crash(how) => self.tasks.spawn(crash(ack, how)),
            Role::Bomb => self.tasks.spawn(bomb(ack, stop.clone())),
            Role::Last => self.tasks.spawn(last(ack, stop.clone())),
        };
        acked.await.expect("every child says that it is ready");
        (task.id(), stop)
    }

    async fn restart_one(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, _))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        let i = self.ids.remove(&id).expect("every child is known");
        let (id, stop) = self.start_child(i).await;
        self.ids.insert(id, i);
        self.stops[i] = stop;
    }
}

async fn idle(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    stop.cancelled().await;
    Ok(())
}

async fn crash(ack: oneshot::Sender<()>, how: How) -> Result {
    _ = ack.send(());
    child::crash(how).await
}

async fn bomb(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    child::bomb(stop.cancelled()).await
}

async fn last(ack: oneshot::Sender<()>, stop: CancellationToken) -> Result {
    _ = ack.send(());
    child::last(stop.cancelled()).await
}
