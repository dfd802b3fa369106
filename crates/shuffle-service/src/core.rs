//! What the calls of a worker share: registry, memory budget, disks, counters. Its other halves are
//! in `pump` (which partitions leave memory when), `aim` (to where) and `carry` (how).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dunlin_base::{ByteCount, Env, Error, QueryId, Result};
use dunlin_proto::shuffle::{Hear, Wait};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::disk::Disk;
use crate::evict::Evictions;
use crate::extent::Target;
use crate::memory::{Memory, Reservation};
use crate::objects::Objects;
use crate::options::{DiskOptions, Options};
use crate::pump::{Flights, LOOK_AGAIN};
use crate::registry::Registry;
use crate::stats::{Counters, DiskStats, ObjectStats, Stats};
use crate::transit::Transit;
use crate::unit::Unit;

/// The shared state.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) registry: Registry,
    pub(crate) memory: Memory,
    pub(crate) transit: Transit,
    pub(crate) counters: Counters,
    pub(crate) disks: Vec<Arc<Unit>>,
    pub(crate) flights: Mutex<Flights>,
    /// Woken when a write has ended.
    pub(crate) landed: Notify,
    pub(crate) objects: Option<Objects>,
    /// Where a query may have files and objects: most short ones never have any.
    pub(crate) places: Mutex<BTreeMap<QueryId, BTreeSet<Target>>>,
    pub(crate) evictions: Evictions,
    /// The folders do not say under which process id data are acknowledged, though they should.
    pub(crate) unnamed: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        options: Options,
        disks: Vec<(DiskOptions, Arc<dyn Disk>)>,
        env: Env,
    ) -> Self {
        let transit = Transit::new(&options);
        let room = Arc::clone(&transit.uploads);
        let objects = options.objects.clone();
        let unit = |(options, disk)| Arc::new(Unit::new(disk, options));
        Self {
            registry: Registry::new(options.tombstones),
            memory: Memory::new(
                options.memory_limit.0,
                options.memory_mark_percent,
                options.bodies_mark.0,
            ),
            transit,
            counters: Counters::default(),
            disks: disks.into_iter().map(unit).collect(),
            flights: Mutex::default(),
            landed: Notify::new(),
            objects: objects.map(|options| Objects::new(options, env.clone(), room)),
            places: Mutex::default(),
            evictions: Evictions::default(),
            unnamed: AtomicBool::new(false),
            options,
            env,
        }
    }

    /// Memory for what is no push. Waits for the pump if need be; `Exhausted` when that is hopeless.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation<'_>> {
        self.reserve_while(bytes, || Ok(())).await
    }

    /// Memory for a push, likewise. A wait is counted, and `hear` is told of it. A push that may not come
    /// in any more (`may_come`) waits no longer: its error.
    pub(crate) async fn reserve_for_push(
        self: &Arc<Self>,
        bytes: u64,
        may_come: impl Fn() -> Result<()>,
        hear: Option<&Arc<dyn Hear>>,
    ) -> Result<Reservation<'_>> {
        let say = || hear.into_iter().for_each(|hear| hear.waits(Wait::Memory));
        let wait = self.reserve_while(bytes, may_come);
        self.counters.pauses.during(&self.env, say, wait).await
    }

    async fn reserve_while(
        self: &Arc<Self>,
        bytes: u64,
        may_come: impl Fn() -> Result<()>,
    ) -> Result<Reservation<'_>> {
        if let Some(reserved) = self.memory.try_reserve(bytes) {
            return Ok(reserved);
        }
        if bytes > self.memory.limit {
            return Err(self.refuse(format!("a push of {} is larger than it", ByteCount(bytes))));
        }
        let limit = self.options.push_wait;
        let waited = self.env.timeout(limit, self.wait_for_memory(bytes, may_come)).await;
        let late = || format!("none was freed within {} s", limit.as_secs());
        waited.unwrap_or_else(|| Err(self.refuse(late())))
    }

    async fn wait_for_memory(
        self: &Arc<Self>,
        bytes: u64,
        may_come: impl Fn() -> Result<()>,
    ) -> Result<Reservation<'_>> {
        let _want = self.memory.want(bytes);
        loop {
            let mut freed = std::pin::pin!(self.memory.freed.notified());
            // Registered before the look, so that what is freed after it is not missed.
            freed.as_mut().enable();
            may_come()?;
            if let Some(reserved) = self.memory.try_reserve(bytes) {
                return Ok(reserved);
            }
            if !self.has_tiers() {
                return Err(self.refuse("it has no directory to write to".to_owned()));
            }
            if let Some(error) = self.trouble() {
                return Err(error);
            }
            self.pump(true);
            // Also unwoken: a write that hangs makes others due, and a disk may come back.
            let _ = self.env.timeout(LOOK_AGAIN, freed).await;
        }
    }

    fn refuse(&self, why: String) -> Error {
        let limit = self.options.memory_limit;
        Error::exhausted(format!(
            "the memory limit of the shuffle worker ({limit}) is reached: {why}"
        ))
        .with_hint("raise the memory limit, or give the worker a directory with free space")
    }

    /// Has the pump look if memory is over the mark and something takes data.
    pub(crate) fn flush_if_needed(self: &Arc<Self>) {
        if self.memory.wants_flush() && self.has_tiers() && self.trouble().is_none() {
            self.pump(true);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let now = self.env.now();
        let flights = self.flights.lock();
        let under_way = |to| flights.on(to) as u64;
        let disk = |number: usize| {
            let stats = self.disks[number].stats(now);
            let queue = stats.queue + under_way(Target::Disk(number));
            DiskStats { room: self.room(number), queue, ..stats }
        };
        let disks: Vec<_> = (0..self.disks.len()).map(disk).collect();
        let objects = self.objects.as_ref().map(Objects::stats);
        let queue = under_way(Target::Objects);
        let objects = objects.map(|objects| ObjectStats { queue, ..objects });
        drop(flights);
        let disk_bytes = disks.iter().map(|disk| disk.used).sum();
        let shuffles = self.registry.ids().len() as u64;
        let transit = self.transit.stats();
        Stats {
            shuffles,
            disks,
            disk_bytes,
            objects,
            transit,
            ..self.counters.snapshot(self.memory.used())
        }
    }
}
