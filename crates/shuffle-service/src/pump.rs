//! What moves partitions out of memory: it starts a write wherever a disk has a slot free, as long
//! as there is a reason to, and waits for none of them. So one disk that hangs keeps the partitions
//! that lie on it, and all others go on.
//!
//! There is no task that drives it. Whoever changes something has it look again: a push over the
//! memory mark, a push that waits, and each write at its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Error, Result};
use futures::{StreamExt, stream};

use crate::core::Core;
use crate::extent::Target;
use crate::health::DiskState;
use crate::partition::Partition;

/// A write that takes longer than this is not counted as memory that will soon be free.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever waits for something that the pump moves looks again after this, also unwoken.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Partitions that [`Core::flush_all`] moves at once, if the disks have slots for them.
const AT_ONCE: usize = 64;

/// What the pump knows: one lock, taken before any other.
#[derive(Default)]
pub(crate) struct Flights {
    /// Memory is short, until it is below its target.
    pressing: bool,
    /// Partitions that are to be flushed whatever memory says.
    wanted: VecDeque<Arc<Partition>>,
    flying: Vec<Flight>,
    number: u64,
}

/// A write under way.
struct Flight {
    number: u64,
    to: Target,
    bytes: u64,
    since: Duration,
}

/// What came of the wish to flush a partition.
pub(crate) enum Launch {
    /// There is nothing to move, or it is being moved.
    Idle,
    /// All that could take it have enough to do.
    Busy,
    /// Nothing takes it.
    Refused(Error),
    /// The task ends with the bytes of memory that were freed.
    Started(Task<Result<u64>>),
}

impl Flights {
    /// Extents to come are younger than this.
    pub(crate) fn go_on_from(&mut self, born: u64) {
        self.number = self.number.max(born);
    }

    /// Writes under way there.
    pub(crate) fn on(&self, to: Target) -> usize {
        self.flying.iter().filter(|flight| flight.to == to).count()
    }

    /// Those of them that take too long.
    pub(crate) fn stuck_on(&self, to: Target, now: Duration) -> usize {
        let on = self.flying.iter().filter(|flight| flight.to == to);
        on.filter(|flight| now.saturating_sub(flight.since) >= PATIENCE).count()
    }

    /// Bytes that will leave memory soon.
    fn leaving(&self, now: Duration) -> u64 {
        let soon = self.flying.iter().filter(|f| now.saturating_sub(f.since) < PATIENCE);
        soon.map(|flight| flight.bytes).sum()
    }
}

impl Core {
    /// Starts what can be started. `pressed` says that memory is short.
    pub(crate) fn pump(self: &Arc<Self>, pressed: bool) {
        let flights = &mut *self.flights.lock();
        flights.pressing |= pressed;
        self.launch_wanted(flights);
        while flights.pressing {
            if !self.memory.over_target(flights.leaving(self.env.now())) {
                flights.pressing = !flights.flying.is_empty();
                break;
            }
            if !self.launch_largest(flights) {
                flights.pressing &= !flights.flying.is_empty();
                break;
            }
        }
    }

    /// Has a partition flushed soon, whatever memory says.
    pub(crate) fn want_flush(self: &Arc<Self>, partition: &Arc<Partition>) {
        let flights = &mut *self.flights.lock();
        if !flights.wanted.iter().any(|one| Arc::ptr_eq(one, partition)) {
            flights.wanted.push_back(Arc::clone(partition));
        }
        self.launch_wanted(flights);
    }

    /// A write has ended, or room was made: wakes all who wait for that.
    pub(crate) fn wake(&self) {
        self.memory.freed.notify_waiters();
        self.landed.notify_waiters();
    }

    fn launch_wanted(self: &Arc<Self>, flights: &mut Flights) {
        for _ in 0..flights.wanted.len() {
            if !self.has_slot(flights) {
                return;
            }
            let Some(partition) = flights.wanted.pop_front() else { return };
            if matches!(self.launch(flights, &partition), Launch::Busy) {
                flights.wanted.push_back(partition);
            }
        }
    }

