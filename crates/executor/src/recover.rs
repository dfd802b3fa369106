//! What an executor does when its shuffle fails it: an input that is gone is made again, and a
//! worker that does not take output is avoided for a while. See
//! `design/2026-11-21-lost-outputs.md`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Error, Kind, ProcessId, Result};
use dunlin_queue::{ClaimedSlices, HEIR_WAIT, Heir, Lost, Missing};
use dunlin_shuffle::{PushFault, ReadFault};
use parking_lot::Mutex;

use crate::executor::Shared;

/// How long a worker is avoided after its first failed push; doubled with each further one.
const AVOID_MIN: Duration = Duration::from_secs(2);
const AVOID_MAX: Duration = Duration::from_secs(16);

/// Between two looks at a card.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Between two looks at the store for who adopts what a worker left there.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Workers that did not take a push lately.
#[derive(Debug, Default)]
pub(crate) struct Avoided(Mutex<HashMap<ProcessId, Mark>>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    until: Duration,
    length: Duration,
}

impl Avoided {
    /// The worker did not take a push now.
    pub(crate) fn add(&self, worker: ProcessId, now: Duration) {
        let mut marks = self.0.lock();
        // Long since forgiven: the next failure begins anew.
        marks.retain(|_, mark| now < mark.until + 2 * AVOID_MAX);
        let again = marks.get(&worker).map(|mark| (mark.length * 2).min(AVOID_MAX));
        let length = again.unwrap_or(AVOID_MIN);
        marks.insert(worker, Mark { until: now + length, length });
    }

    /// True if the worker is not to be pushed to now.
    pub(crate) fn contains(&self, worker: ProcessId, now: Duration) -> bool {
        self.0.lock().get(&worker).is_some_and(|mark| now < mark.until)
    }
}

/// True if the failure of a claim is dealt with: the claim is given up and nothing is counted.
pub(crate) async fn recover(shared: &Arc<Shared>, claim: &ClaimedSlices, error: &Error) -> bool {
    let dealt_with = if let Some(fault) = ReadFault::of(error) {
        input_failed(shared, claim, fault, error).await
    } else if let Some(fault) = PushFault::of(error) {
        Ok(push_failed(shared, fault).await)
    } else {
        Ok(false)
    };
    match dealt_with {
        Ok(true) => give_up(shared, claim).await,
        Ok(false) => false,
        Err(error) => error.kind() == Kind::Fenced,
    }
}

