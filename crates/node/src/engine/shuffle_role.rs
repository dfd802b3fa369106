//! The shuffle role: one worker that keeps its blocks from one lease to the next, its door, and what
//! its card says.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::machine;
use dunlin_base::{ByteCount, Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::ObjectPlace;
use dunlin_proto::queue::{Card, MachineSocket};
use dunlin_queue::{Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::{Bound, Door, DoorOptions, HandOver, ShuffleWorker};

use super::options::Wire;
use super::telling::{self, Teller};
use super::{EngineOptions, storage};

pub(super) struct ShuffleRole {
    pub(super) worker: Arc<ShuffleWorker>,
    pub(super) teller: Arc<Teller>,
    telling: Task<()>,
    /// For other processes, if there are any.
    pub(super) door: Option<Arc<Door>>,
}

impl ShuffleRole {
    /// `objects`: the object store, if it is a tier.
    pub(super) async fn start(
        options: &EngineOptions,
        (env, leases): (&Env, &Env),
        store: &StoreRef,
        workers: &Arc<LocalWorkers>,
        objects: Option<&ObjectPlace>,
    ) -> Result<Self> {
        let limits = storage::limits(options, objects, (&options.scratch, env));
        let (memory_limit, pushes) = (limits.memory_limit.0, limits.shares().pushes);
        let object_folder = limits.objects.as_ref().map(|objects| objects.worker.clone());
        let worker = ShuffleWorker::new(limits, env.clone())?;
        // What a former process handed over is asked for by its ids.
        let former = worker.taken_over().processes.clone();
        let mut card = Card {
            build: dunlin_planner::BUILD.to_owned(),
            former: former.iter().map(ToString::to_string).collect(),
            ..Card::default()
        };
        let told = telling::first_words(&worker, memory_limit, object_folder.clone());
        card.shuffle = Some(told.clone());
        let door = match &options.wire {
            Some(wire) => Some(open(wire, options, leases, (&worker, pushes), &mut card).await?),
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
        let teller = Arc::new(Teller {
            seat: Arc::new(seat),
            worker: Arc::clone(&worker),
            memory_limit,
            object_folder,
            admin: Default::default(),
            draining: AtomicBool::new(false),
        });
        let tells = telling::tell_for_ever(Arc::downgrade(&teller), told, env.clone());
        let telling = env.spawn("shuffle card", tells);
        Ok(Self { worker, teller, telling, door })
    }

    /// Ends the role. With a limit, what it holds is handed over within that to the next process in
    /// its folders; its card stays for a while then, so that readers wait for that one.
    pub(super) async fn end(self, hand_over: Option<Duration>) {
        let Self { worker, teller, telling, door } = self;
        telling.abort();
        let seat = &teller.seat;
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
        // The seat has a handle of the door.
        drop((teller, worker, telling));
        if let Some(door) = door.and_then(Arc::into_inner) {
            door.close().await;
        }
    }
}

async fn open(
    wire: &Wire,
    options: &EngineOptions,
    env: &Env,
    (worker, pushes): (&Arc<ShuffleWorker>, ByteCount),
    card: &mut Card,
) -> Result<Arc<Door>> {
    let mut door = DoorOptions::new(wire.listen.clone());
    door.door_bytes_max = pushes;
    door.tls = wire.tls.as_ref().map(|tls| Arc::clone(&tls.server));
    let machine = machine().filter(|_| wire.machine_sockets);
    if machine.is_some() {
        let name = format!("shuffle-{:016x}.sock", env.random());
        door.on_machine = Some(options.scratch.join(name));
    }
    let bound = Bound::bind(env.clone(), door).await?;
    card.address = wire.advertised(bound.address());
    card.on_machine = bound
        .on_machine()
        .zip(machine)
        .map(|(path, machine)| MachineSocket { machine, path: path.display().to_string() });
    Ok(Arc::new(bound.open(None, Arc::clone(worker) as _)))
}
