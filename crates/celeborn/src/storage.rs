//! Where a file is, as values.

use std::sync::Arc;

use dunlin_base::{Error, Result};

use crate::pb;

/// What a file is stored on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StorageType {
    /// The worker's memory. What a client takes a missing type for.
    #[default]
    Memory = 0,
    /// A disk.
    Hdd = 1,
    /// A fast disk.
    Ssd = 2,
    /// Clients read it there themselves.
    Hdfs = 3,
    /// Clients read it there themselves.
    Oss = 4,
    /// Clients read it there themselves.
    S3 = 5,
}

impl StorageType {
    /// All types, by number.
    pub const ALL: [Self; 6] =
        [Self::Memory, Self::Hdd, Self::Ssd, Self::Hdfs, Self::Oss, Self::S3];

    /// The number on the wire.
    pub fn number(self) -> i32 {
        i32::from(self as u8)
    }

    /// The type for a number from the wire, if there is one.
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Clients read such files without the worker.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::Hdfs | Self::Oss | Self::S3)
    }

    fn bit(self) -> i32 {
        match self {
            Self::Memory => 1,
            Self::Hdd | Self::Ssd => 2,
            Self::Hdfs => 4,
            Self::Oss => 8,
            Self::S3 => 16,
        }
    }
}

/// Which types an application allows, as bits. None at all means any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Available(pub i32);

impl Available {
    /// Whether a file may be on storage of this type.
    pub fn allows(self, kind: StorageType) -> bool {
        self.0 == 0 || self.0 & kind.bit() != 0
    }

    /// Only these.
    pub fn of(kinds: impl IntoIterator<Item = StorageType>) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// Where a file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageInfo {
    /// What it is on.
    pub kind: StorageType,
    /// The disk. In a reservation a wish, no more; may be empty.
    pub mount_point: Arc<str>,
    /// It is committed.
    pub committed: bool,
    /// Whole, for a remote type; else empty.
    pub path: Arc<str>,
    /// Which types are allowed.
    pub available: Available,
    /// Bytes.
    pub bytes: u64,
    /// Where its chunks begin, from 0, and where the last one ends. Empty before it is committed.
    pub chunk_offsets: Vec<u64>,
}

impl TryFrom<pb::StorageInfo> for StorageInfo {
    type Error = Error;

    /// `Invalid` for a type that is not known, and for lengths below zero.
    fn try_from(info: pb::StorageInfo) -> Result<Self> {
        let offsets = info.chunk_offsets.into_iter().map(length);
        Ok(Self {
            kind: kind(info.kind)?,
            mount_point: info.mount_point.into(),
            committed: info.final_result,
            path: info.file_path.into(),
            available: Available(info.available_storage_types),
            bytes: length(info.file_size)?,
            chunk_offsets: offsets.collect::<Result<_>>()?,
        })
    }
}

impl From<&StorageInfo> for pb::StorageInfo {
    fn from(info: &StorageInfo) -> Self {
        Self {
            kind: info.kind.number(),
            mount_point: info.mount_point.to_string(),
            final_result: info.committed,
            file_path: info.path.to_string(),
            available_storage_types: info.available.0,
            file_size: signed(info.bytes),
            chunk_offsets: info.chunk_offsets.iter().copied().map(signed).collect(),
        }
    }
}

pub(crate) fn kind(number: i32) -> Result<StorageType> {
    let kind = StorageType::of_number(number);
    kind.ok_or_else(|| Error::invalid(format!("unknown storage type {number}")))
}

pub(crate) fn length(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::invalid(format!("a file of {number} bytes")))
}

pub(crate) fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_means_any_type() {
        assert!(StorageType::ALL.into_iter().all(|kind| Available(0).allows(kind)));
        let disks = Available::of([StorageType::Ssd]);
        assert_eq!(disks.0, 2);
        assert!(disks.allows(StorageType::Hdd) && !disks.allows(StorageType::Memory));
        assert_eq!(Available::of(StorageType::ALL).0, 31);
    }

    #[test]
    fn types_that_are_not_known_and_lengths_below_zero_are_refused() {
        let good = pb::StorageInfo { kind: 2, file_size: 9, ..Default::default() };
        let back = StorageInfo::try_from(good.clone()).expect("a file");
        assert_eq!(pb::StorageInfo::from(&back), good);
        let kind = pb::StorageInfo { kind: 6, ..good.clone() };
        let size = pb::StorageInfo { file_size: -1, ..good.clone() };
        let chunk_offsets = vec![0, -5];
        for bad in [kind, size, pb::StorageInfo { chunk_offsets, ..good }] {
            assert!(StorageInfo::try_from(bad).is_err());
        }
    }
}
