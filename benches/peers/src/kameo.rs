//! `kameo`: actors below a supervising actor. Its supervisors have no lists: the driver starts the
//! children one after the other, and stops them in order by itself.

use std::{
    future::pending,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bench::{
    Dynamic, List, Static, Strategy,
    child::{self, BoxError, Role},
};
use kameo::{
    actor::Spawn,
    error::Infallible,
    prelude::{Actor, ActorRef, Context, Message},
    supervision::{RestartPolicy, SupervisionStrategy},
};

/// A supervisor and the children that the driver keeps.
pub(crate) struct Kameo {
    supervisor: Supervisor,
    children: Vec<ActorRef<Child>>,
    long_window: bool,
}

/// What its type is decides what is restarted.
#[derive(Clone)]
enum Supervisor {
    OneForOne(ActorRef<OneForOne>),
    OneForAll(ActorRef<OneForAll>),
    RestForOne(ActorRef<RestForOne>),
}

macro_rules! supervisor {
    ($strategy:ident) => {
        struct $strategy;

        impl Actor for $strategy {
            type Args = ();
            type Error = Infallible;

            fn supervision_strategy() -> SupervisionStrategy {
                SupervisionStrategy::$strategy
            }

            async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
                Ok(Self)
            }
        }
    };
}

supervisor!(OneForOne);
supervisor!(OneForAll);
supervisor!(RestForOne);

/// An actor that tells itself what to do as soon as it is ready.
#[derive(Clone)]
pub(crate) struct Child(Role);

struct Do(Role);

/// How many children a crash of the `Bomb` takes along: they start in no order, so each counts.
static GROUP: AtomicUsize = AtomicUsize::new(0);
/// How many of them are not ready yet.
static MISSING: AtomicUsize = AtomicUsize::new(0);

impl Actor for Child {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(this: Self, me: ActorRef<Self>) -> Result<Self, Infallible> {
        if let Role::Crash(_) | Role::Bomb = this.0 {
            // From another task: what it tells itself here is done before it counts as started.
            tokio::spawn(async move { me.tell(Do(this.0)).await });
        }
        if MISSING.load(Ordering::Acquire) > 0 && MISSING.fetch_sub(1, Ordering::AcqRel) == 1 {
            tokio::spawn(group_is_ready());
        }
        Ok(this)
    }
}

async fn group_is_ready() {
    if child::mark() {
        // Its supervisor still books the restarts.
        tokio::time::sleep(Duration::from_millis(20)).await;
        MISSING.store(GROUP.load(Ordering::Acquire), Ordering::Release);
        child::set_off();
    }
}

impl Message<Do> for Child {
    type Reply = Result<(), BoxError>;

    async fn handle(&mut self, it: Do, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        match it.0 {
            Role::Crash(how) => child::crash(how).await,
            Role::Bomb => child::bomb(pending::<()>()).await,
            Role::Idle | Role::Last => Ok(()),
        }
    }
}

impl Kameo {
    async fn spawn(strategy: Strategy, long_window: bool) -> Self {
        let supervisor = match strategy {
            Strategy::OneForOne => Supervisor::OneForOne(spawned().await),
            Strategy::OneForAll => Supervisor::OneForAll(spawned().await),
            Strategy::RestForOne => Supervisor::RestForOne(spawned().await),
        };
        let children = Vec::new();
        Self {
            supervisor,
            children,
            long_window,
        }
    }

    async fn start_role(&self, role: Role) -> ActorRef<Child> {
        match &self.supervisor {
            Supervisor::OneForOne(it) => self.supervised(it, role).await,
            Supervisor::OneForAll(it) => self.supervised(it, role).await,
            Supervisor::RestForOne(it) => self.supervised(it, role).await,
        }
    }

    async fn supervised<S: Actor>(&self, by: &ActorRef<S>, role: Role) -> ActorRef<Child> {
        let (most, within) = match self.long_window {
            false => (u32::MAX, Duration::from_secs(1)),
            true => (1_000_000, Duration::from_secs(3600)),
        };
        let child = Child::supervise(by, Child(role))
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(most, within)
            .spawn()
            .await;
        child.wait_for_startup().await;
        child
    }
}

async fn spawned<S: Actor<Args = ()>>() -> ActorRef<S> {
    let supervisor = S::spawn(());
    supervisor.wait_for_startup().await;
    supervisor
}

async fn stop<A: Actor>(actor: &ActorRef<A>) {
    let told = actor.stop_gracefully().await;
    told.expect("the actor runs");
    actor.wait_for_shutdown().await;
}

impl Static for Kameo {
    type Specs = List;
    /// Here, where a crash takes others along.
    const SLEEPS: bool = true;

    fn specs(list: List) -> List {
        list
    }

    async fn start(list: List) -> Self {
        let mut this = Self::spawn(list.strategy, list.long_window).await;
        if let Some(bomb) = list.roles.iter().position(|&role| role == Role::Bomb) {
            GROUP.store(list.roles.len() - bomb, Ordering::Release);
            MISSING.store(list.roles.len(), Ordering::Release);
        }
        for &role in &list.roles {
            let child = this.start_role(role).await;
            this.children.push(child);
        }
        this
    }

    async fn stop(mut self) {
        while let Some(child) = self.children.pop() {
            stop(&child).await;
        }
    }
}

impl Dynamic for Kameo {
    type Child = ActorRef<Child>;
    const SLOW: usize = 10;

    async fn start(long_window: bool) -> Self {
        Self::spawn(Strategy::OneForOne, long_window).await
    }

    async fn start_child(&mut self, _: usize, role: Role) -> ActorRef<Child> {
        self.start_role(role).await
    }

    /// An actor that nobody refers to stops.
    async fn start_children(&mut self, ids: Range<usize>) {
        for _ in ids {
            let child = self.start_role(Role::Idle).await;
            self.children.push(child);
        }
    }

    async fn terminate_child(&mut self, child: ActorRef<Child>) {
        stop(&child).await;
    }

    async fn stop(self) {
        if let Supervisor::OneForOne(supervisor) = self.supervisor {
            stop(&supervisor).await;
        }
    }
}
