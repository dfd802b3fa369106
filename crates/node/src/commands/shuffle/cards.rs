//! `dunlin shuffle ls` and `disks`: what the workers' cards say.

use dunlin_base::Result;
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{DiskClass, DiskState, ShuffleDisk, ShuffleStorage};
use dunlin_queue::{Peer, Role};

use super::listing::{Field, Listing};

/// A line for each worker.
pub(super) async fn workers(store: &StoreRef) -> Result<Listing> {
    let mut listing = Listing::new(&[
        "worker",
        "address",
        "state",
        "memory_used",
        "memory_limit",
        "disks",
        "good_disks",
        "disk_used",
        "objects",
        "shuffles",
    ]);
    for Peer { id, card, .. } in Peer::all(store, Role::Shuffle).await? {
        let storage = card.shuffle.as_ref();
        let usual = ShuffleStorage::default();
        let told = storage.unwrap_or(&usual);
        let good = told.disks.iter().filter(|disk| disk.state() == DiskState::Good).count();
        let objects = if told.objects { "yes" } else { "no" };
        listing.add([
            Field::Text(id.to_string()),
            Field::Text(card.address.clone()),
            Field::Text(state(storage).to_owned()),
            Field::Bytes(told.memory_used),
            Field::Bytes(told.memory_limit),
            Field::Number(told.disks.len() as u64),
            Field::Number(good as u64),
            Field::Bytes(told.disks.iter().map(|disk| disk.used).sum()),
            Field::Text(objects.to_owned()),
            Field::Number(told.shuffles),
        ]);
    }
    Ok(listing)
}

fn state(storage: Option<&ShuffleStorage>) -> &'static str {
    match storage {
        Some(storage) if storage.draining => "draining",
        Some(_) => "up",
        // Of a build that does not say.
        None => "unknown",
    }
}

/// A line for each disk.
pub(super) async fn disks(store: &StoreRef) -> Result<Listing> {
    let mut listing = Listing::new(&[
        "worker", "address", "path", "class", "state", "used", "room", "free", "speed",
    ]);
    for Peer { id, card, .. } in Peer::all(store, Role::Shuffle).await? {
        for disk in card.shuffle.iter().flat_map(|storage| &storage.disks) {
            listing.add([
                Field::Text(id.to_string()),
                Field::Text(card.address.clone()),
                Field::Text(disk.path.clone()),
                Field::Text(class(disk).to_owned()),
                Field::Text(disk_state(disk).to_owned()),
                Field::Bytes(disk.used),
                Field::Bytes(disk.room),
                Field::Bytes(disk.free),
                Field::Bytes(disk.speed),
            ]);
        }
    }
    Ok(listing)
}

fn class(disk: &ShuffleDisk) -> &'static str {
    match disk.class() {
        DiskClass::Ssd => "ssd",
        DiskClass::Hdd => "hdd",
    }
}

fn disk_state(disk: &ShuffleDisk) -> &'static str {
    match disk.state() {
        DiskState::Good => "good",
        DiskState::Full => "full",
        DiskState::Isolated => "isolated",
    }
}
