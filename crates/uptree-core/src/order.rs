//! The start order of slots.

use crate::Index;

/// A doubly linked list of slots: one is added at the end or taken out in O(1), and none moves.
///
/// It knows nothing of what is in the slots. Which of them are in the list is for its owner to
/// remember.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Order {
    links: Vec<Link>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Link {
    before: u32,
    after: u32,
}

/// Where the list ends.
const NONE: u32 = u32::MAX;

impl Order {
    pub(crate) fn new() -> Self {
        Self {
            links: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }

    /// The first `len` slots, in their order.
    pub(crate) fn of(len: usize) -> Self {
        let Some(last) = len.checked_sub(1).map(pack) else {
            return Self::new();
        };
        let link = |slot: u32| Link {
            // Of the first this is `NONE`.
            before: slot.wrapping_sub(1),
            after: if slot == last { NONE } else { slot + 1 },
        };
        Self {
            links: (0..=last).map(link).collect(),
            first: 0,
            last,
        }
    }

    pub(crate) fn first(&self) -> Option<Index> {
        unpack(self.first)
    }

    pub(crate) fn last(&self) -> Option<Index> {
        unpack(self.last)
    }

    pub(crate) fn before(&self, slot: Index) -> Option<Index> {
        unpack(self.links[slot].before)
    }

    pub(crate) fn after(&self, slot: Index) -> Option<Index> {
        unpack(self.links[slot].after)
    }

    /// Adds `slot` at the end.
    pub(crate) fn push(&mut self, slot: Index) {
        let new = pack(slot);
        let link = Link {
            before: self.last,
            after: NONE,
        };
        if self.links.len() <= slot {
            self.links.resize(slot + 1, link);
        }
        self.links[slot] = link;
        match unpack(self.last) {
            Some(last) => self.links[last].after = new,
            None => self.first = new,
        }
        self.last = new;
    }

    /// Takes `slot` out.
    pub(crate) fn remove(&mut self, slot: Index) {
        let Link { before, after } = self.links[slot];
        match unpack(before) {
            Some(before) => self.links[before].after = after,
            None => self.first = after,
        }
        match unpack(after) {
            Some(after) => self.links[after].before = before,
            None => self.last = before,
        }
    }
}

fn pack(slot: Index) -> u32 {
    let packed = u32::try_from(slot).ok().filter(|&slot| slot != NONE);
    packed.expect("a supervisor has fewer than four billion children")
}

fn unpack(slot: u32) -> Option<Index> {
    (slot != NONE).then_some(slot as Index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(order: &Order, expected: &[Index]) {
        // A ring has no end.
        let most = expected.len() + 1;
        let forwards = std::iter::successors(order.first(), |&slot| order.after(slot));
        assert_eq!(forwards.take(most).collect::<Vec<_>>(), expected);
        let backwards = std::iter::successors(order.last(), |&slot| order.before(slot));
        let backwards: Vec<_> = backwards.take(most).collect();
        assert_eq!(backwards.into_iter().rev().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn slots_are_taken_out_anywhere_and_added_at_the_end() {
        check(&Order::of(0), &[]);
        check(&Order::of(1), &[0]);
        let mut order = Order::new();
        check(&order, &[]);
        (0..4).for_each(|slot| order.push(slot));
        check(&order, &[0, 1, 2, 3]);
        assert_eq!(order, Order::of(4));
        order.remove(1);
        check(&order, &[0, 2, 3]);
        order.push(1);
        check(&order, &[0, 2, 3, 1]);
        order.remove(1);
        order.remove(0);
        check(&order, &[2, 3]);
        order.remove(2);
        order.remove(3);
        check(&order, &[]);
        order.push(0);
        check(&order, &[0]);
    }
}
