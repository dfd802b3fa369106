//! Where a task's output goes: the shuffle workers that are alive, as this executor sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Error, PartitionId, ProcessId, QueryId, Result, StageId};
use dunlin_proto::queue::{Card, DiskState};
use dunlin_shuffle::{Candidate, Location, Placement, Standing, place};

use crate::executor::Shared;

/// How long a task waits for a shuffle worker to be alive before it fails.
const WORKER_WAIT: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The places of one stage's output.
pub(crate) struct StagePlacement {
    pub(crate) shared: Arc<Shared>,
    pub(crate) of: (QueryId, StageId),
    pub(crate) partitions: u32,
    /// Workers that hold each block; 0 is one.
    pub(crate) copies: u32,
}

impl StagePlacement {
    fn now(&self, partition: PartitionId, moves: u32) -> Result<Location> {
        let shared = &self.shared;
        let now = shared.parts.env.now();
        let workers = shared.workers_alive().read().into_iter();
        let trusted = workers.filter(|(id, _)| !shared.avoided.contains(*id, now));
        let candidate = |(id, card): (ProcessId, Arc<Card>)| Candidate {
            id,
            host: host(&card.address).to_owned(),
            standing: standing(&card),
        };
        let candidates: Vec<_> = trusted.map(candidate).collect();
        place(&candidates, self.of, (partition, self.partitions), moves, self.copies).ok_or_else(
            || {
                Error::retry("no shuffle worker is alive and takes output")
                    .with_hint("start a process with the shuffle role")
            },
        )
    }
}

#[async_trait]
impl Placement for StagePlacement {
    /// Waits a while for a worker to come, or to be trusted again: that none is there now is no
    /// fault of the task.
    async fn locate(&self, partition: PartitionId, moves: u32) -> Result<Location> {
        let env = &self.shared.parts.env;
        let until = env.now() + WORKER_WAIT;
        loop {
            match self.now(partition, moves) {
                Err(error) if env.now() >= until => return Err(error),
                Err(_) => env.sleep(LOOK_EVERY).await,
                found => return found,
            }
        }
    }

    fn failed(&self, worker: ProcessId) {
        tracing::info!(%worker, "a shuffle worker takes no output; avoided for a while");
        self.shared.avoided.add(worker, self.shared.parts.env.now());
    }
}

/// Percent of a worker's memory above which it counts as full: pushes are about to wait.
const FULL_PERCENT: u64 = 90;

/// What a worker's card says about more blocks. One of a build that says nothing takes them.
fn standing(card: &Card) -> Standing {
    let Some(storage) = &card.shuffle else { return Standing::Takes };
    if storage.draining {
        return Standing::Drains;
    }
    let full = storage.memory_limit / 100 * FULL_PERCENT;
    let usable =
        |disk: &dunlin_proto::queue::ShuffleDisk| disk.state() == DiskState::Good && disk.room > 0;
    let elsewhere = storage.objects || storage.disks.iter().any(usable);
    match storage.memory_used > full && !elsewhere {
        true => Standing::Full,
        false => Standing::Takes,
    }
}

/// The host part of `host:port`.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use dunlin_proto::queue::{ShuffleDisk, ShuffleStorage};

    use super::*;

    #[test]
    fn a_worker_is_full_only_if_neither_memory_nor_disk_nor_store_has_room() {
        let of = |change: fn(&mut ShuffleStorage)| {
            let disk = |state: DiskState, room| ShuffleDisk {
                state: state.into(),
                room,
                ..ShuffleDisk::default()
            };
            let mut storage = ShuffleStorage {
                memory_limit: 1000,
                memory_used: 950,
                disks: vec![disk(DiskState::Full, 7), disk(DiskState::Good, 0)],
                ..ShuffleStorage::default()
            };
            change(&mut storage);
            standing(&Card { shuffle: Some(storage), ..Card::default() })
        };
        assert_eq!(standing(&Card::default()), Standing::Takes, "it says nothing");
        assert_eq!(of(|_| {}), Standing::Full);
        assert_eq!(of(|storage| storage.memory_used = 800), Standing::Takes);
        assert_eq!(of(|storage| storage.objects = true), Standing::Takes);
        assert_eq!(of(|storage| storage.disks[1].room = 1), Standing::Takes);
        assert_eq!(of(|storage| storage.disks[0].set_state(DiskState::Good)), Standing::Takes);
        let isolated = |storage: &mut ShuffleStorage| {
            storage.disks[1].room = 1;
            storage.disks[1].set_state(DiskState::Isolated);
        };
        assert_eq!(of(isolated), Standing::Full);
        assert_eq!(of(|storage| storage.draining = true), Standing::Drains);
    }
}
