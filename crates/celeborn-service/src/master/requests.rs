//! What a master answers, message by message.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Error, Kind, Result};
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::{PartitionKey, WorkerId};
use dunlin_celeborn::location::{Copy, Location, pack};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::rpc::endpoint;
use dunlin_celeborn::sasl::Key;
use dunlin_celeborn::status::StatusCode;
use dunlin_celeborn::storage::{Available, StorageInfo, StorageType};

use super::Desk;
use super::slots::{Candidate, Offer, Slot, Wish, offer};
use crate::auth::Caller;
use crate::control::Endpoint;
use crate::fleet::Worker;
use crate::records::App;

/// A mount point says nothing here: the core chooses disks itself.
const MOUNT_POINT: &str = "/";

#[async_trait]
impl Endpoint for Desk {
    fn is(&self, name: &str) -> bool {
        name == endpoint::MASTER
    }

    async fn handle(&self, caller: &Caller, message: Message) -> Result<Message> {
        let proved = caller.key();
        if let (Some(key), Some(application)) = (proved, message.application()) {
            self.records.is_still(application, key).await?;
        }
        match message {
            Message::RegisterApplicationInfo(asked) => {
                let user = asked.user_identifier.unwrap_or_default();
                let about = App::about(user.tenant_id, user.name, asked.extra_info);
                self.records.beat(&asked.app_id, Some(&about), proved).await?;
                tracing::info!(app = asked.app_id, "a Celeborn application registers");
                Ok(Message::OneWayMessageResponse)
            }
            Message::HeartbeatFromApplication(beat) => self.heartbeat(*beat, proved).await,
            Message::CheckWorkersAvailable(_) => {
                let available = self.fleet.workers().iter().any(takes_slots);
                Ok(pb::CheckWorkersAvailableResponse { available }.into())
            }
            Message::CheckQuota(_) => Ok(quota().into()),
            Message::RequestSlots(asked) => self.request_slots(&asked, proved).await,
            Message::UnregisterShuffle(asked) => {
                self.records.close(&asked.app_id, asked.shuffle_id).await?;
                let (app, shuffle) = (&asked.app_id, asked.shuffle_id);
                tracing::info!(app, shuffle, "a Celeborn shuffle ends");
                Ok(pb::UnregisterShuffleResponse { status: StatusCode::Success.number() }.into())
            }
            Message::BatchUnregisterShuffles(asked) => {
                for shuffle in &asked.shuffle_ids {
                    self.records.close(&asked.app_id, *shuffle).await?;
                }
                let (status, shuffle_ids) = (StatusCode::Success.number(), asked.shuffle_ids);
                Ok(pb::BatchUnregisterShuffleResponse { status, shuffle_ids }.into())
            }
            Message::ApplicationLost(asked) => {
                self.records.end(&asked.app_id).await?;
                tracing::info!(app = asked.app_id, "a Celeborn application ends");
                Ok(pb::ApplicationLostResponse { status: StatusCode::Success.number() }.into())
            }
            Message::ReviseLostShuffles(asked) => self.revise(&asked).await,
            Message::RegisterWorker(_) | Message::HeartbeatFromWorker(_) => {
                Err(Error::invalid("a worker of Celeborn cannot join")
                    .with_hint("run workers of Dunlin: `dunlin serve --roles celeborn-worker`"))
            }
            other => {
                let kind = other.kind().name();
                Err(Error::invalid(format!("a master does not answer {kind}")))
            }
        }
    }
}

/// Nobody has a quota.
pub(super) fn quota() -> pb::CheckQuotaResponse {
    pb::CheckQuotaResponse { available: true, reason: String::new() }
}

/// Whether a worker may be given partitions.
pub(super) fn takes_slots(worker: &Worker) -> bool {
    worker.takes && !worker.going
}

