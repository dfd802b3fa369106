//! The shuffle role: one worker that keeps its blocks from one lease to the next, and its door.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use dunlin_queue::{Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::{Bound, Door, DoorOptions, HandOver, Options, ShuffleWorker};

use super::EngineOptions;
use super::options::Wire;

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
        let mut limits = Options::in_folder(options.shuffle_memory, &options.scratch);
        // Where writer and worker share the process, every read verifies.
        limits.verify_pushes = options.wire.is_some();
        let worker = ShuffleWorker::new(limits, env.clone())?;
        // What a former process handed over is asked for by its ids.
        let former = worker.taken_over().processes.clone();
        let mut card = Card {
            build: dunlin_planner::BUILD.to_owned(),
            former: former.iter().map(ToString::to_string).collect(),
            ..Card::default()
        };
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
        former.into_iter().for_each(&joining);
        let joining = {
            let worker = Arc::clone(&worker);
            move |id| {
                worker.answers_for(id);
                joining(id);
            }
        };
        let seat = Seat::take(Arc::clone(store), leases.clone(), role, joining).await?;
        Ok(Self { worker, seat, door })
    }

    /// Ends the role. With a limit, what it holds is handed over within that to the next process in
    /// its folders; its card stays for a while then, so that readers wait for that one.
    pub(super) async fn end(self, hand_over: Option<Duration>) {
        let Self { worker, seat, door } = self;
        let done = match hand_over {
            Some(limit) if worker.stats().blocks > 0 => worker.hand_over(limit).await,
            _ => Ok(HandOver::default()),
        };
        let left = match done {
            Ok(HandOver { tables, blocks, left }) if blocks > 0 => {
                tracing::info!(tables, blocks, left, "shuffle data are handed over");
                seat.leave_behind().await
            }
            Ok(_) => seat.leave().await,
            Err(error) => {
                tracing::warn!(%error, "shuffle data are not handed over");
                seat.leave().await
            }
        };
        if let Err(error) = left {
            tracing::warn!(%error, "shuffle worker could not leave");
        }
        drop(seat);
        if let Some(door) = door.and_then(Arc::into_inner) {
            door.close().await;
        }
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
