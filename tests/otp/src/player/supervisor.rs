//! A supervisor with a script of its own around a real one.

use std::{borrow::Cow, sync::Arc, time::Duration};

use uptree_supervisor::{Child, ChildSpec, Options, Result, Starting};

use super::{
    build, reason,
    worker::Starts,
    world::{Handle, Life, World},
};
use crate::{
    scenario::{Outcome, OutcomeWord, Supervisor},
    trace::Reason,
};

pub(crate) struct ScriptedSupervisor {
    world: Arc<World>,
    id: String,
    starts: Arc<Starts>,
    inner: Handle,
}

impl ScriptedSupervisor {
    pub(crate) fn new(world: &Arc<World>, supervisor: &Supervisor) -> Self {
        Self {
            world: world.clone(),
            id: supervisor.id.clone(),
            starts: Starts::new(&supervisor.init),
            inner: build::supervisor(world, supervisor),
        }
    }
}

impl Child for ScriptedSupervisor {
    fn id(&self) -> Cow<'static, str> {
        self.id.clone().into()
    }

    fn defaults(&self, options: Options) -> Options {
        match &self.inner {
            Handle::Static(inner) => inner.defaults(options),
            Handle::Dynamic(inner, _) => inner.defaults(options),
        }
    }

    fn children(&self) -> Option<&[ChildSpec]> {
        match &self.inner {
            Handle::Static(inner) => Child::children(inner),
            Handle::Dynamic(inner, _) => Child::children(inner),
        }
    }

    fn stop_budget(&self) -> Option<Duration> {
        match &self.inner {
            Handle::Static(inner) => inner.stop_budget(),
            Handle::Dynamic(inner, _) => inner.stop_budget(),
        }
    }

    async fn run(&self, cx: Starting) -> Result {
        let path = cx.path();
        let handle = Some(self.inner.clone());
        let (life, order) = Life::begin(&self.world, path.clone(), handle, &self.starts);
        match self.starts.next() {
            Outcome::Word(OutcomeWord::Ok) | Outcome::Info { .. } => {}
            Outcome::Word(OutcomeWord::Ignore) => {
                life.ignore();
                return cx.done();
            }
            Outcome::Failed(reason) => {
                let result = reason::result(&reason);
                life.end(reason);
                return result;
            }
        }
        let mut inner = Box::pin(async {
            match &self.inner {
                Handle::Static(inner) => inner.run(cx).await,
                Handle::Dynamic(inner, _) => inner.run(cx).await,
            }
        });
        // Killed, it is dead before what is below it: so it must be dropped before that is.
        let life = life;
        let result = tokio::select! {
            biased;
            Ok(reason) = order => {
                let result = reason::result(&reason);
                life.end(reason);
                return result;
            }
            result = &mut inner => result,
        };
        let reason = match &result {
            Err(error) => reason::of_error(&**error, &path),
            // Unasked it says so only if it was told to.
            Ok(()) => match life.process().stopped_with() {
                Some(Reason::NORMAL) => Reason::NORMAL,
                _ => Reason::SHUTDOWN,
            },
        };
        life.end(reason);
        result
    }
}
