//! Where the shuffle worker of a process keeps what leaves its memory: from options to limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{ByteCount, Env, ProcessId, Result};
use dunlin_metadata::blob::{Begun, ObjectPlace, open_objects};
use dunlin_queue::Estate;
use dunlin_shuffle_service::{ByIds, DiskOptions, ObjectOptions, Options, Tier};

use super::options::{EngineOptions, store_variables};

/// Storage of a process's shuffle worker.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Limits and places, but for memory and the object store. Without disks it is the scratch
    /// folder. Tiers that are not named are not used.
    pub limits: Options,
    /// URL of the object store, if it is a tier; `None`: that of the blobs.
    pub objects: Option<String>,
    /// Bytes on their way ([`Options::transit`]); `None`: its default for the memory.
    pub transit: Option<ByteCount>,
    /// How long a worker that is wished away waits for the queries whose data it has.
    pub drain_limit: Duration,
}

impl Default for StorageOptions {
    fn default() -> Self {
        let limits = Options { tiers: vec![Tier::Disks], ..Options::new(ByteCount(0)) };
        Self { limits, objects: None, transit: None, drain_limit: Duration::from_secs(900) }
    }
}

impl StorageOptions {
    fn has(&self, tier: Tier) -> bool {
        self.limits.tiers.contains(&tier)
    }
}

/// Opens the object store of the options, if it is a tier. `Invalid` names the setting if the URL
/// is none.
pub(super) async fn objects(options: &EngineOptions, env: &Env) -> Result<Option<ObjectPlace>> {
    if !options.storage.has(Tier::Objects) {
        return Ok(None);
    }
    let own = options.storage.objects.as_ref();
    let url = own.unwrap_or(&options.blobs);
    let opened = open_objects(url, &store_variables(), env.clone()).await;
    opened.map(Some).map_err(|e| match own {
        Some(_) => e.context("shuffle.objects"),
        None => e,
    })
}

/// The name of the object store as cards say it; empty unless a worker acknowledges blocks as being
/// there and other processes reach both.
pub(super) fn object_place(options: &EngineOptions) -> String {
    let storage = &options.storage;
    if !storage.has(Tier::Objects) || !storage.limits.sync_pushes || options.wire.is_none() {
        return String::new();
    }
    Estate::place(storage.objects.as_ref().unwrap_or(&options.blobs))
}

/// Where gateways of this process look for what dead workers left: in the store of the options, also if
/// it is no tier here, since workers are other processes.
pub(super) async fn leftovers(
    options: &EngineOptions,
    objects: Option<&ObjectPlace>,
    env: &Env,
) -> Result<Option<ObjectPlace>> {
    let url = options.storage.objects.as_ref().unwrap_or(&options.blobs);
    match objects {
        Some(objects) => Ok(Some(objects.clone())),
        // A memory of its own holds nothing.
        None if !options.gateway || url == "memory:" => Ok(None),
        None => open_objects(url, &store_variables(), env.clone()).await.map(Some),
    }
}

/// The limits of a worker that uses these places. The name of its objects is of this life only.
pub(super) fn limits(
    options: &EngineOptions,
    objects: Option<&ObjectPlace>,
    (scratch, env): (&Path, &Env),
) -> Options {
    let storage = &options.storage;
    let mut limits = storage.limits.clone();
    limits.memory_limit = options.shuffle_memory;
    let usual = || Options::usual_transit(options.shuffle_memory);
    limits.transit = storage.transit.unwrap_or_else(usual);
    // Where writer and worker share the process, every read verifies.
    limits.verify_pushes = options.wire.is_some();
    match storage.has(Tier::Disks) {
        true if limits.disks.is_empty() => limits.disks = vec![DiskOptions::new(scratch)],
        true => {}
        false => limits.disks.clear(),
    }
    limits.objects = objects.map(|ObjectPlace { store, root, begun }| {
        let name = ProcessId::generate(env).to_string();
        let by_ids = match begun {
            Begun::Ids(uploads) => Some(ByIds(Arc::clone(uploads))),
            Begun::Nothing | Begun::Files(_) => None,
        };
        ObjectOptions { by_ids, ..ObjectOptions::new(Arc::clone(store), root.as_ref(), name) }
    });
    limits
}
