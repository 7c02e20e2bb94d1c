//! The tree as it is told to the outside.

use std::time::Duration;

use serde::Serialize;
use uptree_supervisor::{ChildState, ChildType, Snapshot};

use super::timeline::{ms, opt_ms};

/// How many children of one supervisor are told of.
const CHILDREN: usize = 1000;

/// A child and what is below it, at one moment: a [`Snapshot`] as JSON.
///
/// Of one supervisor's children a thousand are told of.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TreeNode {
    /// Its name among its siblings.
    pub id: String,
    /// `worker` or `supervisor`.
    #[serde(rename = "type")]
    pub child_type: &'static str,
    /// Where it is in its life: `down`, `starting`, `running`, `done`, `stopping`, `stuck` or
    /// `backing_off`.
    pub state: &'static str,
    /// For how long.
    #[serde(rename = "for_ms", serialize_with = "ms")]
    pub age: Duration,
    /// How often it had been started before.
    pub incarnation: u64,
    /// For how long its code has been blocking a worker thread.
    #[serde(
        rename = "blocks_for_ms",
        serialize_with = "opt_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub blocks_for: Option<Duration>,
    /// What is below it, in start order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeNode>,
    /// How many more there are below it.
    #[serde(skip_serializing_if = "is_zero")]
    pub children_left_out: usize,
}

impl From<Snapshot> for TreeNode {
    fn from(snapshot: Snapshot) -> Self {
        let left_out = snapshot.children.len().saturating_sub(CHILDREN);
        let children = snapshot.children.into_iter().take(CHILDREN);
        Self {
            id: snapshot.id,
            child_type: match snapshot.child_type {
                ChildType::Worker => "worker",
                ChildType::Supervisor => "supervisor",
            },
            state: match snapshot.state {
                ChildState::Starting => "starting",
                ChildState::Running => "running",
                ChildState::Ignored => "done",
                ChildState::Stopping => "stopping",
                ChildState::Stuck => "stuck",
                ChildState::BackingOff => "backing_off",
                _ => "down",
            },
            age: snapshot.age,
            incarnation: snapshot.incarnation,
            blocks_for: snapshot.blocks_for,
            children: children.map(Self::from).collect(),
            children_left_out: left_out,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
