//! `supervised`: a list of services that start together and stop together. It can neither start nor
//! stop them in order, nor start another one later.

use std::time::Duration;

use bench::{
    List, Static,
    child::{self, Role},
};
use supervised::{
    Context, RestartPolicy, ServiceExt, ServiceOutcome, Supervisor, SupervisorBuilder,
    SupervisorReadiness, service_fn,
};

/// The running supervisor is a task of its own.
pub(crate) struct Supervised;

impl Static for Supervised {
    type Specs = Supervisor;
    const CRASHES: usize = 500;
    const SLEEPS: bool = true;

    fn specs(list: List) -> Supervisor {
        let mut builder = SupervisorBuilder::new(())
            .shutdown_timeout(Duration::from_secs(600))
            .default_restart_policy(RestartPolicy::always(Duration::ZERO));
        for role in list.roles {
            let service = service_fn("child", move |cx| run(role, cx));
            builder = builder.add(service.when_ready());
        }
        builder.build()
    }

    async fn start(supervisor: Supervisor) -> Self {
        let mut ready = supervisor.readiness();
        tokio::spawn(supervisor.run());
        let ready = ready.wait_for(|it| *it == SupervisorReadiness::Ready);
        ready.await.expect("it runs");
        Self
    }
}

async fn run(role: Role, cx: Context<()>) -> ServiceOutcome {
    cx.readiness().mark_ready();
    let crash = if let Role::Crash(how) = role {
        child::crash(how).await
    } else {
        cx.token().cancelled().await;
        Ok(())
    };
    match crash {
        Ok(()) => ServiceOutcome::Cancelled,
        Err(error) => ServiceOutcome::failed(error.to_string()),
    }
}
