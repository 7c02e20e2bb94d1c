//! What both machines keep of a child, and the slots that they keep it in.

use crate::{ChildType, Index, Restart, Shutdown, Spec};

/// A child whose state is one of `S`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Child<S> {
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) kind: ChildType,
    /// It is killed without being asked; how long it has otherwise is not decided here.
    pub(crate) brutal_kill: bool,
    pub(crate) state: S,
    /// The number of the current incarnation, or of the next one while it is down.
    pub(crate) number: u32,
}

impl<S> Child<S> {
    pub(crate) fn new(spec: Spec, state: S, number: u32) -> Self {
        Self {
            restart: spec.restart,
            significant: spec.significant,
            kind: spec.child_type,
            brutal_kill: spec.shutdown == Shutdown::BrutalKill,
            state,
            number,
        }
    }

    /// A life of it is over.
    pub(crate) fn pass(&mut self) {
        self.number = self.number.wrapping_add(1);
    }
}

/// Puts a child into a free slot, or a new one, with a number that is greater than any that the
/// slot has had: late words from who was there before count for nothing.
pub(crate) fn place<S>(
    children: &mut Vec<Child<S>>,
    free: &mut Vec<Index>,
    mut child: Child<S>,
) -> Index {
    let Some(slot) = free.pop() else {
        children.push(child);
        return children.len() - 1;
    };
    child.number = child.number.max(children[slot].number);
    children[slot] = child;
    slot
}
