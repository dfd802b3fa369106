//! A set that forgets its oldest members: ended queries and discarded attempts are remembered in
//! it. Forgetting is safe, it only lets a very late push store bytes that the sweeper removes.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// At most `capacity` members; the oldest leaves first.
pub(crate) struct BoundedSet<T> {
    capacity: usize,
    members: HashSet<T>,
    order: VecDeque<T>,
}

impl<T: Copy + Eq + Hash> BoundedSet<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), members: HashSet::new(), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, member: T) {
        if !self.members.insert(member) {
            return;
        }
        self.order.push_back(member);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
    }

    /// All members, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.order.iter()
    }

    pub(crate) fn contains(&self, member: &T) -> bool {
        // Usually empty: spares the push path a hash.
        !self.members.is_empty() && self.members.contains(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_member_leaves_first() {
        let mut set = BoundedSet::new(2);
        for n in [1, 2, 2, 1, 3] {
            set.insert(n);
        }
        assert_eq!([1, 2, 3].map(|n| set.contains(&n)), [false, true, true]);
    }
}