impl Desk {
    async fn request_slots(
        &self,
        asked: &pb::RequestSlots,
        proved: Option<Key>,
    ) -> Result<Message> {
        let excluded =
            |worker: &Worker| asked.excluded_worker_set.iter().any(|info| worker.is(info));
        let mut workers = self.fleet.workers();
        workers.retain(|worker| takes_slots(worker) && !excluded(worker));
        let candidate = |(index, worker): (usize, &Worker)| Candidate {
            host: worker.id.host.to_string(),
            rack: worker.rack.clone(),
            index,
        };
        let candidates: Vec<_> = workers.iter().enumerate().map(candidate).collect();
        let wish = Wish {
            partitions: &asked.partition_id_list,
            copies: asked.should_replicate,
            racks: asked.should_rack_aware,
            workers_max: usize::try_from(asked.max_workers).unwrap_or(0),
            chance: self.env.random(),
        };
        let (app, shuffle) = (&asked.application_id, asked.shuffle_id);
        let Some(offer) = offer(&candidates, &wish) else {
            tracing::warn!(app, shuffle, workers = workers.len(), "too few workers for a shuffle");
            return Ok(no_slots(StatusCode::SlotNotAvailable));
        };
        // Before the answer: who has slots is known, or its workers would remove what it pushes.
        match self.records.open(app, shuffle, proved).await {
            Ok(query) => tracing::info!(
                app, shuffle, %query, partitions = offer.slots.len(), "a Celeborn shuffle begins"
            ),
            Err(error) if error.kind() == Kind::Invalid => return Err(error),
            Err(error) => {
                tracing::warn!(app, shuffle, %error, "a shuffle cannot be registered");
                return Ok(no_slots(StatusCode::RequestFailed));
            }
        }
        Ok(given(asked, &workers, offer).into())
    }

    /// Their records are durable: one that is gone was ended, and so were its data.
    async fn revise(&self, asked: &pb::ReviseLostShuffles) -> Result<Message> {
        let known = self.records.shuffles(&asked.app_id).await?;
        let gone: Vec<_> = asked.lost_shuffles.iter().filter(|id| !known.contains(id)).collect();
        let message = match gone.is_empty() {
            true => String::new(),
            false => format!("shuffles {gone:?} of {} have ended", asked.app_id),
        };
        Ok(pb::ReviseLostShufflesResponse { success: gone.is_empty(), message }.into())
    }
}

fn no_slots(status: StatusCode) -> Message {
    pb::RequestSlotsResponse { status: status.number(), ..Default::default() }.into()
}

/// The offer, by worker, in the form that the driver asks for.
fn given(asked: &pb::RequestSlots, workers: &[Worker], offer: Offer) -> pb::RequestSlotsResponse {
    let places: Vec<_> = workers.iter().map(|worker| place(worker, asked)).collect();
    let mut of_workers: BTreeMap<usize, Vec<Location>> = BTreeMap::new();
    for Slot { partition, primary, replica } in offer.slots {
        let copy = |at: usize, mode| {
            let (worker, storage) = places[at].clone();
            let partition = PartitionKey { id: partition, epoch: 0 };
            Copy { partition, mode, worker, storage, maps: Bytes::new() }
        };
        let first = copy(primary, Mode::Primary);
        let second = replica.map(|at| (at, copy(at, Mode::Replica)));
        if let Some((at, second)) = &second {
            let location = Location { copy: second.clone(), peer: Some(first.clone()) };
            of_workers.entry(*at).or_default().push(location);
        }
        let location = Location { copy: first, peer: second.map(|(_, second)| second) };
        of_workers.entry(primary).or_default().push(location);
    }
    for at in offer.extra {
        of_workers.entry(at).or_default();
    }
    let mut response = pb::RequestSlotsResponse {
        status: StatusCode::Success.number(),
        ..pb::RequestSlotsResponse::default()
    };
    for (at, locations) in of_workers {
        let (name, rack) = (workers[at].id.to_string(), workers[at].rack.clone());
        if asked.packed {
            let location_pairs = Some(pack(&locations));
            let packed = pb::PackedWorkerResource { location_pairs, network_location: rack };
            response.packed_worker_resource.insert(name, packed);
            continue;
        }
        let (primaries, replicas): (Vec<_>, Vec<_>) =
            locations.iter().partition(|location| location.copy.mode == Mode::Primary);
        let resource = pb::WorkerResource {
            primary_partitions: primaries.into_iter().map(Into::into).collect(),
            replica_partitions: replicas.into_iter().map(Into::into).collect(),
            network_location: rack,
        };
        response.worker_resource.insert(name, resource);
    }
    response
}

/// What all locations on a worker have alike.
fn place(worker: &Worker, asked: &pb::RequestSlots) -> (Arc<WorkerId>, Arc<StorageInfo>) {
    let kind = worker.disks.first().and_then(|disk| StorageType::of_number(disk.storage_type));
    let storage = StorageInfo {
        kind: kind.unwrap_or(StorageType::Hdd),
        mount_point: MOUNT_POINT.into(),
        available: Available(asked.available_storage_types),
        ..StorageInfo::default()
    };
    (Arc::new(worker.id.clone()), Arc::new(storage))
}
