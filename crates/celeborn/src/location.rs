//! Locations as values, and the two forms in which they travel: one message each, or packed as
//! columns, which is several times smaller. Drivers of 0.6 and 0.7 reserve with packed ones.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Error, Result};

use crate::frame::Mode;
use crate::ids::{PartitionKey, WorkerId};
use crate::pb;
use crate::storage::{Available, StorageInfo, kind, length, signed};

/// In the place of an index: no peer.
const NO_PEER: i32 = i32::MAX;

/// No packed locations unfold to more bytes of paths, which are joined from two parts.
const PATHS_BYTES_MAX: usize = 16 << 20;

/// A copy of a partition on a worker. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The partition.
    pub partition: PartitionKey,
    /// Which copy.
    pub mode: Mode,
    /// Where.
    pub worker: Arc<WorkerId>,
    /// On what.
    pub storage: Arc<StorageInfo>,
    /// As [`MapIds`](crate::bitmap::MapIds) has it; empty for none.
    pub maps: Bytes,
}

/// A copy, and the other one of the same partition, if there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The copy that is meant.
    pub copy: Copy,
    /// The other one.
    pub peer: Option<Copy>,
}

impl TryFrom<pb::PartitionLocation> for Location {
    type Error = Error;

    /// `Invalid` for a port, mode or storage that cannot be. A location without storage is in memory.
    fn try_from(mut location: pb::PartitionLocation) -> Result<Self> {
        let peer = location.peer.take().map(|peer| copy(*peer)).transpose()?;
        Ok(Self { copy: copy(location)?, peer })
    }
}

impl From<&Location> for pb::PartitionLocation {
    fn from(location: &Location) -> Self {
        let peer = location.peer.as_ref().map(|peer| Box::new(plain(peer)));
        Self { peer, ..plain(&location.copy) }
    }
}

fn copy(location: pb::PartitionLocation) -> Result<Copy> {
    let port = |port: i32| {
        u16::try_from(port).map_err(|_| Error::invalid(format!("{port} is not a port")))
    };
    let worker = WorkerId {
        host: location.host.as_str().into(),
        rpc_port: port(location.rpc_port)?,
        push_port: port(location.push_port)?,
        fetch_port: port(location.fetch_port)?,
        replicate_port: port(location.replicate_port)?,
    };
    let storage = location.storage_info.unwrap_or_default();
    Ok(Copy {
        partition: PartitionKey { id: location.id, epoch: location.epoch },
        mode: mode(location.mode)?,
        worker: worker.into(),
        storage: Arc::new(storage.try_into()?),
        maps: location.map_id_bitmap,
    })
}

fn plain(copy: &Copy) -> pb::PartitionLocation {
    let worker = &copy.worker;
    pb::PartitionLocation {
        mode: i32::from(copy.mode.number()),
        id: copy.partition.id,
        epoch: copy.partition.epoch,
        host: worker.host.to_string(),
        rpc_port: worker.rpc_port.into(),
        push_port: worker.push_port.into(),
        fetch_port: worker.fetch_port.into(),
        replicate_port: worker.replicate_port.into(),
        peer: None,
        storage_info: Some((&*copy.storage).into()),
        map_id_bitmap: copy.maps.clone(),
    }
}

fn mode(number: i32) -> Result<Mode> {
    Mode::of_number(number).ok_or_else(|| Error::invalid(format!("a location of mode {number}")))
}

/// The locations that a packed pair lists, in order. `Invalid` if its columns are not equally long, an
/// index is beyond them, or a value cannot be.
pub fn unpack(pair: pb::PackedPartitionLocationsPair) -> Result<Vec<Location>> {
    let packed = pair.locations.unwrap_or_default();
    let count = packed.ids.len();
    let listed = usize::try_from(pair.input_location_size).ok().filter(|listed| *listed <= count);
    let listed = listed.ok_or_else(|| malformed("it lists more locations than there are"))?;
    if pair.peer_indexes.len() != count {
        return Err(malformed("not one peer for each location"));
    }
    let copies = copies(packed)?;
    let peer = |at: usize| match pair.peer_indexes[at] {
        NO_PEER => Ok(None),
        index => {
            let peer = usize::try_from(index).ok().and_then(|index| copies.get(index));
            peer.cloned().map(Some).ok_or_else(|| malformed("a peer is none of its locations"))
        }
    };
    (0..listed).map(|at| Ok(Location { copy: copies[at].clone(), peer: peer(at)? })).collect()
}

fn malformed(what: &str) -> Error {
    Error::invalid(format!("packed locations are malformed: {what}"))
}

