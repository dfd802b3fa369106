//! Claimable stages and the watch that tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_base::{QueryId, Result, Revision, StageId};
use dunlin_metadata::{Entry, Key};
use dunlin_proto::queue::{InputOutput, Ready, Written};
use prost::Message;

use crate::keys;
use crate::mirror::Mirror;
use crate::queue::is_readable;

/// Which executors' slots a stage competes for. A few slots are kept for short stages, so that a
/// stage of ten thousand slices does not stand before one of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Stages of few slices.
    Short,
    /// All others.
    Long,
}

impl Lane {
    /// Most slices of a stage in the short lane.
    pub const SHORT_SLICES_MAX: u32 = 16;

    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Short, Self::Long];

    /// The lane of a stage of so many slices.
    pub fn of(slice_count: u32) -> Self {
        if slice_count <= Self::SHORT_SLICES_MAX { Self::Short } else { Self::Long }
    }

    /// The word for it in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == word)
    }
}

/// A stage that may have slices to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyStage {
    /// The query.
    pub query: QueryId,
    /// The stage.
    pub stage: StageId,
    /// Its lane.
    pub lane: Lane,
    /// Relative share of executors among ready stages.
    pub weight: u32,
    /// How many slices it has in all, claimed or not.
    pub slice_count: u32,
    /// How many segments its slices are spread over.
    pub segment_count: u32,
    /// When it became claimable, in milliseconds since 1970.
    pub opened_unix_ms: u64,
    /// Its epoch: later ones have opened it again.
    pub epoch: u32,
    /// Grows whenever slices of the stage became claimable again: look at it again then.
    pub touched: Revision,
    /// The build whose executors can run it; empty: any.
    pub build: String,
    /// What a claimer need not read any more.
    pub at_hand: AtHand,
}

/// What came with the news of a stage: records as they were when it became claimable, and the small
/// outputs that it reads. A claim compares revisions, so what has changed since is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtHand {
    pub(crate) written: Arc<[Entry]>,
    pub(crate) inputs: Arc<[InputOutput]>,
}

impl AtHand {
    /// Nothing came, or nothing is to be believed.
    pub(crate) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    fn of(ready: Ready, at: Revision) -> Self {
        let entry = |written: Written| {
            let Written { key, value } = written;
            Entry { key, value, created: at, modified: at, lease: None }
        };
        let written = ready.written.into_iter().map(entry).collect();
        Self { written, inputs: ready.inputs.into() }
    }
}

impl ReadyStage {
    /// Reads an entry below `ready/`; `None` for one of another build.
    pub(crate) fn read(entry: &Entry) -> Option<Self> {
        let (lane, query, stage) = keys::parse_ready(&entry.key)?;
        let ready = Ready::decode(entry.value.clone()).ok()?;
        Some(Self {
            query,
            stage,
            lane,
            weight: ready.weight,
            slice_count: ready.slice_count,
            segment_count: ready.segment_count,
            opened_unix_ms: ready.opened_unix_ms,
            epoch: ready.epoch,
            touched: entry.modified,
            build: ready.build.clone(),
            at_hand: AtHand::of(ready, entry.modified),
        })
    }
}

/// The stages of entries in key order: short lane first, within a lane by age of their query.
pub(crate) fn sorted<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<ReadyStage> {
    let mut stages: Vec<ReadyStage> = entries.filter_map(ReadyStage::read).collect();
    stages.sort_by_key(|stage| stage.lane);
    stages
}

/// The claimable stages of queries that this build can run, kept current by a watch.
#[derive(Debug)]
pub struct ReadyWatch {
    mirror: Mirror,
    build: String,
    /// By key, since every change of one stage wakes every executor, which looks at all of them:
    /// what has not changed is neither read nor copied again.
    read: BTreeMap<Key, Arc<ReadyStage>>,
    stages: Arc<[Arc<ReadyStage>]>,
}

impl ReadyWatch {
    pub(crate) fn new(mirror: Mirror, build: String) -> Self {
        let (read, stages) = (BTreeMap::new(), Arc::default());
        let mut watch = Self { mirror, build, read, stages };
        watch.read_changed();
        watch
    }

    /// The stages as of the last change, short lane first, within a lane by age of their query. A
    /// clone of it is cheap.
    pub fn stages(&self) -> &Arc<[Arc<ReadyStage>]> {
        &self.stages
    }

    /// Returns after a stage came, went or was touched, and at the latest after a few seconds (the
    /// safety re-read, with jitter). Dropping the future loses nothing. `Retry` if the store
    /// cannot be read: back off and call again.
    pub async fn changed(&mut self) -> Result<()> {
        let changed = self.mirror.changed().await;
        self.read_changed();
        changed
    }

    fn read_changed(&mut self) {
        let entries = self.mirror.entries();
        self.read.retain(|key, _| entries.contains_key(key));
        for (key, entry) in entries {
            if self.read.get(key).is_some_and(|stage| stage.touched == entry.modified) {
                continue;
            }
            match ReadyStage::read(entry) {
                Some(stage) => drop(self.read.insert(key.clone(), Arc::new(stage))),
                None => drop(self.read.remove(key)),
            }
        }
        let readable = self.read.values().filter(|stage| is_readable(&self.build, &stage.build));
        let mut stages: Vec<Arc<ReadyStage>> = readable.cloned().collect();
        stages.sort_by_key(|stage| stage.lane);
        self.stages = stages.into();
    }
}
