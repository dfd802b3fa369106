//! The task that probes the disks of a worker, so that one which fails or hangs is known without a
//! write, and one that works again is found. It holds nothing of the worker between its rounds.

use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::Env;

use crate::core::Core;
use crate::unit::Unit;

/// From one round to the next.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// A probe that takes longer has failed.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Probes until the worker is gone.
pub(crate) async fn probe_for_ever(env: Env, core: Weak<Core>) {
    loop {
        env.sleep(PROBE_EVERY).await;
        let Some(core) = core.upgrade() else { return };
        for unit in &core.disks {
            // A probe that still hangs is a thread that hangs: no second one.
            if !unit.probing.swap(true, AcqRel) {
                start_probe(core.env.clone(), Arc::clone(unit), Arc::downgrade(&core));
            }
        }
    }
}

/// One probe, in a task of its own: it may hang for as long as the disk does.
fn start_probe(env: Env, unit: Arc<Unit>, core: Weak<Core>) {
    let of_task = env.clone();
    env.spawn("shuffle-probe", async move {
        probe(&of_task, &unit).await;
        unit.probing.store(false, Release);
        // It may take data again.
        if let Some(core) = core.upgrade() {
            core.pump(false);
        }
    });
}

async fn probe(env: &Env, unit: &Unit) {
    let disk = Arc::clone(&unit.disk);
    let work = env.blocking(move || disk.probe().and_then(|()| disk.space()));
    let mut work = std::pin::pin!(work);
    let Some(outcome) = env.timeout(PROBE_MAX, work.as_mut()).await else {
        unit.probed(Err(format!("no answer within {} s", PROBE_MAX.as_secs())));
        drop(work.await);
        return;
    };
    unit.probed(outcome.and_then(|probed| probed.map_err(|e| e.to_string())));
}
