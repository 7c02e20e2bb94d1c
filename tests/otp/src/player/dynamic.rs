//! What a dynamic supervisor answers in the middle of a batch, read as OTP would say it.
//!
//! OTP does one thing after the other, so whoever asks sees what became of each start and stop before.
//! Ours begins them all and answers: the children have not had a turn yet.

use std::collections::HashSet;

use serde_json::{Value, json};
use uptree_supervisor::{ChildInfo, Counts, DynamicSupervisor, Status};

use super::{
    calls::{child_path, kind, status_word, word},
    world::{Stage, World},
};
use crate::scenario::{Call, Op};

/// What the same batch has done before, by the paths of the children.
#[derive(Clone, Default)]
pub(crate) struct Before {
    /// Those that may be starting: they were told to end, or it was called for.
    touched: HashSet<String>,
    /// Those that are going down.
    terminated: HashSet<String>,
}

impl Before {
    /// A child was told to end.
    pub(crate) fn exit(&mut self, path: &str) {
        self.touched.insert(path.to_owned());
    }

    /// A call was made.
    pub(crate) fn call(&mut self, world: &World, call: &Call) {
        let path = child_path(call);
        match call.op {
            Op::StartChild => {
                self.touched.insert(path);
            }
            Op::TerminateChild if call.by.is_none() && self.may_run(world, &path) => {
                self.terminated.insert(path);
            }
            _ => {}
        }
    }

    /// Who had ended before may have been started again by then.
    fn may_run(&self, world: &World, path: &str) -> bool {
        world.running(path).is_some() || self.touched.contains(path)
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
    if status == Status::Running && before.terminated.contains(path) {
        return None;
    }
    if status == Status::Running && before.touched.contains(path) {
        match world.latest(path).map(|process| process.stage()) {
            Some(Stage::Failed) if world.child_ref(path).is_some() => status = Status::Restarting,
            Some(Stage::Failed | Stage::Ignored) => return None,
            _ => {}
        }
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
    for path in before.touched.union(&before.terminated) {
        let Some(stage) = world.latest(path).map(|process| process.stage()) else {
            continue;
        };
        let known = world.child_ref(path).is_some();
        let terminated = before.terminated.contains(path);
        let touched = before.touched.contains(path);
        match stage {
            // It had ended for good before it could be terminated.
            Stage::Ended if touched => {}
            Stage::Failed if known && !terminated => {}
            Stage::Starting | Stage::Up if !terminated => counts.active += 1,
            // Terminated, or never kept.
            _ => {
                counts.specs -= 1;
                counts.workers -= 1;
            }
        }
    }
    Ok(counts)
}
