//! The shuffle role: one worker that keeps its blocks from one lease to the next.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_queue::{Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::ShuffleWorker;

use super::EngineOptions;

pub(super) struct ShuffleRole {
    pub(super) worker: Arc<ShuffleWorker>,
    pub(super) seat: Seat,
}

impl ShuffleRole {
    pub(super) async fn start(
        options: &EngineOptions,
        (env, leases): (&Env, &Env),
        store: &StoreRef,
        workers: &Arc<LocalWorkers>,
    ) -> Result<Self> {
        let mut limits = dunlin_shuffle_service::Options::new(options.shuffle_memory);
        limits.directory = Some(options.scratch.clone());
        // Writer and worker share the process: every read verifies.
        limits.verify_pushes = false;
        let worker = ShuffleWorker::new(limits, env.clone())?;
        let role = SeatOptions { role: Role::Shuffle, card: Bytes::new(), ttl: options.lease_ttl };
        let joined = {
            let (workers, worker) = (Arc::clone(workers), Arc::clone(&worker));
            // The ids of lives before stay known: what they acknowledged is still here.
            move |id| workers.insert(id, Arc::clone(&worker) as _)
        };
        let seat = Seat::take(Arc::clone(store), leases.clone(), role, joined).await?;
        Ok(Self { worker, seat })
    }
}
