//! Where a task's output goes: the shuffle workers that are alive, as this executor sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Error, PartitionId, ProcessId, QueryId, Result, StageId};
use dunlin_shuffle::{Candidate, Location, Placement, place};

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
        let live = shared.workers_alive();
        let ids = live.cards().into_iter().map(|(id, _)| id);
        let trusted = ids.filter(|id| !shared.avoided.contains(*id, now));
        let candidate = |id| {
            let address = live.card_of(id).map(|card| card.address).unwrap_or_default();
            Candidate { id, host: host(&address).to_owned() }
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

/// The host part of `host:port`.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
