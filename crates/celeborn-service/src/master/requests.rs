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
use super::crew::Standing;
use super::slots::{Candidate, Offer, Slot, Wish, offer, weight};
use crate::auth::Caller;
use crate::control::Endpoint;
use crate::fleet::Worker;
use crate::records::App;

/// A mount point says nothing here: the core chooses disks itself.
const MOUNT_POINT: &str = "/";

/// Applications of which a master knows when it heard them last.
const HEARD_MAX: usize = 10_000;

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
                self.heard(&asked.app_id);
                tracing::info!(app = asked.app_id, "a Celeborn application registers");
                Ok(Message::OneWayMessageResponse)
            }
            Message::HeartbeatFromApplication(beat) => self.heartbeat(*beat, proved).await,
            Message::CheckWorkersAvailable(_) => {
                let available = self.crew().await?.iter().any(Standing::takes_slots);
                Ok(pb::CheckWorkersAvailableResponse { available }.into())
            }
            Message::CheckQuota(_) => Ok(quota().into()),
            Message::RequestSlots(asked) => {
                let start = self.env.now();
                let answer = self.request_slots(&asked, proved).await;
                let now = self.env.now();
                self.offers.record(now.saturating_sub(start), now);
                answer
            }
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
            Message::ReviseLostShuffles(asked) => self.revise(&asked, proved).await,
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

/// The tags that a worker must have, all of them: separated by commas.
fn tags(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

impl Desk {
    /// The workers that may get something of a shuffle.
    async fn eligible(&self, asked: &pb::RequestSlots) -> Result<Vec<Worker>> {
        let excluded =
            |worker: &Worker| asked.excluded_worker_set.iter().any(|info| worker.is(info));
        let wanted: Vec<&str> = tags(&asked.tags_expr).collect();
        let has = |worker: &Worker, tag: &&str| worker.tags.iter().any(|one| one == tag);
        let workers = self.crew().await?.into_iter().filter(Standing::takes_slots);
        let mut workers: Vec<Worker> = workers.map(|standing| standing.worker).collect();
        workers.retain(|one| !excluded(one) && wanted.iter().all(|tag| has(one, tag)));
        Ok(workers)
    }

    async fn request_slots(
        &self,
        asked: &pb::RequestSlots,
        proved: Option<Key>,
    ) -> Result<Message> {
        let workers = self.eligible(asked).await?;
        let candidate = |(index, worker): (usize, &Worker)| Candidate {
            host: worker.id.host.to_string(),
            rack: worker.rack.clone(),
            index,
            weight: weight(worker.free, worker.pressure),
        };
        let candidates: Vec<_> = workers.iter().enumerate().map(candidate).collect();
        let wish = Wish {
            partitions: &asked.partition_id_list,
            copies: asked.should_replicate,
            racks: asked.should_rack_aware,
            workers_max: usize::try_from(asked.max_workers).unwrap_or(0),
            policy: self.policy,
            chance: self.env.random(),
        };
        let (app, shuffle) = (&asked.application_id, asked.shuffle_id);
        let Some(offer) = offer(&candidates, &wish) else {
            let (workers, tags) = (workers.len(), asked.tags_expr.as_str());
            tracing::warn!(app, shuffle, workers, tags, "too few workers for a shuffle");
            return Ok(no_slots(match workers {
                0 => StatusCode::WorkerExcluded,
                _ => StatusCode::SlotNotAvailable,
            }));
        };
        // Before the answer: who has slots is known, or its workers would remove what it pushes.
        match self.records.open((app, shuffle), &asked.hostname, proved).await {
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

    /// Those whose records went are known again, as long as somebody remembers them.
    async fn revise(&self, asked: &pb::ReviseLostShuffles, proved: Option<Key>) -> Result<Message> {
        let gone = self.records.revise(&asked.app_id, &asked.lost_shuffles, proved).await?;
        let message = match gone.is_empty() {
            true => String::new(),
            false => format!("shuffles {gone:?} of {} have ended", asked.app_id),
        };
        tracing::info!(app = asked.app_id, shuffles = ?asked.lost_shuffles, ?gone, "shuffles revised");
        Ok(pb::ReviseLostShufflesResponse { success: gone.is_empty(), message }.into())
    }

    /// An application has said something just now.
    pub(super) fn heard(&self, app: &str) {
        let mut heard = self.heard.lock();
        // Those that ended stay until somebody asks for the list: not without limit.
        if heard.len() >= HEARD_MAX && !heard.contains_key(app) {
            heard.clear();
        }
        heard.insert(app.to_owned(), self.env.unix_ms());
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
