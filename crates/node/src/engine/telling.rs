//! What a shuffle worker's card says of its storage, kept current while the worker lives.
//!
//! The one thing to know: each card goes to every process that watches them, so it is written when
//! something has changed that a writer or a person would act on, and seldom otherwise.

use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::{Env, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{Card, DiskClass, DiskState, ShuffleDisk, ShuffleStorage};
use dunlin_queue::{Peer, Role, Seat};
use dunlin_shuffle_service::{self as service, DiskStats, ShuffleWorker};
use parking_lot::Mutex;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A card is not written again before this.
const NEWS_MIN: Duration = Duration::from_secs(3);

/// Small changes are told after this.
const STALE_MAX: Duration = Duration::from_secs(30);

/// How often it is tried to leave to a worker that stays: each look may find it gone.
const TRIES: u32 = 5;

/// A worker, its card, and what of it does not change by itself.
pub(super) struct Teller {
    pub(super) seat: Arc<Seat>,
    pub(super) worker: Arc<ShuffleWorker>,
    pub(super) memory_limit: u64,
    pub(super) place: ObjectsAt,
    pub(super) admin: Mutex<String>,
    pub(super) draining: AtomicBool,
}

/// Where a worker's objects are.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectsAt {
    /// The folder, if there is an object store.
    pub(super) folder: Option<String>,
    /// The name of the store; empty: nobody is to adopt what lies there.
    pub(super) store: String,
}

impl Teller {
    fn storage(&self) -> ShuffleStorage {
        let first = first_words(&self.worker, self.memory_limit, &self.place);
        ShuffleStorage {
            draining: self.draining.load(Acquire),
            admin: self.admin.lock().clone(),
            ..first
        }
    }

    /// Has the card say what is so now. Errors are those of [`Seat::say`]; it is told later, then.
    pub(super) async fn tell(&self) -> Result<bool> {
        let change = |card: &mut Card| {
            let storage = self.storage();
            // All that was adopted has gone with its queries.
            if storage.object_folders.len() <= 1 {
                card.adopted.clear();
            }
            card.shuffle = Some(storage);
        };
        self.seat.say(change, None).await
    }

    /// Says that the worker is to go, then has it refuse pushes. `unless_last`: if another worker
    /// stays; false says that none does, and then nothing has changed. When the card could not be
    /// written pushes are refused all the same, and later cards say it.
    pub(super) async fn drain(&self, store: &StoreRef, unless_last: bool) -> Result<bool> {
        for _ in 0..TRIES {
            let own = self.seat.member().id();
            let others = Peer::all(store, Role::Shuffle).await?;
            let other = others.iter().find(|peer| peer.id != own && stays(peer));
            if unless_last && other.is_none() {
                return Ok(false);
            }
            let other = other.filter(|_| unless_last);
            let before = self.draining.swap(true, AcqRel);
            let told = self.seat.say(|card| card.shuffle = Some(self.storage()), other).await;
            match told {
                Ok(false) => self.draining.store(before, std::sync::atomic::Ordering::Release),
                Ok(true) | Err(_) => {
                    self.worker.drain();
                    return told;
                }
            }
        }
        Ok(false)
    }

    /// It stays after all: takes pushes again, then says so.
    pub(super) async fn stay(&self) -> Result<bool> {
        self.worker.resume();
        self.draining.store(false, std::sync::atomic::Ordering::Release);
        self.tell().await
    }
}

/// Whether a worker takes data and is not about to go.
pub(crate) fn stays(peer: &Peer) -> bool {
    !peer.card.shuffle.as_ref().is_some_and(|storage| storage.draining)
}

/// What a worker says before anybody has told it anything.
pub(super) fn first_words(
    worker: &ShuffleWorker,
    memory_limit: u64,
    place: &ObjectsAt,
) -> ShuffleStorage {
    let stats = worker.stats();
    let former = stats.objects.iter().flat_map(|objects| objects.former.iter().cloned());
    let object_folders = place.folder.iter().cloned().chain(former).collect();
    ShuffleStorage {
        draining: false,
        memory_limit,
        memory_used: stats.memory_bytes,
        disks: stats.disks.iter().map(disk).collect(),
        objects: stats.objects.is_some_and(|objects| !objects.resting),
        object_folders,
        admin: String::new(),
        shuffles: stats.shuffles,
        object_place: place.store.clone(),
        object_folder: place.folder.clone().unwrap_or_default(),
    }
}

