//! Plays a scenario on the real supervisors, in paused time, and writes down what happens.

mod build;
mod calls;
mod dynamic;
mod reason;
mod supervisor;
mod watch;
mod worker;
mod world;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use uptree_supervisor::{StopCause, Tree, TreeOptions};

use crate::{
    scenario::{Call, Scenario, Step},
    trace::{Reason, Row, Word},
};
use dynamic::Before;
use watch::Watch;
use world::{FOR_EVER, Handle, World};

/// What the steps of `scenario` do.
///
/// # Errors
///
/// If there is no runtime to be had.
pub(crate) fn play(scenario: &Scenario) -> std::io::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(async {
        let mut player = Player {
            world: Arc::default(),
            scenario,
            tree: None,
        };
        let mut rows = Vec::with_capacity(scenario.steps.len());
        for step in &scenario.steps {
            let result = player.step(step).await;
            player.world.settle().await;
            rows.push(player.world.take_row(result));
        }
        rows
    }))
}

struct Player<'a> {
    world: Arc<World>,
    scenario: &'a Scenario,
    tree: Option<Tree>,
}

impl Player<'_> {
    async fn step(&mut self, step: &Step) -> Value {
        match step {
            Step::Boot => self.boot().await,
            Step::Exit { path, reason } => self.exit(path, reason),
            Step::Stop { path, reason } => self.stop(path, reason),
            Step::Sleep { ms } => {
                sleep(Duration::from_millis(*ms)).await;
                "ok".into()
            }
            Step::Shutdown => self.shutdown().await,
            Step::Batch { sup, items } => match self.supervisor(sup) {
                Ok(handle) => self.batch(&handle, items).await,
                Err(error) => error,
            },
            Step::Call(call) => match self.call(call) {
                Ok(call) => self.answer(call).await,
                Err(error) => error,
            },
        }
    }

    async fn boot(&mut self) -> Value {
        let mut options = TreeOptions::default();
        options.observer = Arc::new(Watch(self.world.clone()));
        let root = build::child(&self.world, &self.scenario.tree, None);
        let mut tree = Tree::spawn(root, options);
        let ready = timeout(FOR_EVER, tree.ready()).await;
        self.tree = Some(tree);
        let id = self.scenario.tree.id();
        match ready {
            Ok(Ok(())) if self.world.running(id).is_some() => "ok".into(),
            Ok(Ok(())) => "ignore".into(),
            Ok(Err(error)) => json!({ "error": reason::of_error(&*error, id) }),
            Err(_) => stuck(),
        }
    }

    async fn shutdown(&mut self) -> Value {
        let running = self.world.running(self.scenario.tree.id());
        let (Some(tree), Some(root)) = (&mut self.tree, running) else {
            return "not_running".into();
        };
        root.ends();
        tree.stop(StopCause::Shutdown);
        match timeout(FOR_EVER, tree.wait()).await {
            Ok(_) => "ok".into(),
            Err(_) => stuck(),
        }
    }

    /// Has a process end.
    fn exit(&self, path: &str, reason: &Reason) -> Value {
        let Some(process) = self.world.running(path) else {
            return json!({ "error": "not_running" });
        };
        let kill = *reason == Reason::Word(Word::Kill);
        if process.handle.is_some() && !kill {
            return json!({ "error": "not_a_worker" });
        }
        process.order(if kill { Reason::KILLED } else { reason.clone() });
        "ok".into()
    }

    /// Ends a supervisor in order.
    fn stop(&self, path: &str, reason: &Reason) -> Value {
        let Some(process) = self.world.running(path) else {
            return json!({ "error": "not_running" });
        };
        let Some(handle) = process.handle.clone() else {
            return json!({ "error": "not_a_supervisor" });
        };
        process.stops_with(reason);
        let reason = reason.clone();
        // What it is answered is that it is down, which can be seen.
        tokio::spawn(async move { handle.stop(&reason).await });
        "ok".into()
    }

    fn supervisor(&self, path: &str) -> Result<Handle, Value> {
        let process = self.world.running(path);
        let process = process.ok_or_else(|| json!({ "error": "noproc" }))?;
        let handle = process.handle.clone();
        handle.ok_or_else(|| json!({ "error": "not_a_supervisor" }))
    }

    /// Makes a call, which then waits for its turn.
    fn call(&self, call: &Call) -> Result<JoinHandle<Value>, Value> {
        let handle = self.supervisor(&call.sup)?;
        let answer = calls::call(&self.world, &handle, call, Before::default());
        Ok(tokio::spawn(answer))
    }

    async fn answer(&self, call: JoinHandle<Value>) -> Value {
        self.world.settle().await;
        match timeout(FOR_EVER, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => json!({ "error": panic.to_string() }),
            Err(_) => stuck(),
        }
    }

    /// Has the items wait before the supervisor looks at the first.
    async fn batch(&self, handle: &Handle, items: &[Step]) -> Value {
        // Rule::StartsOverlap
        let at_once = matches!(handle, Handle::Static(_)) || self.somebody_exits(items);
        let pause = at_once.then(|| handle.pause());
        let mut before = Before::default();
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let result = match item {
                // All of it is done to who is there before the first call is answered.
                Step::Exit { .. } | Step::Stop { .. } if !at_once => {
                    Err(json!({ "error": "not_running" }))
                }
                Step::Exit { path, reason } => {
                    before.exit(&self.world, path);
                    Err(self.exit(path, reason))
                }
                Step::Stop { path, reason } => Err(self.stop(path, reason)),
                Step::Call(call) => {
                    let answer = calls::call(&self.world, handle, call, before.clone());
                    if at_once {
                        before.call(&self.world, call);
                    }
                    Ok(tokio::spawn(answer))
                }
                item => Err(json!({ "error": format!("{item:?} in a batch") })),
            };
            results.push(result);
            // It has ended and its notice waits, or the call does; or it has been answered.
            self.world.settle().await;
        }
        drop(pause);
        let mut answers = Vec::with_capacity(results.len());
        for result in results {
            answers.push(match result {
                Ok(call) => self.answer(call).await,
                Err(answer) => answer,
            });
        }
        answers.into()
    }

    fn somebody_exits(&self, items: &[Step]) -> bool {
        items.iter().any(|item| match item {
            Step::Exit { path, .. } | Step::Stop { path, .. } => self.world.running(path).is_some(),
            _ => false,
        })
    }
}

fn stuck() -> Value {
    json!({ "error": "no answer" })
}
