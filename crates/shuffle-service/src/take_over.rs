//! The beginning of a worker in folders that a former life handed over: the other half of
//! `hand_over`. Whatever is not exactly what a table says is cleared; a reader then misses blocks that
//! a commit names, which is `Lost`, and never gets other ones.
//!
//! The tables are removed before the worker serves anything: from then on the files change, and a
//! table that outlived that would bring back what was removed, or name what is not there. So a
//! process that is killed leaves no table, and its folders are cleared at the next start, unless pushes
//! are synced: then the files themselves say what is in them (`recover`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::{Block, BlockId, HEADER_LEN, ShuffleId};
use dunlin_proto::shuffle::MapAttempt;
use dunlin_proto::table::{Entry, ExtentEntry, FileTable, ShuffleEntry};

use crate::core::Core;
use crate::disk::{DiskFile, ExtentId};
use crate::extent::{Home, Target};
use crate::memory::ENTRY_COST;
use crate::partition::{KeptExtent, Partition};
use crate::recover;
use crate::shuffle::{Fate, Shuffle};

/// What a worker took over from a former life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Process ids under which the data were acknowledged, the newest last: whoever asks for one of
    /// them means this worker.
    pub processes: Vec<ProcessId>,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the extents that they lie in.
    pub bytes: u64,
    /// Extents that a table names and that were not there as it says.
    pub refused: u64,
    /// When their tables were written, by the clock of then. The next ones are later, whatever the
    /// clock says: a folder that comes back with an older table must be known by it.
    pub(crate) written_ms: u64,
}

/// Takes over what the tables in the folders name, and clears everything else there. `Invalid`: a
/// folder cannot be cleared. Blocks the thread.
pub(crate) fn take_over(core: &Core) -> Result<TakenOver> {
    let mut tables: Vec<_> = (0..core.disks.len()).map(|disk| read(core, disk)).collect();
    if core.options.sync_pushes && tables.iter().all(Option::is_none) {
        tables = (0..core.disks.len()).map(|disk| left(core, disk)).collect();
    }
    let latest = tables.iter().flatten().max_by_key(|table| table.written_ms);
    let written_ms = latest.map_or(0, |table| table.written_ms);
    let latest = latest.map(|table| table.hand_over.clone());
    let mut found = Found::default();
    for (disk, table) in tables.iter().enumerate() {
        match table {
            Some(table) if Some(&table.hand_over) == latest.as_ref() => {
                found.take(core, disk, table);
            }
            Some(_) => warn(core, disk, "its table is that of an earlier hand-over"),
            None => {}
        }
    }
    let taken = TakenOver { written_ms, ..found.restore(core)? };
    // Before the tables go: what is killed in between is found by either.
    if core.options.sync_pushes {
        core.write_lives(&taken.processes)?;
    }
    for (disk, unit) in core.disks.iter().enumerate() {
        let nothing = BTreeSet::new();
        let keep = found.files.get(&disk).unwrap_or(&nothing);
        // The table first: what is killed in between leaves a folder that will be cleared.
        let lives = if core.options.sync_pushes { Ok(()) } else { unit.disk.remove_lives() };
        let cleared = lives.and_then(|()| unit.disk.remove_table());
        let cleared = cleared.and_then(|()| unit.disk.clear(keep));
        cleared.map_err(|e| {
            Error::invalid(format!("shuffle directory {} cannot be used: {e}", unit.place()))
                .with_source(e)
        })?;
        unit.measured(unit.disk.space().unwrap_or_default());
    }
    if latest.is_some() {
        let TakenOver { blocks, bytes, refused, .. } = taken;
        tracing::info!(blocks, bytes, refused, "took over shuffle data of a former process");
    }
    Ok(taken)
}

/// The table of a folder, if there is one that can be trusted.
fn read(core: &Core, disk: usize) -> Option<FileTable> {
    let unit = &core.disks[disk];
    let table = match unit.disk.read_table() {
        Ok(None) => return None,
        Ok(Some(bytes)) => FileTable::from_bytes(Bytes::from(bytes)),
        Err(error) => Err(Error::invalid(format!("its table cannot be read: {error}"))),
    };
    let own = unit.disk.identity();
    let table = table.and_then(|table| match number(&table.folder) {
        Some(folder) if folder == own && own != 0 => Ok(table),
        _ => Err(Error::invalid("its table was written for another folder")),
    });
    table.inspect_err(|error| warn(core, disk, error.message())).ok()
}

