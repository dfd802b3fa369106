//! What is done to processes, and who starts them again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dunlin_base::Kind;
use dunlin_queue::Role;

use super::link::Doom;
use super::process::Process;
use super::setup::{TTL, World};

/// Transactions after which a doomed process dies, at most.
const DOOM_MAX: u64 = 14;

/// Keeps a place filled: whenever its process has ended, another is started.
pub(crate) async fn keep(world: Arc<World>, place: usize) {
    let place = &world.places[place];
    for life in 0_u32.. {
        if world.over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{}.{life}", place.name);
        match Process::start(&world, place.role, name.clone()).await {
            Ok(process) => live(&world, place.role, &place.now, Arc::new(process)).await,
            Err(error) if error.kind() == Kind::Retry => {
                world.checker.note(&name, format!("does not start: {error}"));
            }
            Err(error) => {
                let text = format!("{name} does not start: {} {error}", error.kind());
                world.checker.complain(text);
            }
        }
        world.env.sleep(world.millis(0, 4000)).await;
    }
}

/// One life.
async fn live(
    world: &World,
    role: Role,
    now: &parking_lot::Mutex<Option<Arc<Process>>>,
    process: Arc<Process>,
) {
    world.checker.note(&process.name, "is up");
    *now.lock() = Some(Arc::clone(&process));
    process.link.died().await;
    process.kill();
    *now.lock() = None;
    if role == Role::Shuffle {
        world.network.bury();
    }
    world.checker.note(&process.name, "is gone");
}

/// Strikes at random moments, until it is dropped.
pub(crate) async fn strikes(world: Arc<World>) {
    loop {
        world.env.sleep(world.millis(30, 1500)).await;
        let nth = world.env.random_below(world.places.len() as u64) as usize;
        let process = world.places[nth].now.lock().clone();
        if let Some(process) = process.filter(|process| !process.link.is_dead()) {
            strike(&world, process);
        }
    }
}

fn strike(world: &Arc<World>, process: Arc<Process>) {
    let (lease, name) = (TTL.as_millis() as u64, process.name.as_str());
    let mut tally = world.tally.lock();
    match world.env.random_below(12) {
        0..=2 => {
            world.checker.note(name, "is killed");
            tally.kills += 1;
            process.kill();
        }
        3..=6 => {
            let doom = Doom { after: world.env.random_below(DOOM_MAX), sent: world.chance(500) };
            world.checker.note(name, format!("{doom:?}"));
            tally.dooms += 1;
            process.link.doom(doom);
        }
        7..=8 => {
            let time = world.millis(lease / 4, 2 * lease);
            world.checker.note(name, format!("stands still for {time:?}"));
            tally.pauses += 1;
            process.link.hold(time);
        }
        9..=10 => {
            let time = world.millis(lease / 4, 2 * lease);
            world.checker.note(name, format!("is cut off from the store for {time:?}"));
            tally.cuts += 1;
            process.link.hold_store(time);
        }
        _ => {
            world.checker.note(name, "is drained");
            tally.drains += 1;
            let world = Arc::clone(world);
            let env = world.env.clone();
            world.leaving.fetch_add(1, Ordering::Relaxed);
            env.spawn("drain", async move {
                process.drain(&world).await;
                world.leaving.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}
