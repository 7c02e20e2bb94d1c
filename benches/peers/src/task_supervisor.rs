//! `task-supervisor`: named tasks behind a handle. It knows nothing of ready: the driver waits for
//! each child's acknowledgement, and stops them in order by itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bench::{
    Dynamic, List, Static,
    child::{self, Role},
};
use task_supervisor::{
    CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult,
};
use tokio::sync::oneshot;

/// The handle.
pub(crate) struct Tasks {
    handle: SupervisorHandle,
    listed: usize,
}

/// A child; its first incarnation says that it is ready.
#[derive(Clone)]
struct Task {
    role: Role,
    ack: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl SupervisedTask for Task {
    async fn run(self, stop: CancellationToken) -> TaskResult {
        let ack = self
            .ack
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        _ = ack.map(|ack| ack.send(()));
        if let Role::Crash(how) = self.role {
            return child::crash(how).await;
        }
        stop.cancelled().await;
        Ok(())
    }
}

impl Tasks {
    fn spawn() -> Self {
        let builder = SupervisorBuilder::new()
            .with_unlimited_restarts()
            .with_base_restart_delay(Duration::ZERO)
            .with_max_restart_delay(Duration::ZERO)
            .with_restart_jitter(0.0)
            .with_stop_timeout(Duration::from_secs(600));
        Self {
            handle: builder.spawn(),
            listed: 0,
        }
    }

    async fn kill(&self, id: &str) {
        let killed = self.handle.kill_task(id).await;
        killed.expect("the child is there");
    }

    async fn statuses(&self) -> usize {
        let statuses = self.handle.task_statuses().await;
        statuses.expect("it answers").len()
    }
}

impl Static for Tasks {
    type Specs = List;
    const CRASHES: usize = 500;
    const SLEEPS: bool = true;

    fn specs(list: List) -> List {
        list
    }

    async fn start(list: List) -> Self {
        let mut this = Self::spawn();
        this.listed = list.roles.len();
        for (i, &role) in list.roles.iter().enumerate() {
            this.start_child(i, role).await;
        }
        this
    }

    async fn stop(self) {
        for i in (0..self.listed).rev() {
            self.kill(&format!("c{i}")).await;
        }
    }

    async fn which(&mut self) -> usize {
        self.statuses().await
    }
}

impl Dynamic for Tasks {
    type Child = String;
    const CRASHES: usize = 500;
    const SLEEPS: bool = true;
    const SLOW: usize = 10;

    async fn start(_long_window: bool) -> Self {
        Self::spawn()
    }

    async fn start_child(&mut self, i: usize, role: Role) -> String {
        let (ack, acked) = oneshot::channel();
        let ack = Arc::new(Mutex::new(Some(ack)));
        let id = format!("c{i}");
        let added = self.handle.add_task(&id, Task { role, ack }).await;
        added.expect("the child is new");
        acked.await.expect("every child says that it is ready");
        id
    }

    async fn terminate_child(&mut self, id: String) {
        self.kill(&id).await;
    }

    async fn stop(self) {
        self.handle.shutdown().await.expect("all children stop");
    }

    async fn which(&mut self) -> usize {
        self.statuses().await
    }
}
