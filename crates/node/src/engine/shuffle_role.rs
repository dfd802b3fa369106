//! The shuffle role: one worker that keeps its blocks from one lease to the next, and its door.

use std::sync::Arc;

use dunlin_base::{Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use dunlin_queue::{Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::{Bound, Door, DoorOptions, ShuffleWorker};

use super::options::Wire;
use super::{EngineOptions, storage};

pub(super) struct ShuffleRole {
    pub(super) worker: Arc<ShuffleWorker>,
    pub(super) seat: Seat,
    /// For other processes, if there are any.
    pub(super) door: Option<Arc<Door>>,
}

impl ShuffleRole {
    pub(super) async fn start(
        options: &EngineOptions,
        (env, leases): (&Env, &Env),
        store: &StoreRef,
        workers: &Arc<LocalWorkers>,
    ) -> Result<Self> {
        let objects = storage::objects(options, env).await?;
        let limits = storage::limits(options, objects.as_ref(), (&options.scratch, env));
        let worker = ShuffleWorker::new(limits, env.clone())?;
        let mut card = Card { build: dunlin_planner::BUILD.to_owned(), ..Card::default() };
        let door = match &options.wire {
            Some(wire) => Some(open(wire, leases, &worker, &mut card).await?),
            None => None,
        };
        let role = SeatOptions { role: Role::Shuffle, card, ttl: options.lease_ttl };
        let joining = {
            let (workers, worker, door) = (Arc::clone(workers), Arc::clone(&worker), door.clone());
            // The ids of lives before stay known: what they acknowledged is still here.
            move |id| {
                workers.insert(id, Arc::clone(&worker) as _);
                if let Some(door) = &door {
                    door.answer_for(id);
                }
            }
        };
        let seat = Seat::take(Arc::clone(store), leases.clone(), role, joining).await?;
        Ok(Self { worker, seat, door })
    }
}

async fn open(
    wire: &Wire,
    env: &Env,
    worker: &Arc<ShuffleWorker>,
    card: &mut Card,
) -> Result<Arc<Door>> {
    let mut door = DoorOptions::new(wire.listen.clone());
    door.tls = wire.tls.as_ref().map(|tls| Arc::clone(&tls.server));
    let bound = Bound::bind(env.clone(), door).await?;
    card.address = wire.advertised(bound.address());
    Ok(Arc::new(bound.open(None, Arc::clone(worker) as _)))
}
