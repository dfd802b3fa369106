//! The blocks of a partition by name and size, for who reads it in pieces of its own.

use super::index::{Inner, Key, Partition};
use crate::contents::{BlockAt, Order};

impl Partition {
    /// What is here now.
    pub(crate) fn contents(&self, order: &Order) -> Vec<BlockAt> {
        let inner = &*self.inner.lock();
        match order {
            // A discarded block stays among the arrivals.
            Order::Arrival => inner.arrivals.iter().filter_map(|key| at(inner, *key)).collect(),
            Order::Maps(maps) => {
                let within = inner.blocks.iter().filter(|(key, _)| maps.contains(&key.map));
                within.map(|(key, stored)| block_at(*key, stored.length)).collect()
            }
        }
    }
}

fn at(inner: &Inner, key: Key) -> Option<BlockAt> {
    Some(block_at(key, inner.blocks.get(&key)?.length))
}

fn block_at(key: Key, length: usize) -> BlockAt {
    let Key { map, attempt, batch } = key;
    BlockAt { map, attempt, batch, bytes: length as u64 }
}
