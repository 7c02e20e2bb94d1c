//! `ractor` with `ractor-supervisor`.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bench::{
    Static, Strategy,
    child::{self, Role},
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, call, registry};
use ractor_supervisor::{
    ChildSpec, DynamicSupervisor, DynamicSupervisorMsg, DynamicSupervisorOptions, Restart, SpawnFn,
    Supervisor, SupervisorArguments, SupervisorMsg, SupervisorOptions, SupervisorStrategy,
};
use tokio::sync::Notify;

/// How many listed children are not ready yet.
static MISSING: AtomicUsize = AtomicUsize::new(0);
static ALL_READY: Notify = Notify::const_new();

/// An actor that tells itself what to do as soon as it is ready.
struct Child(Role);

struct Do;

#[ractor::async_trait]
impl Actor for Child {
    type Msg = Do;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Do>, (): ()) -> Result<(), ActorProcessingErr> {
        if self.0 != Role::Idle {
            me.send_message(Do)?;
        }
        if MISSING.load(Ordering::Acquire) > 0 && MISSING.fetch_sub(1, Ordering::AcqRel) == 1 {
            ALL_READY.notify_one();
        }
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Do>, _: Do, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match self.0 {
            Role::Idle => Ok(()),
            Role::Crash(how) => child::crash(how).await,
            Role::Bomb => child::bomb(pending::<()>()).await,
            Role::Last => child::last(async {}).await,
        }
    }
}

fn spec(i: usize, role: Role) -> ChildSpec {
    ChildSpec {
        id: format!("c{i}"),
        restart: Restart::Transient,
        backoff_fn: None,
        reset_after: None,
        spawn_fn: SpawnFn::new(move |supervisor: ActorCell, id: String| async move {
            let child = DynamicSupervisor::spawn_linked(id, Child(role), (), supervisor).await?;
            Ok(child.0.get_cell())
        }),
    }
}

/// A `Supervisor`.
pub(crate) struct List {
    supervisor: ActorRef<SupervisorMsg>,
}

impl Static for List {
    type Specs = SupervisorArguments;
    const CRASHES: usize = 2_000;
    /// Where a crash takes others along.
    const SLEEPS: bool = true;

    fn specs(list: bench::List) -> SupervisorArguments {
        let specs = list.roles.iter().enumerate();
        SupervisorArguments {
            child_specs: specs.map(|(i, &role)| spec(i, role)).collect(),
            options: SupervisorOptions {
                strategy: match list.strategy {
                    Strategy::OneForOne => SupervisorStrategy::OneForOne,
                    Strategy::OneForAll => SupervisorStrategy::OneForAll,
                    Strategy::RestForOne => SupervisorStrategy::RestForOne,
                },
                max_restarts: usize::MAX,
                max_window: window(list.long_window),
                reset_after: None,
            },
        }
    }

    async fn start(specs: SupervisorArguments) -> Self {
        MISSING.store(specs.child_specs.len(), Ordering::Release);
        let started = Supervisor::spawn("bench".into(), specs).await;
        let (supervisor, _) = started.expect("the supervisor starts");
        ALL_READY.notified().await;
        Self { supervisor }
    }

    /// It answers when it has gone through what its children's starts told it.
    async fn settle(&mut self) {
        self.which().await;
    }

    async fn which(&mut self) -> usize {
        let state = call!(self.supervisor, SupervisorMsg::InspectState);
        state.expect("it answers").child_specs.len()
    }
}

/// A `DynamicSupervisor`.
pub(crate) struct Dynamic {
    supervisor: ActorRef<DynamicSupervisorMsg>,
}

impl bench::Dynamic for Dynamic {
    type Child = String;
    const CRASHES: usize = 100;
    const SLEEPS: bool = true;
    const SLOW: usize = 10;

    async fn start(long_window: bool) -> Self {
        let options = DynamicSupervisorOptions {
            max_children: None,
            max_restarts: usize::MAX,
            max_window: window(long_window),
            reset_after: None,
        };
        let started = DynamicSupervisor::spawn("bench".into(), options).await;
        let (supervisor, _) = started.expect("the supervisor starts");
        Self { supervisor }
    }

    async fn start_child(&mut self, i: usize, role: Role) -> String {
        let spec = spec(i, role);
        let id = spec.id.clone();
        let started = DynamicSupervisor::spawn_child(self.supervisor.clone(), spec).await;
        started.expect("the child starts");
        id
    }

    async fn terminate_child(&mut self, id: String) {
        let stopped = DynamicSupervisor::terminate_child(self.supervisor.clone(), id).await;
        stopped.expect("the child is there");
    }

    /// The children go when the supervisor has gone; the registry is where that shows.
    async fn stop(self) {
        self.supervisor.stop(None);
        while !registry::registered().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    async fn which(&mut self) -> usize {
        let state = call!(self.supervisor, DynamicSupervisorMsg::InspectState);
        state.expect("it answers").active_children.len()
    }
}

fn window(long: bool) -> Duration {
    match long {
        false => Duration::from_millis(1),
        true => Duration::from_secs(3600),
    }
}
