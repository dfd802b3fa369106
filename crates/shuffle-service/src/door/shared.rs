//! What the connections of a door share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::env::Task;
use dunlin_base::{Env, Error, ProcessId, Result};
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_proto::wire::{Limits, Terms};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};

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
    /// As much of it as pushes may take that wait for another worker. Their copies need room there,
    /// and those of that worker's pushes need room here: there is always some left for these.
    room_with_peer: Arc<Semaphore>,
}

/// Room that one pushed frame has taken, given back when it is dropped.
pub(super) struct Room {
    shared: Arc<Shared>,
    bytes: u64,
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Shared {
    pub(super) fn new(env: Env, api: Arc<dyn ShuffleApi>, options: DoorOptions) -> Self {
        let room = permits(options.door_bytes_max.as_usize());
        let with_peer = (room / 4 * 3).max(1);
        Self {
            env,
            api,
            lives: RwLock::default(),
            options,
            counters: Counters::default(),
            closing: watch::Sender::new(false),
            connections: Mutex::default(),
            room: Arc::new(Semaphore::new(room)),
            room_with_peer: Arc::new(Semaphore::new(with_peer)),
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
    /// `names_peer`: another worker is to store them, too. `say` is called while it waits. `Exhausted`
    /// if none is free in time.
    pub(super) async fn room(
        self: &Arc<Self>,
        bytes: usize,
        names_peer: bool,
        say: impl Fn(),
    ) -> Result<Room> {
        let all = permits(self.options.door_bytes_max.as_usize());
        let take = |room: &Arc<Semaphore>, all: usize| {
            let count = u32::try_from(permits(bytes).min(all)).unwrap_or(u32::MAX);
            Arc::clone(room).acquire_many_owned(count)
        };
        let both = async {
            let with_peer = match names_peer {
                true => Some(take(&self.room_with_peer, (all / 4 * 3).max(1)).await?),
                false => None,
            };
            let permit = take(&self.room, all).await?;
            Ok::<_, AcquireError>([with_peer, Some(permit)])
        };
        let limit = self.options.room_wait;
        let wait = self.env.timeout(limit, both);
        let permits = self.counters.pauses.during(&self.env, say, wait).await;
        let permits = permits.and_then(Result::ok);
        let Some(permits) = permits else {
            let (limit, max) = (limit.as_secs(), self.options.door_bytes_max);
            let text = format!("no room for a push within {limit} s: {max} are in flight");
            return Err(Error::exhausted(text));
        };
        self.counters.bytes_held.fetch_add(bytes as u64, Relaxed);
        Ok(Room { shared: Arc::clone(self), bytes: bytes as u64, _permits: permits })
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