/// What a process that was killed left in a folder, if it was to be kept.
fn left(core: &Core, disk: usize) -> Option<FileTable> {
    let left = recover::found(&core.disks[disk]);
    left.inspect_err(|error| warn(core, disk, error.message())).ok().flatten()
}

fn warn(core: &Core, disk: usize, why: &str) {
    let folder = core.disks[disk].place();
    tracing::warn!(folder, why, "shuffle data of a former process are cleared");
}

/// What the tables of all folders name, put together.
#[derive(Default)]
struct Found {
    shuffles: BTreeMap<ShuffleId, (Fate, BTreeMap<PartitionId, FoundPartition>)>,
    /// Extents that are in use, by disk.
    files: BTreeMap<usize, BTreeSet<ExtentId>>,
    ended: Vec<QueryId>,
    processes: Vec<ProcessId>,
    /// Folders that were to have a table, and those that have one.
    expected: BTreeSet<Bytes>,
    seen: BTreeSet<Bytes>,
    refused: u64,
}

#[derive(Default)]
struct FoundPartition {
    next_extent: u32,
    extents: BTreeMap<u32, KeptExtent>,
}

impl Found {
    fn take(&mut self, core: &Core, disk: usize, table: &FileTable) {
        self.seen.insert(table.folder.clone());
        self.expected.extend(table.folders.iter().cloned());
        for life in table.processes.iter().filter_map(|id| id.parse().ok()) {
            // Of a process that was killed while it wrote them, not all folders may have all.
            if !self.processes.contains(&life) {
                self.processes.push(life);
            }
        }
        if self.seen.len() == 1 {
            let ids = table.ended.chunks_exact(16).filter_map(number);
            self.ended = ids.map(QueryId::from_u128).collect();
        }
        for entry in &table.shuffles {
            let Some(id) = shuffle_id(entry) else { continue };
            let of = self.shuffles.entry(id).or_insert_with(|| (fate(entry), BTreeMap::new()));
            let mut refused = 0;
            for partition in &entry.partitions {
                let id = (id, PartitionId(partition.partition));
                let found = of.1.entry(id.1).or_default();
                found.next_extent = found.next_extent.max(partition.next_extent);
                for extent in &partition.extents {
                    if !extent.object.is_empty() && found.extents.contains_key(&extent.extent) {
                        continue;
                    }
                    match open(core, disk, id, extent) {
                        Ok(kept) => drop(found.extents.insert(extent.extent, kept)),
                        Err(error) => {
                            refused += 1;
                            let (shuffle, partition, number) = (id.0, id.1, extent.extent);
                            let folder = core.disks[disk].place();
                            tracing::warn!(
                                %shuffle, %partition, number, folder, %error,
                                "an extent of a former process is cleared"
                            );
                        }
                    }
                }
            }
            of.0.holes |= refused > 0;
            self.refused += refused;
        }
    }

    /// Makes the worker know all of it.
    fn restore(&mut self, core: &Core) -> Result<TakenOver> {
        let complete = self.expected.is_subset(&self.seen);
        let mut taken = TakenOver { processes: self.processes.clone(), ..TakenOver::default() };
        let mut shuffles = Vec::new();
        for (id, (mut fate, partitions)) in std::mem::take(&mut self.shuffles) {
            fate.holes |= !complete;
            let (mut restored, memory) = (Vec::new(), Arc::default());
            for (partition, found) in partitions {
                let count: usize = found.extents.values().map(|one| one.blocks.len()).sum();
                let Some(mut reserved) = core.memory.try_reserve(count as u64 * ENTRY_COST) else {
                    tracing::warn!(shuffle = %id, %partition, "no memory for a former process's data");
                    fate.holes = true;
                    self.refused += found.extents.len() as u64;
                    continue;
                };
                for (extent, kept) in &found.extents {
                    let at = kept.home.at();
                    core.flights.lock().go_on_from(kept.born);
                    core.keeps(at, kept.length.cast_signed());
                    core.places.lock().entry(id.query).or_default().insert(at);
                    taken.bytes += kept.length;
                    if let Target::Disk(disk) = at {
                        let file = ExtentId { shuffle: id, partition, extent: *extent };
                        self.files.entry(disk).or_default().insert(file);
                    }
                }
                let FoundPartition { next_extent, extents } = found;
                let (one, blocks) =
                    Partition::restored(id, partition, Arc::clone(&memory), next_extent, extents);
                reserved.keep(blocks * ENTRY_COST);
                taken.blocks += blocks;
                restored.push((partition, one));
            }
            shuffles.push(Shuffle::restored(id, fate, memory, restored));
        }
        core.registry.restore(shuffles, self.ended.drain(..));
        core.counters.took_over(taken.blocks);
        taken.refused = self.refused;
        Ok(taken)
    }
}

