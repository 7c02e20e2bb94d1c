//! Makes real children of the nodes of a scenario.

use std::{sync::Arc, time::Duration};

use uptree_supervisor::{
    AutoShutdown, ChildSpec, DynamicSupervisor, IntoChild, Restart, Shutdown, Strategy, Supervisor,
};

use super::{
    supervisor::ScriptedSupervisor,
    worker::Scripted,
    world::{Handle, World},
};
use crate::scenario::{self, Node};

/// The child that `node` describes, supervised by its own options or by those of a template.
pub(crate) fn child(
    world: &Arc<World>,
    node: &Node,
    template: Option<&scenario::Options>,
) -> ChildSpec {
    let (child, own) = match node {
        Node::Worker(worker) => (Scripted::new(world, worker).into_child(), &worker.options),
        Node::Supervisor(it) => (ScriptedSupervisor::new(world, it).into_child(), &it.options),
    };
    let options = template.unwrap_or(own);
    let mut child = child.restart(match options.restart {
        scenario::Restart::Permanent => Restart::Permanent,
        scenario::Restart::Transient => Restart::Transient,
        scenario::Restart::Temporary => Restart::Temporary,
    });
    if options.significant {
        child = child.significant();
    }
    match options.shutdown {
        Some(shutdown) => child.shutdown(self::shutdown(shutdown)),
        None => child,
    }
}

fn shutdown(shutdown: scenario::Shutdown) -> Shutdown {
    match shutdown {
        scenario::Shutdown::Timeout(ms) => Shutdown::Timeout(Duration::from_millis(ms)),
        scenario::Shutdown::Word(scenario::ShutdownWord::BrutalKill) => Shutdown::BrutalKill,
        scenario::Shutdown::Word(scenario::ShutdownWord::Infinity) => Shutdown::Infinity,
    }
}

/// The supervisor that `it` describes, without its script.
pub(crate) fn supervisor(world: &Arc<World>, it: &scenario::Supervisor) -> Handle {
    let id = it.id.clone();
    let period = Duration::from_secs(it.period);
    let auto_shutdown = match it.auto_shutdown {
        scenario::AutoShutdown::Never => AutoShutdown::Never,
        scenario::AutoShutdown::AnySignificant => AutoShutdown::AnySignificant,
        scenario::AutoShutdown::AllSignificant => AutoShutdown::AllSignificant,
    };
    let strategy = match it.strategy {
        scenario::Strategy::OneForOne => Strategy::OneForOne,
        scenario::Strategy::OneForAll => Strategy::OneForAll,
        scenario::Strategy::RestForOne => Strategy::RestForOne,
        scenario::Strategy::SimpleOneForOne | scenario::Strategy::Dynamic => {
            let mut dynamic = DynamicSupervisor::new(id)
                .intensity(it.intensity, period)
                .auto_shutdown(auto_shutdown);
            if let Some(max) = it.max_children {
                dynamic = dynamic.max_children(max);
            }
            let simple = it.strategy == scenario::Strategy::SimpleOneForOne;
            let template = simple.then(|| it.template.clone().unwrap_or_default());
            return Handle::Dynamic(dynamic, template);
        }
    };
    let children = it.children.iter().map(|node| child(world, node, None));
    Handle::Static(
        Supervisor::new(id)
            .strategy(strategy)
            .intensity(it.intensity, period)
            .auto_shutdown(auto_shutdown)
            .children(children),
    )
}