    /// Starts writes of the largest partitions until enough memory is on its way out. False if none
    /// could be started.
    fn launch_largest(self: &Arc<Self>, flights: &mut Flights) -> bool {
        let mut started = false;
        if !self.has_slot(flights) {
            return false;
        }
        for partition in self.registry.largest() {
            if !matches!(self.launch(flights, &partition), Launch::Started(_)) {
                continue;
            }
            started = true;
            let enough = !self.memory.over_target(flights.leaving(self.env.now()));
            if enough || !self.has_slot(flights) {
                break;
            }
        }
        started
    }

    fn has_slot(&self, flights: &Flights) -> bool {
        self.targets().any(|to| flights.on(to) < self.slots(to))
    }

    /// Starts the write of one partition if it can be done now.
    pub(crate) fn launch(
        self: &Arc<Self>,
        flights: &mut Flights,
        partition: &Arc<Partition>,
    ) -> Launch {
        let isolated = |to| match to {
            Target::Disk(disk) => self.disks[disk].state(self.env.now()) == DiskState::Isolated,
            Target::Objects => false,
        };
        if !partition.can_flush(isolated) {
            return Launch::Idle;
        }
        let (to, aim, most) = match self.aim(flights, partition) {
            Ok(Some(found)) => found,
            Ok(None) => return Launch::Busy,
            Err(error) => return Launch::Refused(error),
        };
        flights.number += 1;
        let number = flights.number;
        let Some(flush) = partition.begin_flush(to, aim, most, number) else { return Launch::Idle };
        let bytes = flush.length();
        if let Target::Disk(disk) = to {
            if bytes > self.room(disk) {
                // One block that is larger than what is left: the next look goes elsewhere.
                let _ = partition.end_flush(flush.ticket, Err(None), &self.memory);
                self.too_full(disk, bytes);
                return self.launch(flights, partition);
            }
            self.disks[disk].begin(bytes);
        }
        self.places.lock().entry(partition.shuffle().query).or_default().insert(to);
        flights.flying.push(Flight { number, to, bytes, since: self.env.now() });
        let (core, partition) = (Arc::clone(self), Arc::clone(partition));
        Launch::Started(self.env.spawn("shuffle-flush", async move {
            // Made here: a runtime that ends drops what it is given at once, and this takes the lock
            // of the pump at its end.
            let landing = Landing { core: Arc::clone(&core), number, to, bytes };
            let outcome = core.carry(&partition, flush).await;
            drop(landing);
            if partition.has_piece(core.options.flush_bytes.0) {
                core.want_flush(&partition);
            }
            core.pump(false);
            outcome
        }))
    }

    /// Moves everything that is in memory now out of it, as far as it is taken.
    pub(crate) async fn flush_all(self: &Arc<Self>) -> Result<()> {
        if !self.has_tiers() {
            return Ok(());
        }
        let all = stream::iter(self.registry.largest());
        let flushed = all.map(|partition| async move { self.flush_whole(&partition).await });
        let outcomes: Vec<_> = flushed.buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    /// A partition that is being written already is left to whoever writes it.
    async fn flush_whole(self: &Arc<Self>, partition: &Arc<Partition>) -> Result<()> {
        loop {
            let landed = self.landed.notified();
            let launch = self.launch(&mut self.flights.lock(), partition);
            match launch {
                Launch::Idle => return Ok(()),
                Launch::Refused(error) => return Err(error),
                Launch::Busy => {
                    let _ = self.env.timeout(LOOK_AGAIN, landed).await;
                }
                Launch::Started(task) => match task.join().await {
                    Ok(Ok(_)) => {}
                    // Another disk may take it; one that fails for good says so itself.
                    Ok(Err(error)) => match self.trouble() {
                        Some(_) => return Err(error),
                        None => continue,
                    },
                    Err(panic) => return Err(Error::bug(format!("flush: {panic}"))),
                },
            }
        }
    }
}

/// A write under way, for the pump: its end, however it comes, frees the slot and wakes who waits.
struct Landing {
    core: Arc<Core>,
    number: u64,
    to: Target,
    bytes: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Target::Disk(disk) = self.to {
            self.core.disks[disk].end(self.bytes);
        }
        self.core.flights.lock().flying.retain(|flight| flight.number != self.number);
        self.core.wake();
    }
}
