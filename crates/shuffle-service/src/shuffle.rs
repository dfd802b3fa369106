//! One shuffle: its partitions, and the gate that decides whether a push may come in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::MapAttempt;
use parking_lot::RwLock;

use crate::bounded::BoundedSet;
use crate::memory::{ENTRY_COST, Memory, Reservation};
use crate::partition::{Adopt, Appended, Partition, Removed, Sums};

/// Discarded attempts that are remembered for one shuffle.
const DISCARDED_MAX: usize = 4096;

/// The shuffle. Pushes hold the gate for reading while they append, so sealing, discarding and
/// deleting happen wholly before or wholly after a push.
pub(crate) struct Shuffle {
    id: ShuffleId,
    gate: RwLock<Gate>,
    partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
    /// What its partitions count in.
    sums: Arc<Sums>,
    /// Not all that was pushed to a former life, or to a worker whose objects were adopted, is there,
    /// and nobody knows what it was: who asks for what a commit names sees what is missing, who follows
    /// would not.
    holes: AtomicBool,
}

/// What of a shuffle outlives its process, besides its partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) sealed: bool,
    pub(crate) holes: bool,
    /// The latest last.
    pub(crate) discarded: Vec<MapAttempt>,
}

struct Gate {
    sealed: bool,
    deleted: bool,
    discarded: BoundedSet<MapAttempt>,
}

/// Whether more blocks can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Sealed,
    Deleted,
}

/// What a push changed, also one that failed in the middle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) stored: i64,
    pub(crate) duplicates: u64,
}

impl Shuffle {
    pub(crate) fn new(id: ShuffleId) -> Self {
        let gate =
            Gate { sealed: false, deleted: false, discarded: BoundedSet::new(DISCARDED_MAX) };
        Self {
            id,
            gate: RwLock::new(gate),
            partitions: RwLock::default(),
            sums: Arc::default(),
            holes: AtomicBool::new(false),
        }
    }

    /// The shuffle as a former life left it. `sums` is what its partitions count in.
    pub(crate) fn restored(
        id: ShuffleId,
        fate: Fate,
        sums: Arc<Sums>,
        partitions: Vec<(PartitionId, Partition)>,
    ) -> Self {
        let mut shuffle = Self { holes: AtomicBool::new(fate.holes), sums, ..Self::new(id) };
        let gate = shuffle.gate.get_mut();
        gate.sealed = fate.sealed;
        fate.discarded.into_iter().for_each(|attempt| gate.discarded.insert(attempt));
        let partitions = partitions.into_iter().map(|(id, partition)| (id, Arc::new(partition)));
        shuffle.partitions.get_mut().extend(partitions);
        shuffle
    }

    pub(crate) fn fate(&self) -> Fate {
        let gate = self.gate.read();
        let discarded = gate.discarded.iter().copied().collect();
        Fate { sealed: gate.sealed, holes: self.has_holes(), discarded }
    }

    pub(crate) fn id(&self) -> ShuffleId {
        self.id
    }

