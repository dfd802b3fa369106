//! The shuffle role: one worker that keeps its blocks from one lease to the next, and its door.

use std::sync::Arc;

use dunlin_base::net::machine;
use dunlin_base::{Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{Card, MachineSocket};
use dunlin_queue::{Role, Seat, SeatOptions};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::{Bound, Door, DoorOptions, Options, ShuffleWorker};

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
        let mut card = Card { build: dunlin_planner::BUILD.to_owned(), ..Card::default() };
        let door = match &options.wire {
            Some(wire) => Some(open(wire, options, leases, &worker, &mut card).await?),
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
    options: &EngineOptions,
    env: &Env,
    worker: &Arc<ShuffleWorker>,
    card: &mut Card,
) -> Result<Arc<Door>> {
    let mut door = DoorOptions::new(wire.listen.clone());
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
