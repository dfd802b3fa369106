//! How an executor leaves: what runs is finished within a limit, the rest is handed back, so that
//! nobody waits for its lease to end and no death is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_queue::ClaimedSlices;
use parking_lot::Mutex;

use crate::executor::Shared;

/// Between two looks at whether all tasks have ended.
const LOOK: Duration = Duration::from_millis(10);

/// What an executor has running.
#[derive(Default)]
pub(crate) struct Leaving {
    tasks: Mutex<Running>,
    limit: Mutex<Option<Duration>>,
}

#[derive(Default)]
struct Running {
    next: u64,
    claims: BTreeMap<u64, (ClaimedSlices, Option<Task<()>>)>,
}

impl Leaving {
    /// Takes note of a claim that is about to run.
    pub(crate) fn begin(&self, claim: ClaimedSlices) -> u64 {
        let mut running = self.tasks.lock();
        running.next += 1;
        let number = running.next;
        running.claims.insert(number, (claim, None));
        number
    }

    /// Keeps hold of the claim's task, unless it has ended already.
    pub(crate) fn track(&self, number: u64, task: Task<()>) {
        if let Some((_, slot)) = self.tasks.lock().claims.get_mut(&number) {
            *slot = Some(task);
        }
    }

    /// The claim is committed, reported or dropped.
    pub(crate) fn ended(&self, number: u64) {
        self.tasks.lock().claims.remove(&number);
    }

    /// How long tasks may still run.
    pub(crate) fn limit(&self, limit: Duration) {
        *self.limit.lock() = Some(limit);
    }

    /// Stops all tasks, as a crash would.
    pub(crate) fn abort(&self) {
        let claims = std::mem::take(&mut self.tasks.lock().claims);
        claims.into_values().filter_map(|(_, task)| task).for_each(|task| task.abort());
    }

    fn is_idle(&self) -> bool {
        let running = self.tasks.lock();
        // One that panicked did not say that it ended.
        running.claims.values().all(|(_, task)| task.as_ref().is_some_and(Task::is_finished))
    }
}

/// Waits for what runs, at most as long as the drain allows; stops and hands back the rest.
pub(crate) async fn finish(shared: &Shared) {
    let (env, leaving) = (&shared.parts.env, &shared.leaving);
    let limit = *leaving.limit.lock();
    let until = limit.map(|limit| env.now() + limit);
    while !leaving.is_idle() && until.is_none_or(|until| env.now() < until) {
        env.sleep(LOOK).await;
    }
    let rest = std::mem::take(&mut leaving.tasks.lock().claims);
    if !rest.is_empty() {
        tracing::warn!(claims = rest.len(), "what still ran at the drain limit is handed back");
    }
    for (claim, task) in rest.into_values() {
        if let Some(task) = task {
            task.abort();
            let _ = task.join().await;
        }
        if let Err(error) = shared.parts.queue.hand_back(&claim, claim.slices.clone()).await {
            tracing::debug!(query = %claim.query, %error, "a claim could not be handed back");
        }
    }
}
