//! How each worker stands: what its card says, what an administrator wants of it, and whether it was
//! excluded by hand. All masters see the same, since all of it is in the store.

use std::collections::BTreeMap;

use dunlin_base::Result;
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb::{WorkerEventType, WorkerState};
use futures::future::try_join;

use super::Desk;
use crate::fleet::{Wanted, Worker};

/// A worker that is alive, and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// By its card.
    pub worker: Worker,
    /// What is wanted of it, and is not so yet.
    pub event: Option<Wanted>,
    /// Since when an administrator has excluded it, in milliseconds since 1970.
    pub excluded: Option<u64>,
    /// What it is at.
    pub state: WorkerState,
}

impl Standing {
    pub(super) fn new(worker: Worker, wanted: Option<Wanted>, excluded: Option<u64>) -> Self {
        let state = state(&worker, wanted.map(|wanted| wanted.event));
        let event = wanted.filter(|wanted| !is_done(wanted.event, state));
        Self { worker, event, excluded, state }
    }

    /// Whether it may be given partitions.
    pub fn takes_slots(&self) -> bool {
        self.worker.takes && self.excluded.is_none() && self.state == WorkerState::Normal
    }

    /// It takes nothing now of itself: it is full, or sick.
    pub fn is_unwell(&self) -> bool {
        !self.worker.takes && !self.is_leaving()
    }

    /// It is not to be used any more, and drivers should commit what they have there.
    pub fn is_leaving(&self) -> bool {
        self.state != WorkerState::Normal
    }

    /// It leaves because it was decommissioned.
    pub fn is_decommissioning(&self) -> bool {
        use WorkerState::{Idle, InDecommission, InDecommissionThenIdle};
        matches!(self.state, Idle | InDecommission | InDecommissionThenIdle)
    }
}

/// What a worker is at. A wish counts before the worker has followed it: nothing is to go there any more.
fn state(worker: &Worker, wanted: Option<WorkerEventType>) -> WorkerState {
    match wanted {
        Some(WorkerEventType::Immediately) => WorkerState::InExit,
        Some(WorkerEventType::Graceful) => WorkerState::InGraceful,
        Some(WorkerEventType::Decommission) => WorkerState::InDecommission,
        Some(WorkerEventType::DecommissionThenIdle) if worker.going && worker.shuffles == 0 => {
            WorkerState::Idle
        }
        Some(WorkerEventType::DecommissionThenIdle) => WorkerState::InDecommissionThenIdle,
        // It has not come back yet.
        Some(WorkerEventType::Recommission) if worker.going => WorkerState::InDecommissionThenIdle,
        // It was told by a signal.
        _ if worker.going => WorkerState::InGraceful,
        _ => WorkerState::Normal,
    }
}

/// The worker has done what was wanted, and is still there.
fn is_done(event: WorkerEventType, state: WorkerState) -> bool {
    match event {
        WorkerEventType::None => true,
        WorkerEventType::Recommission => state == WorkerState::Normal,
        WorkerEventType::DecommissionThenIdle => state == WorkerState::Idle,
        _ => false,
    }
}

impl Desk {
    /// All workers that are alive. `Retry`: the store does not answer.
    pub(super) async fn crew(&self) -> Result<Vec<Standing>> {
        let (excluded, wanted) = try_join(self.records.excluded(), self.fleet.wanted()).await?;
        let wanted: BTreeMap<WorkerId, Wanted> = wanted.into_iter().collect();
        let standing = |worker: Worker| {
            let (wanted, excluded) = (wanted.get(&worker.id), excluded.get(&worker.id));
            Standing::new(worker, wanted.copied(), excluded.copied())
        };
        Ok(self.fleet.workers().into_iter().map(standing).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::master) fn worker(host: &str) -> Worker {
        let (rpc_port, push_port, fetch_port, replicate_port) = (1, 2, 3, 4);
        let id = WorkerId { host: host.into(), rpc_port, push_port, fetch_port, replicate_port };
        Worker {
            id,
            rack: String::new(),
            going: false,
            takes: true,
            disks: Vec::new(),
            free: 1 << 30,
            pressure: 0,
            shuffles: 3,
            tags: Vec::new(),
        }
    }

    fn of(event: WorkerEventType, going: bool, shuffles: u64) -> (WorkerState, bool) {
        let wanted = (event != WorkerEventType::None).then_some(Wanted { event, since_unix_ms: 1 });
        let standing = Standing::new(Worker { going, shuffles, ..worker("h") }, wanted, None);
        assert_eq!(standing.takes_slots(), standing.state == WorkerState::Normal);
        (standing.state, standing.event.is_some())
    }

    #[test]
    fn a_wish_counts_at_once_and_until_it_is_so() {
        use WorkerEventType::{Decommission, DecommissionThenIdle, Graceful};
        use WorkerEventType::{Immediately, None, Recommission};
        use WorkerState::{Idle, InDecommission, InDecommissionThenIdle};
        use WorkerState::{InExit, InGraceful, Normal};
        assert_eq!(of(None, false, 3), (Normal, false));
        assert_eq!(of(None, true, 3), (InGraceful, false), "by a signal");
        assert_eq!(of(Immediately, false, 3), (InExit, true));
        assert_eq!(of(Graceful, false, 3), (InGraceful, true));
        for going in [false, true] {
            assert_eq!(of(Decommission, going, 0), (InDecommission, true), "{going}");
            assert_eq!(of(DecommissionThenIdle, going, 3), (InDecommissionThenIdle, true));
        }
        assert_eq!(of(DecommissionThenIdle, false, 0), (InDecommissionThenIdle, true));
        assert_eq!(of(DecommissionThenIdle, true, 0), (Idle, false));
        assert_eq!(of(Recommission, true, 0), (InDecommissionThenIdle, true));
        assert_eq!(of(Recommission, false, 3), (Normal, false));
    }

    #[test]
    fn who_is_excluded_or_full_gets_nothing_and_does_not_leave() {
        let excluded = Standing::new(worker("h"), None, Some(7));
        assert!(!excluded.takes_slots() && !excluded.is_leaving() && !excluded.is_unwell());
        let full = Standing::new(Worker { takes: false, ..worker("h") }, None, None);
        assert!(!full.takes_slots() && !full.is_leaving() && full.is_unwell());
    }
}