/// The claim's input is gone: has it made again, if that is certain.
async fn input_failed(
    shared: &Arc<Shared>,
    claim: &ClaimedSlices,
    fault: &ReadFault,
    error: &Error,
) -> Result<bool> {
    let gone = || fault.holders.iter().filter(|holder| holder.gone);
    let there = || fault.holders.iter().filter(|holder| !holder.gone);
    if fault.all_gone() {
        for holder in gone() {
            if is_news(shared, holder.worker).await? {
                return Ok(true);
            }
        }
    }
    if error.kind() == Kind::Retry {
        for holder in there() {
            match outcome_of(shared, holder.worker).await {
                Outcome::Gone => {}
                Outcome::Stays => return Ok(false),
                Outcome::Back => return Ok(true),
            }
        }
    }
    let names = || fault.holders.iter().map(|holder| holder.worker.to_string()).collect();
    let what = match fault.holders.iter().find(|holder| holder.stored) {
        _ if error.kind() == Kind::Lost && !fault.all_gone() => Lost::Maps(fault.maps.clone()),
        Some(holder) if heir_comes(shared, claim, holder.worker).await? => return Ok(true),
        Some(_) => Lost::Estates(names()),
        None => Lost::Workers(names()),
    };
    let Some(input) = claim.inputs.iter().find(|input| input.stage == fault.stage) else {
        return Ok(false);
    };
    let (stage, epoch) = (input.stage, input.epoch);
    let missing = Missing { stage, epoch, what, cause: error.clone() };
    let mut wait = Duration::from_millis(10);
    loop {
        match shared.parts.queue.reopen(claim.query, &missing).await {
            Err(error) if error.kind() == Kind::Retry => {
                claim.check()?;
                shared.parts.env.sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            outcome => return outcome.map(|_| true),
        }
    }
}

/// True if the store has a card of the worker and only this process had not heard of it.
async fn is_news(shared: &Shared, worker: ProcessId) -> Result<bool> {
    let known_here = shared.workers_alive().card_of(worker).is_some();
    let news = !known_here && shared.parts.queue.has_shuffle_worker(worker).await?;
    if news {
        shared.parts.env.sleep(LOOK_EVERY).await;
    }
    Ok(news)
}

/// Waits for somebody to adopt what a worker that is gone left in the object store, as long as that can
/// be. True: somebody has. `Fenced`: the claim is void.
async fn heir_comes(
    shared: &Arc<Shared>,
    claim: &ClaimedSlices,
    worker: ProcessId,
) -> Result<bool> {
    let env = &shared.parts.env;
    let until = env.now() + HEIR_WAIT;
    let mut asked = None;
    while env.now() < until {
        if shared.workers_alive().card_of(worker).is_some() {
            return Ok(true);
        }
        if asked.is_none_or(|asked| env.now() >= asked + ASK_EVERY) {
            asked = Some(env.now());
            match shared.parts.queue.heir_of(worker).await {
                Ok(Heir::Here) => return Ok(true),
                Ok(Heir::Nobody) => return Ok(false),
                Ok(Heir::Due) => {}
                Err(error) if error.kind() == Kind::Retry => {}
                Err(error) => return Err(error),
            }
        }
        claim.check()?;
        env.sleep(LOOK_EVERY).await;
    }
    Ok(false)
}

/// What becomes of a worker that cannot be reached.
enum Outcome {
    /// It has lost its card.
    Gone,
    /// Another process has taken its place, with its data.
    Back,
    /// It keeps its card, or had been succeeded already when it could not be reached.
    Stays,
}

/// Waits for what becomes of a worker, for half a lease at most. Four failures of a slice with one
/// that stays are two leases; one that comes back has restarted, and that is no fault of the slice.
async fn outcome_of(shared: &Shared, worker: ProcessId) -> Outcome {
    let env = &shared.parts.env;
    let until = env.now() + shared.options.lease_ttl / 2;
    let live = shared.workers_alive();
    let name = worker.to_string();
    let succeeded = || live.card_of(worker).map(|card| card.former.contains(&name));
    let Some(before) = succeeded() else { return Outcome::Gone };
    while env.now() < until && !before {
        match succeeded() {
            None => return Outcome::Gone,
            Some(true) => return Outcome::Back,
            Some(false) => env.sleep(LOOK_EVERY).await,
        }
    }
    Outcome::Stays
}

/// The worker is avoided. True if there is another one, now or within half a lease: then the
/// failure says nothing about the task. Four failures that count are two leases, however many
/// executors share them.
async fn push_failed(shared: &Shared, fault: &PushFault) -> bool {
    let now = shared.parts.env.now();
    shared.avoided.add(fault.worker, now);
    tracing::info!(worker = %fault.worker, "a shuffle worker takes no output; avoided for a while");
    let other = || {
        let (now, live) = (shared.parts.env.now(), shared.workers_alive().cards());
        live.iter()
            .any(|(worker, _)| *worker != fault.worker && !shared.avoided.contains(*worker, now))
    };
    let until = now + shared.options.lease_ttl / 2;
    while !other() {
        if shared.parts.env.now() >= until {
            return false;
        }
        shared.parts.env.sleep(LOOK_EVERY).await;
    }
    true
}

/// Hands the claim back. It is void by now if its input was made again.
async fn give_up(shared: &Shared, claim: &ClaimedSlices) -> bool {
    let mut wait = Duration::from_millis(10);
    while let Err(error) = shared.parts.queue.hand_back(claim, claim.slices.clone()).await {
        if error.kind() != Kind::Retry || claim.check().is_err() {
            break;
        }
        shared.parts.env.sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_avoided_longer_each_time_and_forgiven_in_the_end() {
        let (avoided, worker) = (Avoided::default(), ProcessId::from_u128(1));
        let at = Duration::from_secs;
        assert!(!avoided.contains(worker, at(0)));
        avoided.add(worker, at(0));
        assert!(avoided.contains(worker, at(1)) && !avoided.contains(worker, at(2)));
        avoided.add(worker, at(2));
        assert!(avoided.contains(worker, at(5)) && !avoided.contains(worker, at(6)));
        avoided.add(worker, at(100));
        assert!(!avoided.contains(worker, at(102)), "long ago does not count");
    }
}
