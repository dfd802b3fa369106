//! The section `[shuffle]`: where a shuffle worker keeps what leaves its memory, and how safely.

use std::collections::BTreeSet;
use std::time::Duration;

use dunlin_base::{ByteCount, Error, Result};
use dunlin_shuffle_service::{Options, Tier, WhenFull};
use serde::{Deserialize, Serialize};

use super::disk::DiskText;
use super::units::{FromText, Span};
use crate::engine::StorageOptions;

/// What can be configured about the storage of a shuffle worker. How much memory it has is
/// `shuffle-memory`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shuffle {
    /// Folders; without any it is the process's scratch folder.
    pub(crate) disks: Vec<FromText<DiskText>>,
    /// What data that leave memory are offered to, in this order.
    pub(crate) tiers: Vec<TierName>,
    /// URL of the object store; without one it is that of the blobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<String>,
    /// Bytes on their way; without it an eighth of the memory, and at least 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transit: Option<FromText<ByteCount>>,
    /// What happens once no disk takes data.
    pub(crate) when_full: WhenFullName,
    /// Blocks leave memory for a file only when that is synced.
    pub(crate) sync: bool,
    /// Pushes are acknowledged once their blocks are in synced files.
    pub(crate) sync_pushes: bool,
    /// A partition with more than this is to go elsewhere soon.
    pub(crate) split_soft: FromText<ByteCount>,
    /// A partition with more than this is refused.
    pub(crate) split_hard: FromText<ByteCount>,
    /// A partition that was written once is written on in pieces of this.
    pub(crate) flush_bytes: FromText<ByteCount>,
    /// A partition's bytes in one place end at this.
    pub(crate) extent_bytes: FromText<ByteCount>,
    /// Percent of the memory above which partitions leave it.
    pub(crate) memory_mark: u8,
    /// How long a worker that is wished away waits for the queries whose data it has.
    pub(crate) drain_limit: FromText<Span>,
}

/// A tier.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TierName {
    /// The disks.
    Disks,
    /// The object store.
    Objects,
}

/// What happens once no disk takes data.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFullName {
    /// What leaves memory goes to the next tier.
    WriteOn,
    /// The oldest data on the disks go to the object store.
    Evict,
}

/// The keys in the order of [`Shuffle`], each with what it is for.
pub(super) const KEYS: [(&str, &str); 13] = [
    (
        "disks",
        "FOLDER[:ssd|:hdd][:reserve=BYTES][:capacity=BYTES], ...; the scratch folder if none",
    ),
    ("tiers", "what data that leave memory are offered to, in this order: disks, objects"),
    ("objects", "URL of the object store for shuffled data; that of the blobs if not set"),
    (
        "transit",
        "bytes on their way, beside shuffle-memory; an eighth of that, at least 64MiB, if not set",
    ),
    (
        "when-full",
        "once no disk takes data: write-on (to the next tier), evict (the oldest go there)",
    ),
    ("sync", "data leave memory only for files that are synced"),
    (
        "sync-pushes",
        "pushes are acknowledged once their data are in synced files or in the object store",
    ),
    ("split-soft", "a partition with more than this goes on at another worker soon"),
    ("split-hard", "a partition with more than this is refused if there is another worker"),
    ("flush-bytes", "a partition that was written once is written on in pieces of this"),
    ("extent-bytes", "a file or object of a partition ends at this"),
    ("memory-mark", "percent of shuffle-memory above which data leave it"),
    ("drain-limit", "how long `dunlin shuffle drain` waits for queries whose data the worker has"),
];

/// Least bytes of a piece: smaller ones cost a call each.
const PIECE_MIN: ByteCount = ByteCount(4 << 10);

/// Least bytes on their way: a quarter is one part of an upload.
const TRANSIT_MIN: ByteCount = ByteCount::mib(32);

/// Longest wait of a worker that is wished away: a day.
const DRAIN_LIMIT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Default for Shuffle {
    fn default() -> Self {
        let usual = Options::new(ByteCount(0));
        Self {
            disks: Vec::new(),
            tiers: vec![TierName::Disks],
            objects: None,
            transit: None,
            when_full: WhenFullName::WriteOn,
            sync: usual.sync,
            sync_pushes: usual.sync_pushes,
            split_soft: FromText(usual.split_soft),
            split_hard: FromText(usual.split_hard),
            flush_bytes: FromText(usual.flush_bytes),
            extent_bytes: FromText(usual.extent_bytes),
            memory_mark: usual.memory_mark_percent,
            drain_limit: FromText(Span(StorageOptions::default().drain_limit)),
        }
    }
}

