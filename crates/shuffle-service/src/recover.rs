//! What a worker that was killed left in folders whose pushes are synced: extents say themselves what
//! is in them, and beside them lie the process ids under which they were acknowledged. Put together
//! that is a table as `hand_over` writes it, and `take_over` treats it as one.
//!
//! Only with `Options.sync_pushes`: nobody was promised anything about files otherwise. What is not in
//! them, seals and what was still in memory, is gone, so nobody can follow such a shuffle.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use dunlin_base::{Error, ProcessId, Result};
use dunlin_proto::block::{Block, HEADER_LEN};
use dunlin_proto::shuffle::MapAttempt;
use dunlin_proto::table::{Entry, ExtentEntry, FileTable, PartitionEntry, ShuffleEntry};

use crate::core::Core;
use crate::disk::{DiskFile, ExtentId};
use crate::hand_over::{LIVES_MAX, bytes};
use crate::unit::Unit;

/// The table of a folder whose worker was killed, made from its files; nothing if no process has
/// acknowledged anything there. `Invalid`: the folder cannot be read, or is a copy of another one.
pub(crate) fn found(unit: &Unit) -> Result<Option<FileTable>> {
    let unreadable =
        |e: io::Error| Error::invalid(format!("it cannot be read: {e}")).with_source(e);
    let Some(lives) = unit.disk.read_lives().map_err(unreadable)? else { return Ok(None) };
    let mut table = FileTable::from_bytes(Bytes::from(lives))?;
    if table.folder != bytes(unit.disk.identity()) {
        return Err(Error::invalid("its process ids were written for another folder"));
    }
    let mut shuffles: BTreeMap<_, ShuffleEntry> = BTreeMap::new();
    for id in unit.disk.extents().map_err(unreadable)? {
        let extent = match extent(unit, id) {
            Ok(extent) => extent,
            Err(error) => {
                let folder = unit.place();
                tracing::warn!(?id, folder, %error, "an extent of a killed process is cleared");
                continue;
            }
        };
        let shuffle = shuffles.entry(id.shuffle).or_insert_with(|| ShuffleEntry {
            query: bytes(id.shuffle.query.to_u128()),
            stage: id.shuffle.stage.0,
            epoch: id.shuffle.epoch.0,
            holes: true,
            ..ShuffleEntry::default()
        });
        // Extents come in order.
        let partition = id.partition.0;
        match shuffle.partitions.last_mut() {
            Some(last) if last.partition == partition => last.extents.push(extent),
            _ => shuffle.partitions.push(PartitionEntry {
                partition,
                extents: vec![extent],
                ..PartitionEntry::default()
            }),
        }
    }
    table.shuffles = shuffles.into_values().collect();
    Ok(Some(table))
}

/// The whole blocks of an extent. They are synced once more: the process may have been killed before
/// it could, and from now on they count as safe.
fn extent(unit: &Unit, id: ExtentId) -> io::Result<ExtentEntry> {
    let (file, length) = unit.disk.open(id)?;
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(entry) = block(file.as_ref(), id, at, length)? {
        at = entry.offset + HEADER_LEN as u64 + entry.length;
        ExtentEntry::add(&mut blocks, &entry);
    }
    file.sync()?;
    Ok(ExtentEntry {
        extent: id.extent,
        length: at,
        blocks: blocks.into(),
        ..ExtentEntry::default()
    })
}

/// The block at this offset; nothing if what lies there is none of this extent, or not whole. Its
/// body is looked at by whoever reads it.
fn block(file: &dyn DiskFile, id: ExtentId, at: u64, length: u64) -> io::Result<Option<Entry>> {
    let start = at + HEADER_LEN as u64;
    if start > length {
        return Ok(None);
    }
    let mut head = [0; HEADER_LEN];
    file.read_at(at, &mut head)?;
    let Ok((found, body)) = Block::parse_header(&head) else { return Ok(None) };
    let Block { id: of, rows, codec, checksum, .. } = found;
    let (mine, body) = ((of.shuffle, of.partition) == (id.shuffle, id.partition), body as u64);
    let whole = mine && body <= length - start;
    let (map, attempt) = (of.map, of.attempt);
    let of_map = MapAttempt { map, attempt };
    let batch = of.batch;
    let entry = Entry { of: of_map, batch, rows, codec, checksum, length: body, offset: at };
    Ok(whole.then_some(entry))
}

impl Core {
    /// Writes to each folder under which process ids its data are acknowledged. Until that has gone
    /// well no file counts as safe: nobody would find it after a kill. Blocks the thread.
    pub(crate) fn write_lives(&self, lives: &[ProcessId]) -> Result<()> {
        let newest = &lives[lives.len().saturating_sub(LIVES_MAX)..];
        let processes: Vec<_> = newest.iter().map(ToString::to_string).collect();
        let folders: Vec<_> = self.disks.iter().map(|unit| bytes(unit.disk.identity())).collect();
        for (unit, folder) in self.disks.iter().zip(&folders) {
            let (folder, processes) = (folder.clone(), processes.clone());
            let (hand_over, written_ms) = (bytes(0), self.env.unix_ms());
            let folders = folders.clone();
            let ended = Bytes::new();
            let shuffles = Vec::new();
            let table =
                FileTable { hand_over, written_ms, folder, folders, processes, ended, shuffles };
            unit.disk.write_lives(&table.to_bytes()?).map_err(|cause| {
                let text = format!("cannot write process ids to {}: {cause}", unit.place());
                Error::exhausted(text).with_source(cause)
            })?;
        }
        Ok(())
    }
}
