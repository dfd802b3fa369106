//! What a worker tells administrators of itself. Nothing here is on a path of data.

use std::time::Duration;

use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::{FileName, ShuffleKey, WorkerId};
use dunlin_celeborn::storage::StorageType;

use super::Worker;
use crate::timer::Times;

/// A location on a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationAt {
    /// Of which shuffle.
    pub shuffle: ShuffleKey,
    /// Which copy of which partition.
    pub name: FileName,
    /// Who has the other copy.
    pub peer: Option<WorkerId>,
    /// What drivers are told that it lies on.
    pub storage: StorageType,
}

impl Worker {
    /// The shuffles that drivers have asked for here, in order.
    pub fn shuffles(&self) -> Vec<ShuffleKey> {
        let mut all: Vec<_> = self.floor.all().iter().map(|shuffle| shuffle.key.clone()).collect();
        all.sort_unstable();
        all
    }

    /// The locations that are reserved here, by shuffle.
    pub fn locations(&self) -> Vec<LocationAt> {
        let storage = self.floor.storage_type;
        let mut all = Vec::new();
        for shuffle in self.floor.all() {
            let at =
                |(name, peer)| LocationAt { shuffle: shuffle.key.clone(), name, peer, storage };
            all.extend(shuffle.peers().into_iter().map(at));
        }
        all.sort_unstable_by(|a, b| (&a.shuffle, a.name).cmp(&(&b.shuffle, b.name)));
        all
    }

    /// Workers for second copies that did not answer, and when that was, in milliseconds since 1970.
    pub fn unavailable_peers(&self) -> Vec<(WorkerId, u64)> {
        let (now, unix_ms) = (self.floor.env.now(), self.floor.env.unix_ms());
        let at = |(id, at): (WorkerId, Duration)| {
            let ago = u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
            (id, unix_ms.saturating_sub(ago))
        };
        self.floor.peers.refused(now).into_iter().map(at).collect()
    }

    /// How long things take, by the names that Celeborn's workers have for them.
    pub fn timers(&self) -> Vec<(&'static str, Times)> {
        let (timers, now) = (&self.floor.timers, self.floor.env.now());
        let [primary, replica] = [Mode::Primary, Mode::Replica].map(|mode| timers.push(mode));
        let all = [
            ("ReserveSlotsTime", &timers.reserve),
            ("CommitFilesTime", &timers.commit),
            ("PrimaryPushDataTime", primary),
            ("ReplicaPushDataTime", replica),
            ("OpenStreamTime", &timers.open),
            ("FetchLocalChunkTime", &timers.fetch),
        ];
        all.map(|(name, timer)| (name, timer.times(now))).to_vec()
    }
}
