//! Sets of maps, as Roaring bitmaps: which maps have written into a partition. They travel with
//! commits and locations if an application reads ranges of maps.
//!
//! The portable form is the one that `RoaringBitmap.serialize` of Java writes: numbers by their upper
//! 16 bits in containers, each an array, a bitmap, or runs. Little endian throughout.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dunlin_base::{Error, Result};

/// No map has a greater number, so that a set takes 2 MiB at most.
pub const MAP_MAX: u32 = (1 << 24) - 1;

/// A container with more numbers is written as a bitmap.
const ARRAY_MAX: usize = 4096;

const WORDS: usize = 1024;
const COOKIE: u16 = 12_346;
const COOKIE_WITH_RUNS: u16 = 12_347;

/// With fewer containers, a form with runs has no offsets.
const OFFSETS_FROM: usize = 4;

/// A set of maps. Takes two bytes for each, or 8 KiB for each 65,536 of which many are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapIds(BTreeMap<u16, Container>);

/// Numbers with the same upper half: an array up to [`ARRAY_MAX`], else a bitmap, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Container {
    Array(Vec<u16>),
    Bits { words: Box<[u64; WORDS]>, count: usize },
}

impl Container {
    /// False if it was there before.
    fn insert(&mut self, low: u16) -> bool {
        match self {
            Self::Array(array) => {
                let Err(at) = array.binary_search(&low) else { return false };
                array.insert(at, low);
                if array.len() > ARRAY_MAX {
                    let mut words = Box::new([0; WORDS]);
                    array.iter().for_each(|low| words[usize::from(*low >> 6)] |= 1 << (low & 63));
                    *self = Self::Bits { words, count: ARRAY_MAX + 1 };
                }
                true
            }
            Self::Bits { words, count } => {
                let (word, bit) = (&mut words[usize::from(low >> 6)], 1 << (low & 63));
                let new = *word & bit == 0;
                *word |= bit;
                *count += usize::from(new);
                new
            }
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Array(array) => array.binary_search(&low).is_ok(),
            Self::Bits { words, .. } => words[usize::from(low >> 6)] & 1 << (low & 63) != 0,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Array(array) => array.len(),
            Self::Bits { count, .. } => *count,
        }
    }

    /// Bytes on the wire.
    fn size(&self) -> usize {
        match self {
            Self::Array(array) => 2 * array.len(),
            Self::Bits { .. } => 8 * WORDS,
        }
    }

    fn put(&self, into: &mut BytesMut) {
        match self {
            Self::Array(array) => array.iter().for_each(|low| into.put_u16_le(*low)),
            Self::Bits { words, .. } => words.iter().for_each(|word| into.put_u64_le(*word)),
        }
    }
}

impl MapIds {
    /// Adds a map. False if it was there before. `Invalid` beyond [`MAP_MAX`].
    pub fn insert(&mut self, map: u32) -> Result<bool> {
        if map > MAP_MAX {
            return Err(Error::invalid(format!("map {map} is beyond {MAP_MAX}")));
        }
        let container = self.0.entry((map >> 16) as u16);
        Ok(container.or_insert_with(|| Container::Array(Vec::new())).insert(map as u16))
    }

    /// Whether a map is in the set.
    pub fn contains(&self, map: u32) -> bool {
        let high = u16::try_from(map >> 16).expect("16 bits");
        self.0.get(&high).is_some_and(|container| container.contains(map as u16))
    }

    /// How many maps are in it.
    pub fn len(&self) -> usize {
        self.0.values().map(Container::len).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The portable form; no bytes for an empty set, as Celeborn has it.
    pub fn encode(&self) -> Bytes {
        let count = self.0.len();
        if count == 0 {
            return Bytes::new();
        }
        let mut bytes = BytesMut::new();
        bytes.put_u32_le(u32::from(COOKIE));
        bytes.put_u32_le(count as u32);
        for (high, container) in &self.0 {
            bytes.put_u16_le(*high);
            bytes.put_u16_le((container.len() - 1) as u16);
        }
        let mut at = 8 + 8 * count;
        for container in self.0.values() {
            bytes.put_u32_le(at as u32);
            at += container.size();
        }
        self.0.values().for_each(|container| container.put(&mut bytes));
        bytes.freeze()
    }

    /// The set of a portable form. `Invalid` if that is malformed, has a map beyond [`MAP_MAX`], or
    /// goes on after its end.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut left = bytes;
        let set = read(&mut left).ok_or_else(|| Error::invalid("a set of maps is malformed"))?;
        match left.is_empty() {
            true => Ok(set),
            false => Err(Error::invalid("a set of maps is longer than it says")),
        }
    }
}

