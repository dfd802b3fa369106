//! The blocks of a partition by their keys: a sorted table in chunks. Pure.
//!
//! Blocks come nearly in order: maps end one after the other, and only those that run at the same time
//! are mixed. So nearly every block is put behind the last one, or a few places before it, and a reader
//! that goes from key to key finds each beside the one before. With thousands of partitions a search
//! would meet memory that no cache has at each of its steps.

use super::index::{Key, Stored};

/// Blocks of a chunk. One that does not come last moves half of them in the mean.
const CHUNK: usize = 256;

type Entry = (Key, Stored);

/// The table.
#[derive(Default)]
pub(super) struct Blocks {
    /// None is empty; each begins behind the end of the one before.
    full: Vec<Vec<Entry>>,
    /// What comes behind all of these.
    tail: Vec<Entry>,
    /// No key is greater. A look at the tail itself costs more.
    last: Option<Key>,
}

/// A place in the table: one that a key has, or would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    chunk: usize,
    entry: usize,
}

impl Blocks {
    pub(super) fn len(&self) -> usize {
        self.full.iter().map(Vec::len).sum::<usize>() + self.tail.len()
    }

    /// All, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.full.iter().flatten().chain(&self.tail)
    }

    /// What is at a place that [`Blocks::find`] found.
    pub(super) fn at(&self, at: At) -> Option<&Stored> {
        self.entry(at).map(|(_, stored)| stored)
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Stored> {
        self.at(self.find(key).ok()?)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Stored> {
        let At { chunk, entry } = self.find(key).ok()?;
        self.chunk_mut(chunk).get_mut(entry).map(|(_, stored)| stored)
    }

    /// As [`Blocks::get`]; `finger` is where it probably is, and where the next one probably is
    /// afterwards.
    pub(super) fn get_near(&self, key: &Key, finger: &mut At) -> Option<&Stored> {
        let at = match self.entry(*finger) {
            Some((there, _)) if there == key => *finger,
            _ => self.find(key).ok()?,
        };
        *finger = self.after(at);
        self.entry(at).map(|(_, stored)| stored)
    }

    /// The keys from `from` to `to`, both of them in; `finger` as in [`Blocks::get_near`].
    pub(super) fn keys_near(&self, (from, to): (Key, Key), finger: &mut At, into: &mut Vec<Key>) {
        let is_first = |at: At| {
            let before = self.before(at).and_then(|before| self.entry(before));
            let here = self.entry(at);
            here.is_some_and(|(key, _)| *key >= from) && before.is_none_or(|(key, _)| *key < from)
        };
        let mut at = match is_first(*finger) {
            true => *finger,
            false => self.find(&from).unwrap_or_else(|free| free),
        };
        while let Some((key, _)) = self.entry(at).filter(|(key, _)| *key <= to) {
            into.push(*key);
            at = self.after(at);
        }
        *finger = at;
    }

    /// Puts a block where its key belongs, which nobody has: the caller has looked.
    pub(super) fn insert(&mut self, at: At, key: Key, stored: Stored) {
        let At { chunk, entry } = at;
        self.chunk_mut(chunk).insert(entry, (key, stored));
        match self.full.get_mut(chunk) {
            Some(full) if full.len() == 2 * CHUNK => {
                let behind = full.split_off(CHUNK);
                self.full.insert(chunk + 1, behind);
            }
            None if self.tail.len() == CHUNK => self.full.push(std::mem::take(&mut self.tail)),
            _ => {}
        }
        self.last = self.last.max(Some(key));
    }

    /// Puts a block in the place of the one that its key has, if it has one: gives that back.
    pub(super) fn replace(&mut self, key: Key, stored: Stored) -> Option<Stored> {
        match self.find(&key) {
            Ok(At { chunk, entry }) => {
                let there = self.chunk_mut(chunk).get_mut(entry);
                there.map(|(_, there)| std::mem::replace(there, stored))
            }
            Err(free) => {
                self.insert(free, key, stored);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Stored> {
        let At { chunk, entry } = self.find(key).ok()?;
        let (_, stored) = self.chunk_mut(chunk).remove(entry);
        if self.full.get(chunk).is_some_and(Vec::is_empty) {
            self.full.remove(chunk);
        }
        Some(stored)
    }

    /// Where this key is, or where it would be put.
    pub(super) fn find(&self, key: &Key) -> Result<At, At> {
        if self.last.is_none_or(|last| *key > last) {
            return Err(At { chunk: self.full.len(), entry: self.tail.len() });
        }
        let chunk = match self.tail.first() {
            Some((first, _)) if first <= key => self.full.len(),
            // Behind all of the full ones it is before the tail.
            _ => self.full.partition_point(|full| full.last().is_none_or(|(last, _)| last < key)),
        };
        let at = |entry| At { chunk, entry };
        search(self.chunk(chunk), key).map(at).map_err(at)
    }

    fn chunk(&self, number: usize) -> &[Entry] {
        self.full.get(number).unwrap_or(&self.tail)
    }

    fn chunk_mut(&mut self, number: usize) -> &mut Vec<Entry> {
        self.full.get_mut(number).unwrap_or(&mut self.tail)
    }

    fn entry(&self, at: At) -> Option<&Entry> {
        self.chunk(at.chunk).get(at.entry)
    }

    fn after(&self, At { chunk, entry }: At) -> At {
        let ends = entry + 1 >= self.chunk(chunk).len() && chunk < self.full.len();
        if ends { At { chunk: chunk + 1, entry: 0 } } else { At { chunk, entry: entry + 1 } }
    }

    fn before(&self, At { chunk, entry }: At) -> Option<At> {
        if let Some(entry) = entry.checked_sub(1) {
            return Some(At { chunk, entry });
        }
        let chunk = chunk.checked_sub(1)?;
        Some(At { chunk, entry: self.chunk(chunk).len().checked_sub(1)? })
    }
}

/// A binary search that begins at the end, with steps that double.
fn search(entries: &[Entry], key: &Key) -> Result<usize, usize> {
    let (mut step, mut to) = (1, entries.len());
    let mut from = to.saturating_sub(step);
    while from > 0 && entries[from].0 > *key {
        to = from;
        step *= 2;
        from = to.saturating_sub(step);
    }
    let found = entries[from..to].binary_search_by_key(key, |(key, _)| *key);
    found.map(|at| from + at).map_err(|at| from + at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dunlin_base::Attempt;
    use dunlin_proto::block::Codec;
    use proptest::prelude::*;

    use super::*;
    use crate::partition::index::Place;

    fn key(number: u32) -> Key {
        Key { map: number / 4, attempt: Attempt(number / 2 % 2), batch: number % 2 }
    }

    fn stored(rows: u32) -> Stored {
        let place = Place::Extent { index: 0, offset: 0 };
        Stored { rows, codec: Codec::Plain, checksum: 0, length: 0, place }
    }

    fn all(blocks: &Blocks) -> Vec<(Key, u32)> {
        blocks.iter().map(|(key, stored)| (*key, stored.rows)).collect()
    }

    /// Does the same to a tree.
    fn both(numbers: &[(u32, bool)]) -> (Blocks, BTreeMap<Key, u32>) {
        let (mut blocks, mut model) = (Blocks::default(), BTreeMap::new());
        for (rows, (number, remove)) in (0..).zip(numbers) {
            let key = key(*number);
            let (got, expected) = match remove {
                true => (blocks.remove(&key), model.remove(&key)),
                false => (blocks.replace(key, stored(rows)), model.insert(key, rows)),
            };
            assert_eq!(got.map(|stored| stored.rows), expected);
        }
        (blocks, model)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_sorted_map(
            numbers in prop::collection::vec((0..3000_u32, prop::bool::weighted(0.2)), 0..2500),
            ascends in any::<bool>(),
            asked in prop::collection::vec(0..3100_u32, 50),
        ) {
            let mut numbers = numbers;
            if ascends {
                numbers.sort_unstable();
            }
            let (blocks, model) = both(&numbers);
            prop_assert_eq!(blocks.len(), model.len());
            prop_assert_eq!(all(&blocks), model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            let (mut finger, mut ranges) = (At::default(), At::default());
            for number in asked {
                let (from, to) = (key(number), key(number + 1));
                let expected = model.get(&from);
                prop_assert_eq!(blocks.get(&from).map(|stored| &stored.rows), expected);
                let near = blocks.get_near(&from, &mut finger);
                prop_assert_eq!(near.map(|stored| &stored.rows), expected);
                let mut keys = Vec::new();
                blocks.keys_near((from, to), &mut ranges, &mut keys);
                prop_assert_eq!(keys, model.range(from..=to).map(|(k, _)| *k).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn who_goes_from_key_to_key_never_searches() {
        let numbers: Vec<_> = (0..2000).map(|number| (number, false)).collect();
        let (blocks, _) = both(&numbers);
        let mut finger = At::default();
        for (number, _) in &numbers {
            assert_eq!(blocks.find(&key(*number)), Ok(finger), "block {number}");
            assert!(blocks.get_near(&key(*number), &mut finger).is_some());
        }
    }
}