fn copies(packed: pb::PackedPartitionLocations) -> Result<Vec<Copy>> {
    check_columns(&packed)?;
    let parse = |text: &String| Ok(Arc::new(text.trim().parse::<WorkerId>()?));
    let workers = packed.worker_ids_set.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let mounts: Vec<Arc<str>> = packed.mount_points_set.iter().map(|m| m.as_str().into()).collect();
    let mut sizes = packed.file_sizes.into_iter();
    let mut chunks = packed.chunks_offsets.into_iter();
    let mut maps = packed.map_id_bit_map.into_iter();
    let (mut copies, mut path_bytes) = (Vec::with_capacity(packed.ids.len()), 0);
    for (at, id) in packed.ids.iter().enumerate() {
        let mount = one_of(&mounts, packed.mount_points[at])?.clone();
        let path = &packed.file_paths[at];
        let path: Arc<str> = match path.is_empty() {
            true => Arc::default(),
            false => [&*mount, path].concat().into(),
        };
        path_bytes += path.len();
        if path_bytes > PATHS_BYTES_MAX {
            return Err(malformed("its paths are too long"));
        }
        let offsets = chunks.next().unwrap_or_default().chunk_offset.into_iter().map(length);
        let storage = StorageInfo {
            kind: kind(packed.types[at])?,
            mount_point: mount,
            committed: packed.final_result[at],
            path,
            available: Available(packed.available_storage_types[at]),
            bytes: length(sizes.next().unwrap_or_default())?,
            chunk_offsets: offsets.collect::<Result<_>>()?,
        };
        copies.push(Copy {
            partition: PartitionKey { id: *id, epoch: packed.epoches[at] },
            mode: mode(packed.modes[at])?,
            worker: one_of(&workers, packed.worker_ids[at])?.clone(),
            storage: storage.into(),
            maps: maps.next().unwrap_or_default(),
        });
    }
    Ok(copies)
}

fn check_columns(packed: &pb::PackedPartitionLocations) -> Result<()> {
    let count = packed.ids.len();
    let always = [
        packed.epoches.len(),
        packed.worker_ids.len(),
        packed.map_id_bit_map.len(),
        packed.types.len(),
        packed.mount_points.len(),
        packed.final_result.len(),
        packed.file_paths.len(),
        packed.available_storage_types.len(),
        packed.modes.len(),
    ];
    // Before 0.6 these two were not there at all.
    let maybe = [packed.file_sizes.len(), packed.chunks_offsets.len()];
    let equal = always.iter().all(|length| *length == count);
    match equal && maybe.iter().all(|length| [0, count].contains(length)) {
        true => Ok(()),
        false => Err(malformed("its columns are not equally long")),
    }
}

fn one_of<T>(set: &[T], index: i32) -> Result<&T> {
    let value = usize::try_from(index).ok().and_then(|index| set.get(index));
    value.ok_or_else(|| malformed("an index is beyond its set"))
}

/// Locations in packed form: those listed in their order, then their peers. A client wants those of a
/// worker with primaries and replicas in one list, and tells them by their modes.
pub fn pack(listed: &[Location]) -> pb::PackedPartitionLocationsPair {
    let (mut packed, mut sets) = (pb::PackedPartitionLocations::default(), Sets::default());
    let mut peer_indexes = Vec::with_capacity(2 * listed.len());
    let mut next = listed.len();
    for location in listed {
        sets.put(&mut packed, &location.copy);
        peer_indexes.push(if location.peer.is_some() { next as i32 } else { NO_PEER });
        next += usize::from(location.peer.is_some());
    }
    for (at, location) in listed.iter().enumerate() {
        if let Some(peer) = &location.peer {
            sets.put(&mut packed, peer);
            peer_indexes.push(at as i32);
        }
    }
    let input_location_size = listed.len() as i32;
    pb::PackedPartitionLocationsPair { locations: Some(packed), peer_indexes, input_location_size }
}

/// Values that come once, and their indexes.
#[derive(Default)]
struct Sets {
    workers: HashMap<Arc<WorkerId>, i32>,
    mounts: HashMap<Arc<str>, i32>,
}

impl Sets {
    fn put(&mut self, packed: &mut pb::PackedPartitionLocations, copy: &Copy) {
        let storage = &copy.storage;
        let next = self.workers.len() as i32;
        let worker = *self.workers.entry(copy.worker.clone()).or_insert_with(|| {
            packed.worker_ids_set.push(copy.worker.to_string());
            next
        });
        let next = self.mounts.len() as i32;
        let mount = *self.mounts.entry(storage.mount_point.clone()).or_insert_with(|| {
            packed.mount_points_set.push(storage.mount_point.to_string());
            next
        });
        let below_mount = storage.path.strip_prefix(&*storage.mount_point);
        let chunk_offset = storage.chunk_offsets.iter().copied().map(signed).collect();
        packed.ids.push(copy.partition.id);
        packed.epoches.push(copy.partition.epoch);
        packed.worker_ids.push(worker);
        packed.map_id_bit_map.push(copy.maps.clone());
        packed.types.push(storage.kind.number());
        packed.mount_points.push(mount);
        packed.final_result.push(storage.committed);
        packed.file_paths.push(below_mount.unwrap_or_default().to_owned());
        packed.available_storage_types.push(storage.available.0);
        packed.modes.push(i32::from(copy.mode.number()));
        packed.file_sizes.push(signed(storage.bytes));
        packed.chunks_offsets.push(pb::ChunkOffsets { chunk_offset });
    }
}

#[cfg(test)]
pub(crate) mod tests;
