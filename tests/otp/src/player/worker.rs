//! A worker that follows its script.

use std::{
    borrow::Cow,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use uptree_supervisor::{Child, Result, Starting};

use super::{
    reason,
    world::{Life, World},
};
use crate::{
    scenario::{Outcome, OutcomeWord, Reaction, Script, Worker},
    trace::Reason,
};

pub(crate) struct Scripted {
    world: Arc<World>,
    id: String,
    starts: Arc<Starts>,
    stop: Reaction,
}

impl Scripted {
    pub(crate) fn new(world: &Arc<World>, worker: &Worker) -> Self {
        Self {
            world: world.clone(),
            id: worker.id.clone(),
            starts: Starts::new(&worker.init),
            stop: worker.stop.clone(),
        }
    }
}

impl Child for Scripted {
    fn id(&self) -> Cow<'static, str> {
        self.id.clone().into()
    }

    async fn run(&self, cx: Starting) -> Result {
        let (life, order) = Life::begin(&self.world, cx.path(), None, &self.starts);
        let cx = match self.starts.next() {
            Outcome::Word(OutcomeWord::Ok) => cx.ready(),
            Outcome::Info { info } => cx.ready_with(info),
            Outcome::Word(OutcomeWord::Ignore) => {
                life.ignore();
                return cx.done();
            }
            Outcome::Failed(reason) => return end(life, reason),
        };
        tokio::select! {
            biased;
            Ok(reason) = order => return end(life, reason),
            _ = cx.shutdown() => {}
        }
        let (after, reason) = match &self.stop {
            Reaction::End(after, reason) => (Some(Duration::from_millis(*after)), reason.clone()),
            Reaction::Ignore => (None, Reason::KILLED),
        };
        let stops = self.world.stops();
        match after {
            Some(Duration::ZERO) => {}
            Some(after) => sleep(after).await,
            None => pending().await,
        }
        drop(stops);
        end(life, reason)
    }
}

fn end(life: Life, reason: Reason) -> Result {
    let result = reason::result(&reason);
    life.end(reason);
    result
}

/// How the starts of one child end; counted for the whole scenario, whatever ends meanwhile.
pub(crate) struct Starts {
    script: Script,
    number: AtomicUsize,
}

impl Starts {
    pub(crate) fn new(script: &Script) -> Arc<Self> {
        Arc::new(Self {
            script: script.clone(),
            number: AtomicUsize::new(0),
        })
    }

    /// How the next one will end.
    pub(crate) fn peek(&self) -> Outcome {
        self.script.outcome(self.number.load(Ordering::Relaxed))
    }

    pub(crate) fn next(&self) -> Outcome {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.script.outcome(number)
    }
}