impl Shuffle {
    /// `Invalid` for the first value that does not fit, by itself or to the others, with its key.
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |key: &str, why: String| Err(Error::invalid(format!("shuffle.{key} {why}")));
        self.validate_places()?;
        for (key, FromText(bytes)) in
            [("flush-bytes", &self.flush_bytes), ("extent-bytes", &self.extent_bytes)]
        {
            if *bytes < PIECE_MIN {
                return bad(key, format!("must be at least {PIECE_MIN}, not {bytes}"));
            }
        }
        if let Some(FromText(transit)) = &self.transit
            && *transit < TRANSIT_MIN
        {
            return bad("transit", format!("must be at least {TRANSIT_MIN}, not {transit}"));
        }
        let pairs = [
            ("extent-bytes", &self.extent_bytes, "flush-bytes", &self.flush_bytes),
            ("split-hard", &self.split_hard, "split-soft", &self.split_soft),
        ];
        for (key, FromText(more), other, FromText(less)) in pairs {
            if more < less {
                return bad(key, format!("must be at least shuffle.{other} ({less}), not {more}"));
            }
        }
        if !(10..=95).contains(&self.memory_mark) {
            return bad("memory-mark", format!("must be from 10 to 95, not {}", self.memory_mark));
        }
        if self.drain_limit.0.0 > DRAIN_LIMIT_MAX {
            let most = Span(DRAIN_LIMIT_MAX);
            return bad(
                "drain-limit",
                format!("must be at most {most}, not {}", self.drain_limit.0),
            );
        }
        Ok(())
    }

    fn validate_places(&self) -> Result<()> {
        let bad = |key: &str, why: &str| Err(Error::invalid(format!("shuffle.{key} {why}")));
        let tiers: BTreeSet<_> = self.tiers.iter().collect();
        let has = |tier| tiers.contains(&tier);
        let folders: BTreeSet<_> = self.disks.iter().map(|disk| &disk.0.0.path).collect();
        if tiers.len() < self.tiers.len() {
            return bad("tiers", "names one twice");
        }
        if folders.len() < self.disks.len() {
            return bad("disks", "names a folder twice");
        }
        if !self.disks.is_empty() && !has(&TierName::Disks) {
            return bad("disks", "is of no use: shuffle.tiers does not name disks");
        }
        if self.objects.is_some() && !has(&TierName::Objects) {
            return bad("objects", "is of no use: shuffle.tiers does not name objects");
        }
        let evicts = self.when_full == WhenFullName::Evict;
        if evicts && self.tiers != [TierName::Disks, TierName::Objects] {
            return bad("when-full", "= evict needs shuffle.tiers = [\"disks\", \"objects\"]");
        }
        if self.sync_pushes && self.tiers.is_empty() {
            return bad("sync-pushes", "needs a tier in shuffle.tiers");
        }
        Ok(())
    }

    /// Whether disks are among the places.
    pub(crate) fn uses_disks(&self) -> bool {
        self.tiers.contains(&TierName::Disks)
    }

    /// The options of a worker.
    pub(super) fn storage(&self) -> StorageOptions {
        let tier = |name: &TierName| match name {
            TierName::Disks => Tier::Disks,
            TierName::Objects => Tier::Objects,
        };
        let limits = Options {
            memory_mark_percent: self.memory_mark,
            disks: self.disks.iter().map(|disk| disk.0.0.clone()).collect(),
            tiers: self.tiers.iter().map(tier).collect(),
            when_full: match self.when_full {
                WhenFullName::WriteOn => WhenFull::WriteOn,
                WhenFullName::Evict => WhenFull::Evict,
            },
            flush_bytes: self.flush_bytes.0,
            extent_bytes: self.extent_bytes.0,
            sync: self.sync,
            sync_pushes: self.sync_pushes,
            split_soft: self.split_soft.0,
            split_hard: self.split_hard.0,
            ..Options::new(ByteCount(0))
        };
        let (objects, drain_limit) = (self.objects.clone(), self.drain_limit.0.0);
        let transit = self.transit.as_ref().map(|transit| transit.0);
        StorageOptions { limits, objects, transit, drain_limit }
    }
}

#[cfg(test)]
mod tests;
