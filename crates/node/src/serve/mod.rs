//! `dunlin serve`: a process with some of the roles, reachable by others, until it is told to end.
//! `design/2026-11-21-cluster.md` says why it is as it is.

mod admin;
mod celeborn_metrics;
mod crowd;
mod door_metrics;
mod drain;
mod held;
mod listeners;
mod metrics;
mod options;
mod rest;
mod stop;
mod tls;
#[cfg(test)]
mod watched;

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Error, Result};
use dunlin_gateway::flight::{Auth, DoorOptions, FlightDoor, MetadataUsers};

use self::admin::Admin;
use self::drain::drain;
pub(crate) use self::held::Held;
pub use self::listeners::Listener;
pub(crate) use self::options::Serving;
use crate::engine::{Engine, Leaving};
use crate::report::{Failure, note};

/// How the line begins that says that all listeners are open.
pub(crate) const READY: &str = "dunlin: ready";

/// Probes see that the process is about to go before it refuses anything.
const NOTICE: Duration = Duration::from_millis(500);

/// Runs until the process is told to end, then drains it.
pub(crate) fn run(serving: &Serving) -> Result<(), Failure> {
    if serving.engine.is_shuffle_only() {
        crate::allocator::give_back_unused_memory();
    }
    let engine = Engine::start(serving.engine.clone())?;
    let served = engine.block_on(serve(&engine, serving));
    engine.block_on(async {
        let ended = engine.env().timeout(serving.drain_limit, engine.shutdown()).await;
        if ended.is_none() {
            let limit = serving.drain_limit;
            tracing::warn!("what still ran after {limit:?} was left to other processes");
        }
    });
    served.map_err(Failure::from)
}

async fn serve(engine: &Engine, serving: &Serving) -> Result<()> {
    if let Some(data) = &serving.data {
        for (table, result) in engine.planner().register_folder(data).await? {
            if let Err(error) = result {
                note(&format!("note: {table} is not a table: {}", error.message()));
            }
        }
    }
    let door = match engine.gateway() {
        Ok(gateway) => {
            let planner = Arc::clone(engine.planner());
            Some(FlightDoor::start(gateway, planner, door_options(engine, serving)).await?)
        }
        Err(_) => None,
    };
    let rest = rest::router(engine, serving.guard.clone(), serving.conf.clone());
    let admin = Admin::start(engine, serving.admin, rest).await?;
    engine.has_admin(admin.address()).await;
    announce(engine, door.as_ref(), &admin);
    let stop = tokio::select! {
        stop = stop::requested(engine.env(), serving.with_parent) => stop?,
        leaving = engine.decommissioned() => match leaving {
            Leaving::Drained => "its shuffle worker was drained",
            Leaving::Restart => "another process is wished in its place",
            Leaving::Now => {
                note("dunlin: its shuffle worker is wished away at once");
                engine.kill_executors();
                engine.abandon_shuffle();
                return Ok(());
            }
        },
    };
    note(&format!("dunlin: {stop}: draining"));
    admin.not_ready();
    engine.env().sleep(NOTICE).await;
    tokio::select! {
        () = drain(engine, door.as_ref(), serving.drain_limit) => {}
        second = stop::requested(engine.env(), false) => {
            second?;
            engine.kill_executors();
            return Err(Error::retry("ended at once by a second signal"));
        }
    }
    Ok(())
}

fn door_options(engine: &Engine, serving: &Serving) -> DoorOptions {
    let auth = match serving.users {
        true => Auth::Users(Arc::new(MetadataUsers::new(Arc::clone(engine.store())))),
        false => Auth::Off { user: "local".to_owned() },
    };
    let mut options = DoorOptions::new(auth);
    options.listen = serving.flight;
    options.tls = serving.tls.as_ref().map(tls::Material::door);
    options
}

/// One line that scripts can wait for: every listener with its real port.
fn announce(engine: &Engine, door: Option<&FlightDoor>, admin: &Admin) {
    let worker = engine.celeborn_worker().and_then(|worker| worker.upgrade());
    let celeborn = worker.map(|worker| worker.addresses());
    let open = |listener: &Listener| {
        let address = match listener {
            Listener::Flight => door.map(FlightDoor::local_addr),
            Listener::Shuffle => engine.shuffle_address(),
            Listener::CelebornMaster => engine.celeborn_master().map(|master| master.address()),
            Listener::CelebornWorker => celeborn.map(|ports| ports[0]),
            Listener::CelebornPush => celeborn.map(|ports| ports[1]),
            Listener::CelebornFetch => celeborn.map(|ports| ports[2]),
            Listener::CelebornReplicate => celeborn.map(|ports| ports[3]),
            Listener::Admin => Some(admin.address()),
        };
        address.map(|address| format!("{}={address}", listener.name()))
    };
    let mut parts: Vec<String> = Listener::ALL.iter().filter_map(open).collect();
    parts.push(format!("executors={}", engine.executors().len()));
    note(&format!("{READY} {}", parts.join(" ")));
}
