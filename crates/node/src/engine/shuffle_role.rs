//! The shuffle role: one worker that keeps its blocks from one lease to the next, its door, and what
//! its card says.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::machine;
use dunlin_base::{ByteCount, Env, Result};
use dunlin_celeborn_service::Worker as CelebornWorker;
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::ObjectPlace;
use dunlin_proto::queue::{Card, MachineSocket};
use dunlin_queue::{LiveSet, Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::{Bound, Door, DoorOptions, HandOver, ShuffleWorker};

use super::adoption::Adopter;
use super::options::Wire;
use super::telling::{self, ObjectsAt, Teller};
use super::{EngineOptions, adoption, celeborn, storage};

pub(super) struct ShuffleRole {
    pub(super) worker: Arc<ShuffleWorker>,
    pub(super) teller: Arc<Teller>,
    telling: Task<()>,
    /// Only where others may have left something in the same object store.
    adopting: Option<Task<()>>,
    /// For other processes, if there are any.
    pub(super) door: Option<Arc<Door>>,
    /// For clients of Celeborn, if they are served.
    pub(super) celeborn: Option<Arc<CelebornWorker>>,
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
        let folder = limits.objects.as_ref().map(|objects| objects.worker.clone());
        let place = ObjectsAt { folder, store: storage::object_place(options) };
        let worker = ShuffleWorker::new(limits, env.clone())?;
        // What a former process handed over is asked for by its ids.
        let former = worker.taken_over().processes.clone();
        let mut card = Card {
            build: dunlin_planner::BUILD.to_owned(),
            former: former.iter().map(ToString::to_string).collect(),
            ..Card::default()
        };
        adoption::reclaim(store, &worker, &place.store, &mut card).await;
        let told = telling::first_words(&worker, memory_limit, &place);
        card.shuffle = Some(told.clone());
        let door = match &options.wire {
            Some(wire) => Some(open(wire, options, leases, (&worker, pushes), &mut card).await?),
            None => None,
        };
        let ports = celeborn::bind(&options.celeborn, leases, &mut card).await?;
        if let Some(door) = &door {
            let ids = card.adopted.iter().filter_map(|id| id.parse().ok());
            ids.for_each(|id| door.answer_for(id));
        }
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
            place,
            admin: Default::default(),
            draining: AtomicBool::new(false),
        });
        let tells = telling::tell_for_ever(Arc::downgrade(&teller), told, env.clone());
        let telling = env.spawn("shuffle card", tells);
        let adopting = adopting(&teller, door.as_ref(), (store, env)).await?;
        let celeborn = celeborn::open(ports, store, &worker).await?;
        Ok(Self { worker, teller, telling, adopting, door, celeborn })
    }

    /// Ends the role. With a limit, what it holds is handed over within that to the next process in
    /// its folders; its card stays for a while then, so that readers wait for that one.
    pub(super) async fn end(self, hand_over: Option<Duration>) {
        let Self { worker, teller, telling, adopting, door, celeborn } = self;
        telling.abort();
        adopting.iter().for_each(Task::abort);
        let seat = &teller.seat;
        let done = match hand_over {
            Some(limit) if worker.stats().blocks > 0 => worker.hand_over(limit).await,
            _ => Ok(HandOver::default()),
        };
        worker.forget_uploads().await;
        let left = match done {
            Ok(HandOver { tables, blocks, left }) if blocks > 0 => {
                tracing::info!(tables, blocks, left, "shuffle data are handed over");
                seat.leave_behind().await
            }
            // What it holds in the object store is left to the others.
            Ok(_) if worker.stats().blocks > 0 || teller.place.store.is_empty() => {
                seat.leave().await
            }
            Ok(_) => seat.renounce().await.and(seat.leave().await),
            Err(error) => {
                tracing::warn!(%error, "shuffle data are not handed over");
                seat.leave().await
            }
        };
        if let Err(error) = left {
            tracing::warn!(%error, "shuffle worker could not leave");
        }
        // The seat has a handle of the door.
        drop((teller, worker, telling, adopting, celeborn));
        if let Some(door) = door.and_then(Arc::into_inner) {
            door.close().await;
        }
    }
}

/// The task that adopts what dead workers left, where they may have left something: in the same object
/// store, and for others to ask for.
async fn adopting(
    teller: &Teller,
    door: Option<&Arc<Door>>,
    (store, env): (&StoreRef, &Env),
) -> Result<Option<Task<()>>> {
    let Some(door) = door.filter(|_| !teller.place.store.is_empty()) else { return Ok(None) };
    let live = LiveSet::follow(Arc::clone(store), env, Role::Shuffle).await?;
    // Weak: whoever ends the role closes the door.
    let door = Arc::downgrade(door);
    let answer = move |id| {
        if let Some(door) = door.upgrade() {
            door.answer_for(id);
        }
    };
    let here = (Arc::clone(store), env.clone());
    let adopter = Adopter::new((&teller.seat, &teller.worker), here, answer);
    Ok(Some(env.spawn("shuffle adoption", adopter.adopt_for_ever(live))))
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
