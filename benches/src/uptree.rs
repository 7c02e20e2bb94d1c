//! Uptree as shipped: ids, the default observer, start timeouts, the snapshot table.

use std::time::Duration;

use uptree_supervisor::{
    ChildSpec, Context, IntoChild, Result, StopCause, Supervisor, Tree, worker,
};

use crate::{
    List, Peer, Strategy,
    child::{self, How, Role},
};

/// A `Supervisor` as the root of a tree.
pub struct Uptree {
    tree: Tree,
}

impl Peer for Uptree {
    type Specs = Supervisor;

    fn specs(list: List) -> Supervisor {
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
        let tree = specs.start().await.expect("every child starts");
        Self { tree }
    }

    async fn supervise(&mut self, _crashes: usize) {
        child::done().await;
    }

    async fn stop(mut self) {
        self.tree.stop(StopCause::Shutdown);
        self.tree.wait().await.expect("every child stops in order");
    }
}

fn spec(i: usize, role: Role) -> ChildSpec {
    let id = format!("c{i}");
    match role {
        Role::Idle => worker(id, (), idle).into_child(),
        Role::Crash(how) => worker(id, how, crash).into_child(),
        Role::Bomb => worker(id, (), bomb).into_child(),
        Role::Last => worker(id, (), last).into_child(),
    }
}

async fn idle((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

async fn crash(how: How, _cx: Context) -> Result {
    child::crash(how).await
}

async fn bomb((): (), cx: Context) -> Result {
    child::bomb(cx.shutdown()).await
}

async fn last((): (), cx: Context) -> Result {
    child::last(cx.shutdown()).await
}