fn read(left: &mut &[u8]) -> Option<MapIds> {
    let (cookie, more) = (left.try_get_u16_le().ok()?, left.try_get_u16_le().ok()?);
    let (count, runs) = match cookie {
        COOKIE if more == 0 => (left.try_get_u32_le().ok()? as usize, None),
        COOKIE_WITH_RUNS => {
            let count = usize::from(more) + 1;
            (count, Some(take(left, count.div_ceil(8))?))
        }
        _ => return None,
    };
    if count == 0 || count > (MAP_MAX as usize >> 16) + 1 {
        return None;
    }
    let mut heads = take(left, 4 * count)?;
    if runs.is_none() || count >= OFFSETS_FROM {
        // Where each begins: one after the other, and nowhere else.
        take(left, 4 * count)?;
    }
    let mut set = BTreeMap::new();
    let mut last = None;
    for at in 0..count {
        let (high, size) = (heads.get_u16_le(), usize::from(heads.get_u16_le()) + 1);
        if u32::from(high) > MAP_MAX >> 16 || last.is_some_and(|last| high <= last) {
            return None;
        }
        last = Some(high);
        let is_run = runs.is_some_and(|runs| runs[at / 8] & 1 << (at % 8) != 0);
        let container = if is_run { read_runs(left)? } else { read_plain(left, size)? };
        if container.len() != size {
            return None;
        }
        set.insert(high, container);
    }
    Some(MapIds(set))
}

fn take<'a>(left: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    left.split_off(..bytes)
}

fn read_plain(left: &mut &[u8], size: usize) -> Option<Container> {
    if size > ARRAY_MAX {
        let mut bytes = take(left, 8 * WORDS)?;
        let mut words = Box::new([0; WORDS]);
        words.iter_mut().for_each(|word| *word = bytes.get_u64_le());
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        return Some(Container::Bits { words, count });
    }
    let bytes = take(left, 2 * size)?;
    let array: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    array.is_sorted_by(|a, b| a < b).then_some(Container::Array(array))
}

fn read_runs(left: &mut &[u8]) -> Option<Container> {
    let count = usize::from(left.try_get_u16_le().ok()?);
    let mut bytes = take(left, 4 * count)?;
    let (mut container, mut next) = (Container::Array(Vec::new()), 0);
    for _ in 0..count {
        let (start, more) = (u32::from(bytes.get_u16_le()), u32::from(bytes.get_u16_le()));
        let end = start + more;
        if start < next || end > u32::from(u16::MAX) {
            return None;
        }
        for low in start..=end {
            container.insert(low as u16);
        }
        next = end + 1;
    }
    Some(container)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn set(maps: impl IntoIterator<Item = u32>) -> MapIds {
        let mut set = MapIds::default();
        for map in maps {
            set.insert(map).expect("small");
        }
        set
    }

    /// Sets of each kind of container.
    pub(crate) fn sets() -> Vec<MapIds> {
        vec![
            set([0]),
            set([5, 3, 70_000, 3, MAP_MAX]),
            set((0..5_000).map(|map| map * 3)),
            set((0..4_096).chain(65_536..65_536 * 2)),
        ]
    }

    #[test]
    fn sets_come_back_from_their_bytes() {
        for set in sets() {
            assert_eq!(MapIds::decode(&set.encode()).expect("its own"), set);
        }
        assert_eq!(MapIds::decode(&[]).expect("nothing"), MapIds::default());
        assert!(MapIds::default().encode().is_empty());
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = set((0..5_000).map(|map| map * 30));
        assert_eq!(set.len(), 5_000);
        assert!((0..150_000).all(|map| set.contains(map) == map.is_multiple_of(30)));
        assert!(!set.contains(u32::MAX));
        let mut small = MapIds::default();
        assert!(small.is_empty() && small.insert(7).expect("small"));
        assert!(!small.insert(7).expect("there") && small.insert(MAP_MAX + 1).is_err());
    }

    #[test]
    fn runs_are_read() {
        // One container: 3 to 6 and 9, as `runOptimize` of Java leaves them.
        let bytes = [0x3b, 0x30, 0, 0, 1, 0, 0, 4, 0, 2, 0, 3, 0, 3, 0, 9, 0, 0, 0];
        assert_eq!(MapIds::decode(&bytes).expect("runs"), set([3, 4, 5, 6, 9]));
    }

    #[test]
    fn a_form_that_is_cut_or_out_of_order_is_refused() {
        for whole in sets().iter().map(MapIds::encode) {
            for end in (1..whole.len()).step_by(1 + whole.len() / 500) {
                assert!(MapIds::decode(&whole[..end]).is_err());
            }
            assert!(MapIds::decode(&[&whole[..], &[0]].concat()).is_err());
        }
        let mut two = set([3, 5]).encode().to_vec();
        let end = two.len();
        two.swap(end - 2, end - 4);
        assert!(MapIds::decode(&two).is_err(), "5 before 3");
    }
}