fn disk(disk: &DiskStats) -> ShuffleDisk {
    let class = match disk.class {
        service::Class::Ssd => DiskClass::Ssd,
        service::Class::Hdd => DiskClass::Hdd,
    };
    let state = match disk.state {
        service::DiskState::Good => DiskState::Good,
        service::DiskState::Full => DiskState::Full,
        service::DiskState::Isolated => DiskState::Isolated,
    };
    ShuffleDisk {
        path: disk.path.display().to_string(),
        class: class.into(),
        state: state.into(),
        free: disk.free,
        room: disk.room,
        used: disk.used,
        speed: disk.speed,
    }
}

/// Keeps the card current until the teller is gone. `told`: what it says at the beginning.
pub(super) async fn tell_for_ever(teller: Weak<Teller>, mut told: ShuffleStorage, env: Env) {
    let mut told_at = env.now();
    loop {
        env.sleep(LOOK).await;
        let Some(teller) = teller.upgrade() else { return };
        let (now, storage) = (env.now(), teller.storage());
        if !is_due(&told, &storage, now.saturating_sub(told_at)) {
            continue;
        }
        // What could not be told is told by the card of the next life, or after the next look.
        match teller.tell().await {
            Ok(_) => (told, told_at) = (storage, now),
            Err(error) => tracing::debug!(%error, "the card of the shuffle worker"),
        }
    }
}

/// Whether a card that was written so long ago is to be written again.
fn is_due(told: &ShuffleStorage, now: &ShuffleStorage, age: Duration) -> bool {
    (age >= NEWS_MIN && is_news(told, now)) || (age >= STALE_MAX && told != now)
}

/// Whether somebody would act otherwise.
fn is_news(told: &ShuffleStorage, now: &ShuffleStorage) -> bool {
    let tenth = now.memory_limit / 10;
    let near_full = |storage: &ShuffleStorage| storage.memory_used > storage.memory_limit / 10 * 9;
    told.draining != now.draining
        || (now.draining && (told.shuffles == 0) != (now.shuffles == 0))
        || told.objects != now.objects
        || told.admin != now.admin
        || told.object_folders != now.object_folders
        || told.disks.len() != now.disks.len()
        || told.memory_used.abs_diff(now.memory_used) > tenth
        || near_full(told) != near_full(now)
        || told.disks.iter().zip(&now.disks).any(|(told, now)| is_disk_news(told, now))
}

fn is_disk_news(told: &ShuffleDisk, now: &ShuffleDisk) -> bool {
    let moved = |a: u64, b: u64, part: u64| a.abs_diff(b) > (a.max(b) / part).max(16 << 20);
    told.state != now.state
        || (told.room == 0) != (now.room == 0)
        || moved(told.room, now.room, 8)
        || moved(told.free, now.free, 8)
        || moved(told.used, now.used, 8)
        || moved(told.speed, now.speed, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> ShuffleStorage {
        let disk = ShuffleDisk { free: 100 << 30, room: 90 << 30, ..ShuffleDisk::default() };
        ShuffleStorage { memory_limit: 1000, disks: vec![disk], ..ShuffleStorage::default() }
    }

    #[test]
    fn a_card_is_written_for_news_and_seldom_for_small_changes() {
        let told = storage();
        let due = |change: fn(&mut ShuffleStorage), seconds| {
            let mut now = storage();
            change(&mut now);
            is_due(&told, &now, Duration::from_secs(seconds))
        };
        assert!(!due(|_| {}, 3600), "nothing has changed");
        let small: [fn(&mut ShuffleStorage); 3] = [
            |now| now.memory_used = 50,
            |now| now.disks[0].room -= 1 << 30,
            |now| now.shuffles = 7,
        ];
        for change in small {
            assert!(!due(change, 29) && due(change, 30), "a small change");
        }
        let large: [fn(&mut ShuffleStorage); 6] = [
            |now| now.draining = true,
            |now| now.memory_used = 150,
            |now| now.disks[0].room = 0,
            |now| now.disks[0].set_state(DiskState::Isolated),
            |now| now.objects = true,
            |now| now.disks[0].used = 20 << 30,
        ];
        for change in large {
            assert!(!due(change, 2) && due(change, 3), "news");
        }
    }
}