    /// Body bytes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.sums.memory_bytes()
    }

    /// No partition has more body bytes than this.
    pub(crate) fn largest(&self) -> u64 {
        self.sums.largest()
    }

    pub(crate) fn has_holes(&self) -> bool {
        self.holes.load(Relaxed)
    }

    pub(crate) fn phase(&self) -> Phase {
        let gate = self.gate.read();
        match (gate.deleted, gate.sealed) {
            (true, _) => Phase::Deleted,
            (false, true) => Phase::Sealed,
            (false, false) => Phase::Open,
        }
    }

    /// Stores the blocks. `reserved` covers them all; what duplicates do not need goes back.
    pub(crate) fn push(
        &self,
        blocks: Vec<Block>,
        reserved: &mut Reservation<'_>,
        taken: &mut Taken,
    ) -> Result<()> {
        let gate = self.gate.read();
        self.admit(&gate, &blocks)?;
        let mut took = |appended, length| match appended {
            Appended::Stored => {
                reserved.keep_block(length as u64);
                taken.stored += 1;
            }
            Appended::Duplicate => taken.duplicates += 1,
        };
        let mut blocks = blocks.into_iter().peekable();
        // Held for all of them: a push may have a block for each of thousands of partitions.
        let mut known = self.partitions.read();
        while let Some(id) = blocks.peek().map(|block| block.id.partition) {
            let same = std::iter::from_fn(|| blocks.next_if(|block| block.id.partition == id));
            if let Some(partition) = known.get(&id) {
                partition.append(same, &mut took)?;
                continue;
            }
            drop(known);
            self.partition_or_new(id).append(same, &mut took)?;
            known = self.partitions.read();
        }
        Ok(())
    }

    /// Whether these blocks would be let in now. `Fenced` as a push.
    pub(crate) fn may_come(&self, blocks: &[Block]) -> Result<()> {
        self.admit(&self.gate.read(), blocks)
    }

    fn admit(&self, gate: &Gate, blocks: &[Block]) -> Result<()> {
        if gate.deleted {
            return Err(Error::fenced(format!("shuffle {} was deleted", self.id)));
        }
        let mut admitted = None;
        for block in blocks {
            let attempt = MapAttempt { map: block.id.map, attempt: block.id.attempt };
            // Mostly all are of one.
            if admitted != Some(attempt) && gate.discarded.contains(&attempt) {
                let place = block.place();
                return Err(Error::fenced(format!("{place} belongs to a discarded attempt")));
            }
            admitted = Some(attempt);
            let holds = || self.partition(block.id.partition).is_some_and(|p| p.holds(block));
            // What is there already passes: it is a repeated push of an acknowledged one.
            if gate.sealed && !holds() {
                return Err(Error::fenced(format!("shuffle {} is sealed", self.id)));
            }
        }
        Ok(())
    }

    /// Takes in an object of another worker: see [`Partition::adopt`]. `Fenced`: the shuffle was
    /// deleted.
    pub(crate) fn adopt(&self, object: Adopt, reserved: &mut Reservation<'_>) -> Result<u64> {
        let gate = self.gate.read();
        if gate.deleted {
            return Err(Error::fenced(format!("shuffle {} was deleted", self.id)));
        }
        // Nobody knows what else that worker had.
        self.holes.store(true, Relaxed);
        let discarded = |of| gate.discarded.contains(&of);
        let blocks = self.partition_or_new(object.partition).adopt(object, discarded)?;
        reserved.keep(blocks * ENTRY_COST);
        Ok(blocks)
    }

    pub(crate) fn seal(&self) {
        self.gate.write().sealed = true;
        self.partitions.read().values().for_each(|p| p.arrived.notify_waiters());
    }

    pub(crate) fn discard(&self, attempt: MapAttempt, memory: &Memory) -> Removed {
        let mut gate = self.gate.write();
        gate.discarded.insert(attempt);
        sum(self.partitions.read().values().map(|p| p.discard(attempt, memory)))
    }

    pub(crate) fn delete(&self, memory: &Memory) -> Removed {
        self.gate.write().deleted = true;
        sum(std::mem::take(&mut *self.partitions.write()).values().map(|p| p.remove(memory)))
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Option<Arc<Partition>> {
        self.partitions.read().get(&id).cloned()
    }

    pub(crate) fn partition_or_new(&self, id: PartitionId) -> Arc<Partition> {
        if let Some(partition) = self.partition(id) {
            return partition;
        }
        let new = || Arc::new(Partition::new(self.id, id, Arc::clone(&self.sums)));
        Arc::clone(self.partitions.write().entry(id).or_insert_with(new))
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().cloned().collect()
    }
}

/// Memory that a block is charged with.
pub(crate) fn cost(block: &Block) -> u64 {
    ENTRY_COST + block.body.len() as u64
}

fn sum(all: impl Iterator<Item = Removed>) -> Removed {
    all.fold(Removed::default(), |mut sum, one| {
        sum.blocks += one.blocks;
        sum.extents.extend(one.extents);
        sum
    })
}
