//! What the connections of a door share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::env::Task;
use dunlin_base::{Env, Error, ProcessId, Result};
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_proto::wire::{Limits, Terms};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::options::DoorOptions;
use super::stats::Counters;

/// Bytes for one permit of the room for bodies.
const PERMIT: usize = 1024;

pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) api: Arc<dyn ShuffleApi>,
    /// Who answers here: the ids of all lives of the worker.
    pub(super) lives: RwLock<BTreeSet<ProcessId>>,
    pub(super) options: DoorOptions,
    pub(super) counters: Counters,
    /// True once the door closes.
    pub(super) closing: watch::Sender<bool>,
    /// Tasks of the open connections. A connection removes itself at its end.
    pub(super) connections: Mutex<HashMap<u64, Option<Task<()>>>>,
    /// Room for the bodies of pushes, in units of [`PERMIT`].
    room: Arc<Semaphore>,
}

/// Room that one pushed frame has taken, given back when it is dropped.
pub(super) struct Room {
    shared: Arc<Shared>,
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Shared {
    pub(super) fn new(env: Env, api: Arc<dyn ShuffleApi>, options: DoorOptions) -> Self {
        let room = permits(options.door_bytes_max.as_usize());
        Self {
            env,
            api,
            lives: RwLock::default(),
            options,
            counters: Counters::default(),
            closing: watch::Sender::new(false),
            connections: Mutex::default(),
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// What a client of one connection has to keep.
    pub(super) fn terms(&self) -> Terms {
        let DoorOptions { calls_max, reads_max, .. } = self.options;
        let bytes_max = self.options.connection_bytes_max.0;
        let body_max = self.options.body_max.0;
        Terms { calls_max, reads_max, bytes_max, body_max, reads_many: self.options.reads_many }
    }

    /// The size of frames once both sides know each other.
    pub(super) fn limits(&self) -> Limits {
        Limits::with_bodies(self.options.body_max)
    }

    /// Room for the bodies of a frame; one that is larger than all room takes all of it.
    /// `Exhausted` if none is free in time.
    pub(super) async fn room(self: &Arc<Self>, bytes: usize) -> Result<Room> {
        let most = permits(self.options.door_bytes_max.as_usize());
        let count = u32::try_from(permits(bytes).min(most)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(count);
        let limit = self.options.room_wait;
        let permit = self.env.timeout(limit, room).await.and_then(|permit| permit.ok());
        let Some(permit) = permit else {
            let (limit, max) = (limit.as_secs(), self.options.door_bytes_max);
            let text = format!("no room for a push within {limit} s: {max} are in flight");
            return Err(Error::exhausted(text));
        };
        self.counters.bytes_held.fetch_add(bytes as u64, Relaxed);
        Ok(Room { shared: Arc::clone(self), bytes: bytes as u64, _permit: permit })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.counters.bytes_held.fetch_sub(self.bytes, Relaxed);
    }
}

fn permits(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT).clamp(1, Semaphore::MAX_PERMITS)
}
