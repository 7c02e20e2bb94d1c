//! What a dynamic supervisor answers in the middle of a batch, read as OTP would say it.
//!
//! OTP does one thing after the other, so whoever asks sees what became of each start and stop before.
//! Ours begins them all and answers: the children have not had a turn yet.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uptree_supervisor::{
    ChildInfo, ChildSpec, ControlError, Counts, DynamicSupervisor, Started, Status,
};

use super::{
    calls::{child_path, kind, status_word, word},
    world::World,
};
use crate::scenario::{Call, Node, Op, Outcome, OutcomeWord};

/// What the same batch has done before, by the paths of the children.
#[derive(Clone, Default)]
pub(crate) struct Before {
    /// Those that may be starting: they were told to end, or it was called for.
    touched: HashMap<String, Touched>,
    /// Those that are going down.
    terminated: HashSet<String>,
}

#[derive(Clone)]
struct Touched {
    /// How often it had been started.
    starts: usize,
    /// How its next start ends, as its script has it.
    outcome: Outcome,
    /// It is not known yet.
    new: bool,
}

/// What becomes of a child that is starting.
enum Becomes {
    Running,
    Restarting,
    Nothing,
}

impl Before {
    /// A child is told to end.
    pub(crate) fn exit(&mut self, world: &World, path: &str) {
        if let Some(process) = world.running(path) {
            self.touch(world, path.to_owned(), process.script.peek(), false);
        }
    }

    /// A call is made.
    pub(crate) fn call(&mut self, world: &World, call: &Call) {
        let path = child_path(call);
        let by_id = call.by.is_some();
        match (call.op, &call.child) {
            (Op::StartChild, Some(Node::Worker(worker))) => {
                self.touch(world, path, worker.init.outcome(0), true);
            }
            // Who had ended before may have been started again by then.
            (Op::TerminateChild, _) if !by_id && self.may_run(world, &path) => {
                self.terminated.insert(path);
            }
            _ => {}
        }
    }

    fn may_run(&self, world: &World, path: &str) -> bool {
        world.running(path).is_some() || self.touched.contains_key(path)
    }

    fn touch(&mut self, world: &World, path: String, outcome: Outcome, new: bool) {
        let starts = world.number_of_starts(&path);
        let touched = Touched {
            starts,
            outcome,
            new,
        };
        self.touched.insert(path, touched);
    }

    /// Those that may be starting and were not terminated then.
    fn starting(&self) -> impl Iterator<Item = &String> {
        let touched = self.touched.keys();
        touched.filter(|path| !self.terminated.contains(*path))
    }

    /// How many there still are that would be gone in OTP.
    fn gone(&self, world: &World) -> usize {
        let nothing = |path: &&String| matches!(self.becomes(world, path), Some(Becomes::Nothing));
        // Who had ended for good before it was terminated is gone already.
        let there = |path: &&String| {
            !self.touched.contains_key(*path) || self.becomes(world, path).is_some()
        };
        let terminated = self.terminated.iter().filter(there).count();
        self.starting().filter(nothing).count() + terminated
    }

    /// What becomes of the child at `path`, if it was starting when the supervisor answered.
    fn becomes(&self, world: &World, path: &str) -> Option<Becomes> {
        let touched = self.touched.get(path)?;
        (world.number_of_starts(path) > touched.starts).then_some(match touched.outcome {
            Outcome::Word(OutcomeWord::Ok) | Outcome::Info { .. } => Becomes::Running,
            Outcome::Failed(_) if !touched.new => Becomes::Restarting,
            Outcome::Failed(_) | Outcome::Word(OutcomeWord::Ignore) => Becomes::Nothing,
        })
    }
}

/// The list of children, each named by its process.
pub(crate) async fn which_children(
    it: &DynamicSupervisor,
    world: &World,
    call: &Call,
    before: &Before,
) -> Result<Value, Value> {
    let children = it.which_children().await.map_err(|error| word(&error))?;
    let children = children.iter().filter_map(|child| {
        let path = format!("{}/{}", call.sup, child.id());
        listed(world, &path, child, before)
    });
    Ok(json!({ "unordered": children.collect::<Value>() }))
}

/// [`Rule::StartsOverlap`](crate::Rule::StartsOverlap)
fn listed(world: &World, path: &str, child: &ChildInfo, before: &Before) -> Option<Value> {
    let mut status = child.status();
    if before.terminated.contains(path) {
        return None;
    }
    match before.becomes(world, path) {
        Some(Becomes::Nothing) => return None,
        Some(Becomes::Restarting) => status = Status::Restarting,
        Some(Becomes::Running) | None => {}
    }
    let name = (status == Status::Running).then(|| child.id());
    Some(json!([name, status_word(status), kind(child.child_type())]))
}

/// How many children there are.
///
/// [`Rule::StartsOverlap`](crate::Rule::StartsOverlap)
pub(crate) async fn count_children(
    it: &DynamicSupervisor,
    world: &World,
    before: &Before,
) -> Result<Counts, Value> {
    let mut counts = it.count_children().await.map_err(|error| word(&error))?;
    let running = |path: &&String| matches!(before.becomes(world, path), Some(Becomes::Running));
    counts.active += before.starting().filter(running).count();
    let gone = before.gone(world);
    counts.specs -= gone;
    counts.workers -= gone;
    Ok(counts)
}

/// Starts a child. As OTP waits for every stop before it, who is refused because of one asks again.
///
/// [`Rule::StartsOverlap`](crate::Rule::StartsOverlap)
pub(crate) async fn start_child(
    it: &DynamicSupervisor,
    world: &World,
    child: ChildSpec,
    before: &Before,
) -> Result<Started, ControlError> {
    let started = it.start_child(child.clone()).await;
    match started {
        Err(ControlError::MaxChildren) if before.gone(world) > 0 => {
            world.settle().await;
            it.start_child(child).await
        }
        started => started,
    }
}