/// The extent, if it is there as the table says. An object is taken at its word: to look would be a
/// call of the store, and a reader sees whether it is there.
fn open(
    core: &Core,
    disk: usize,
    (shuffle, partition): (ShuffleId, PartitionId),
    entry: &ExtentEntry,
) -> Result<KeptExtent> {
    let id = ExtentId { shuffle, partition, extent: entry.extent };
    let blocks = entry.entries()?;
    let home = if entry.object.is_empty() {
        let cannot = |e: io::Error| Error::invalid(format!("its file: {e}")).with_source(e);
        let (file, length) = core.disks[disk].disk.open(id).map_err(cannot)?;
        if length < entry.length {
            return Err(Error::invalid(format!("its file has {length} of {} bytes", entry.length)));
        }
        if length > entry.length {
            // Behind its blocks is what was left of a write that failed.
            file.truncate(entry.length).map_err(cannot)?;
        }
        check_first(file.as_ref(), id, &blocks)?;
        Home::File { disk, file }
    } else {
        let objects = core.objects.as_ref();
        let path = objects.and_then(|objects| objects.adopt(&entry.object, id));
        let none = || Error::invalid(format!("object {} is in no store of ours", entry.object));
        Home::Object(path.ok_or_else(none)?)
    };
    Ok(KeptExtent { home, length: entry.length, born: entry.born, blocks })
}

/// Files that were exchanged for others are found at once, and not by the first reader.
fn check_first(file: &dyn DiskFile, id: ExtentId, blocks: &[Entry]) -> Result<()> {
    let Some(first) = blocks.iter().min_by_key(|block| block.offset) else { return Ok(()) };
    let mut head = [0; HEADER_LEN];
    let read = file.read_at(first.offset, &mut head);
    read.map_err(|e| Error::invalid(format!("its file cannot be read: {e}")).with_source(e))?;
    let Entry { of: MapAttempt { map, attempt }, batch, rows, codec, checksum, length, .. } =
        *first;
    let ExtentId { shuffle, partition, .. } = id;
    let id = BlockId { shuffle, partition, map, attempt, batch };
    let due = Block { id, rows, codec, checksum, body: Bytes::new() };
    match Block::parse_header(&head) {
        Ok((found, n)) if found.header() == due.header() && n as u64 == length => Ok(()),
        _ => Err(Error::invalid("its file holds other blocks")),
    }
}

fn shuffle_id(entry: &ShuffleEntry) -> Option<ShuffleId> {
    let query = QueryId::from_u128(number(&entry.query)?);
    Some(ShuffleId { query, stage: StageId(entry.stage), epoch: StageEpoch(entry.epoch) })
}

fn fate(entry: &ShuffleEntry) -> Fate {
    let attempt = |mut one: &[u8]| {
        let (map, attempt) = (one.get_u32_le(), Attempt(one.get_u32_le()));
        MapAttempt { map, attempt }
    };
    let discarded = entry.discarded.chunks_exact(8).map(attempt).collect();
    Fate { sealed: entry.sealed, holes: entry.holes, discarded }
}

fn number(bytes: impl AsRef<[u8]>) -> Option<u128> {
    bytes.as_ref().try_into().ok().map(u128::from_be_bytes)
}
