//! The combinations, and how the processes of one are configured. Pure.

use std::fmt::{self, Write as _};

/// Where shuffled data lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the memory of a worker, until that is short.
    Memory,
    /// In files.
    Disks,
    /// In an object store.
    Objects,
}

impl Place {
    /// All of them, in the order in which data go through them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disks, Self::Objects];

    /// As configuration and reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disks => "disks",
            Self::Objects => "objects",
        }
    }
}

/// What an object store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A folder, that of the blobs.
    Folder,
    /// A server of S3's protocol.
    S3,
}

/// How much memory the shuffle workers have for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// All together a tenth of the bytes of the skewed shuffle; each at least 16 MiB.
    Tenth,
    /// Enough for all of it at each.
    Enough,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combination {
    /// In the order in which data go through them.
    pub places: Vec<Place>,
    /// Copies of each block.
    pub copies: u8,
    /// Memory of the workers.
    pub budget: Budget,
    /// What the object store is.
    pub store: Store,
}

/// Amounts of one run, in bytes unless the name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// What the skewed shuffle moves.
    pub skew: u64,
    /// Memory for the tasks of each executor.
    pub executor: u64,
    /// Partitions of a plan.
    pub partitions: usize,
}

/// Shuffle workers.
pub(super) const WORKERS: u64 = 2;

/// A worker takes no less.
const MEMORY_MIN: u64 = 16 << 20;

/// Percent of a worker's memory above which data leave it: the default, and the least that there is,
/// where memory is only on the way.
const MARK: u8 = 75;
const MARK_LEAST: u8 = 10;

/// Of a worker's data a partition's pieces on disk are at most this.
const FLUSH_MAX: u64 = 4 << 20;
const FLUSH_MIN: u64 = 4 << 10;

/// Every combination of one, two and three places, with one copy and with two. Memory alone comes
/// twice: with a tenth, which cannot hold all, and with enough. `s3`: all three places have a server
/// of S3's protocol as their object store, the others a folder.
pub fn matrix(s3: bool) -> Vec<Combination> {
    let mut all = Vec::new();
    for bits in [0b001, 0b010, 0b100, 0b011, 0b101, 0b110, 0b111_u8] {
        let chosen = Place::ALL.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        let places: Vec<Place> = chosen.map(|(_, place)| *place).collect();
        let store = if s3 && places.len() == 3 { Store::S3 } else { Store::Folder };
        for copies in [1, 2] {
            let places = places.clone();
            all.push(Combination { places, copies, budget: Budget::Tenth, store });
        }
    }
    let places = [Place::Memory];
    let enough = [1, 2].map(|copies| {
        let (budget, store) = (Budget::Enough, Store::Folder);
        Combination { places: places.to_vec(), copies, budget, store }
    });
    all.extend(enough);
    all
}

impl Combination {
    /// True if data are to lie there.
    pub fn has(&self, place: Place) -> bool {
        self.places.contains(&place)
    }

    /// Memory alone, and too little of it: the one combination that may refuse.
    pub fn may_refuse(&self) -> bool {
        self.budget == Budget::Tenth && self.places == [Place::Memory]
    }

    /// Memory for blocks of one worker.
    pub fn memory(&self, sizes: &Sizes) -> u64 {
        match self.budget {
            Budget::Tenth => (sizes.skew / 10 / WORKERS).max(MEMORY_MIN),
            // One worker may get all, and what its answers have not yet told of.
            Budget::Enough => sizes.skew * 3 / 2,
        }
    }

    /// What follows the folder of a worker's disk, if it has one. Before an object store it is so
    /// small that the store gets more than half.
    pub(super) fn disk(&self, sizes: &Sizes) -> Option<String> {
        let capacity = sizes.skew * u64::from(self.copies) / 5 / WORKERS;
        match (self.has(Place::Disks), self.has(Place::Objects)) {
            (false, _) => None,
            (true, false) => Some(String::new()),
            (true, true) => Some(format!(":capacity={capacity}")),
        }
    }

    /// The configuration of all processes. `objects`: URL of the object store, where it is not the
    /// place of the blobs.
    pub(super) fn configuration(&self, sizes: &Sizes, objects: Option<&str>) -> String {
        let memory = self.memory(sizes);
        let tiers: Vec<String> = self
            .places
            .iter()
            .filter(|place| **place != Place::Memory)
            .map(|place| format!("\"{}\"", place.as_str()))
            .collect();
        let mark = if self.has(Place::Memory) { MARK } else { MARK_LEAST };
        // As the defaults are to 4 GiB.
        let (soft, hard) = ((sizes.skew / 4).max(1 << 20), (sizes.skew / 2).max(2 << 20));
        let flush = (memory / 8).clamp(FLUSH_MIN, FLUSH_MAX);
        let Sizes { executor, partitions, .. } = sizes;
        let mut text = format!(
            "threads = 1\nmemory = \"{executor}\"\nshuffle-memory = \"{memory}\"\nhistory = 1000\n\
             lease-ttl = \"10s\"\nhold = \"20s\"\nsweep = \"3s\"\nlog-level = \"warn\"\n\n\
             [session]\npartitions = {partitions}\ncollapse_bytes = \"0\"\nplan_cache = false\n\n\
             [shuffle]\ntiers = [{}]\nmemory-mark = {mark}\nsplit-soft = \"{soft}\"\n\
             split-hard = \"{hard}\"\nextent-bytes = \"{soft}\"\nflush-bytes = \"{flush}\"\n",
            tiers.join(", ")
        );
        if let Some(url) = objects {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "objects = {url:?}");
        }
        text
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<&str> = self.places.iter().map(|place| place.as_str()).collect();
        write!(f, "{}", places.join(", "))?;
        if self.store == Store::S3 {
            write!(f, " (S3)")?;
        }
        match self.budget {
            Budget::Tenth => Ok(()),
            Budget::Enough => write!(f, " (enough)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_is_there_with_one_copy_and_with_two() {
        let all = matrix(true);
        assert_eq!(all.len(), 16);
        for combination in &all {
            assert_eq!(all.iter().filter(|other| *other == combination).count(), 1);
        }
        assert_eq!(all.iter().filter(|c| c.store == Store::S3).count(), 2);
        assert_eq!(all.iter().filter(|c| c.may_refuse()).count(), 2);
        assert!(matrix(false).iter().all(|c| c.store == Store::Folder));
    }

    #[test]
    fn memory_is_a_tenth_and_disks_before_objects_hold_less_than_half() {
        let sizes = Sizes { skew: 4000 << 20, executor: 1 << 30, partitions: 8 };
        for combination in matrix(false) {
            let text = combination.configuration(&sizes, None);
            let tenth = combination.budget == Budget::Tenth;
            assert_eq!(text.contains("shuffle-memory = \"209715200\""), tenth, "{text}");
            let full = combination.has(Place::Disks) && combination.has(Place::Objects);
            let limited = combination.disk(&sizes).is_some_and(|disk| disk.contains("capacity"));
            assert_eq!(limited, full, "{combination}");
        }
    }
}
