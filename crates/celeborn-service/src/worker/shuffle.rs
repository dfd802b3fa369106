//! A shuffle of an application on this worker, and its locations.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{PartitionId, QueryId, StageEpoch, StageId};
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::{FileName, ShuffleKey, WorkerId};
use dunlin_celeborn::pb;
use dunlin_proto::block::ShuffleId;
use parking_lot::{Mutex, RwLock};
use tokio::sync::OnceCell;

use super::gate::Gate;
use super::verdict::{Known, Split};

/// A commit's answer, once it is there.
pub(crate) type Committed = Arc<OnceCell<pb::CommitFilesResponse>>;

/// The shuffle. It is here as long as its record is.
pub(crate) struct AppShuffle {
    pub(crate) key: ShuffleKey,
    /// The name of its data in the core.
    pub(crate) query: QueryId,
    /// Whose it is, for fair shares of memory.
    pub(crate) user: Arc<str>,
    locations: RwLock<HashMap<FileName, Arc<Location>>>,
    /// The attempt of each map that counts, -1 while none does. Empty: no commit has said.
    attempts: Mutex<Vec<i32>>,
    commits: Mutex<HashMap<i64, Committed>>,
}

/// A location that a driver has reserved here.
pub(crate) struct Location {
    /// Who has the other copy.
    pub(crate) peer: Option<WorkerId>,
    pub(crate) split: Split,
    /// The driver wants to know of which maps it has something.
    pub(crate) names_maps: bool,
    /// For a push to the peer.
    pub(crate) push_wait: Duration,
    pub(crate) gate: Gate,
}

/// A location in the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shuffle: ShuffleId,
    pub(crate) partition: PartitionId,
}

impl Place {
    /// Where a location of a shuffle with this id is. Epochs and copies are apart.
    pub(crate) fn of(query: QueryId, name: FileName) -> Self {
        let stage = StageId(ShuffleId::FOREIGN + u32::from(name.mode.number()));
        let epoch = StageEpoch(name.partition.epoch.cast_unsigned());
        let partition = PartitionId(name.partition.id.cast_unsigned());
        Self { shuffle: ShuffleId { query, stage, epoch }, partition }
    }
}

impl AppShuffle {
    pub(crate) fn new(key: ShuffleKey, query: QueryId, user: Arc<str>) -> Self {
        let (locations, attempts) = (RwLock::default(), Mutex::default());
        Self { key, query, user, locations, attempts, commits: Mutex::default() }
    }

    pub(crate) fn location(&self, name: FileName) -> Option<Arc<Location>> {
        self.locations.read().get(&name).cloned()
    }

    /// Adds a location; one that is there stays as it is.
    pub(crate) fn reserve(&self, name: FileName, location: Location) {
        self.locations.write().entry(name).or_insert_with(|| Arc::new(location));
    }

    /// Forgets a location. False: it is not there.
    pub(crate) fn destroy(&self, name: FileName) -> bool {
        self.locations.write().remove(&name).is_some()
    }

    /// All locations, and who has the other copy.
    pub(crate) fn peers(&self) -> Vec<(FileName, Option<WorkerId>)> {
        let all = self.locations.read();
        all.iter().map(|(name, location)| (*name, location.peer.clone())).collect()
    }

    /// Locations that take data.
    pub(crate) fn open(&self) -> usize {
        self.locations.read().values().filter(|location| !location.gate.is_closed()).count()
    }

    /// What is known of the location that a push of this map names. `stored`: something is in the core
    /// under that name.
    pub(crate) fn known(&self, location: Option<&Location>, map: i32, stored: bool) -> Known {
        if let Some(location) = location {
            return if location.gate.is_closed() { Known::Closed } else { Known::Open };
        }
        let attempts = self.attempts.lock();
        let index = usize::try_from(map).ok();
        let winner = match attempts.is_empty() {
            true => None,
            false => Some(index.and_then(|index| attempts.get(index)).copied().unwrap_or(-1)),
        };
        Known::Not { winner, committed: stored }
    }

    /// A commit says which attempts count. What was said before stays.
    pub(crate) fn attempts(&self, said: &[i32]) {
        if said.iter().all(|attempt| *attempt == -1) {
            return;
        }
        let mut known = self.attempts.lock();
        if known.len() < said.len() {
            known.resize(said.len(), -1);
        }
        for (known, said) in known.iter_mut().zip(said) {
            if *known == -1 {
                *known = *said;
            }
        }
    }

    /// Where the answer to the commit of this number is, or is to be.
    pub(crate) fn commit(&self, epoch: i64) -> Committed {
        Arc::clone(self.commits.lock().entry(epoch).or_default())
    }
}

/// Whether it is the copy that clients push to.
pub(crate) fn is_primary(mode: Mode) -> bool {
    mode == Mode::Primary
}
