//! The bodies, field by field as Celeborn's OpenAPI has them. What is not known here is left out, as far
//! as it may be.

use std::collections::BTreeMap;

use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb::{self, WorkerEventType, WorkerState};
use dunlin_celeborn_service::WorkerOfFleet;
use serde::{Deserialize, Serialize};

/// The answer to what changes something, and the body of each refusal.
#[derive(Serialize)]
pub(super) struct Handled {
    pub(super) success: bool,
    pub(super) message: String,
}

#[derive(Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Serialize)]
pub(super) struct Conf {
    pub(super) configs: Vec<Named>,
}

/// A worker by its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Id {
    pub(super) host: String,
    rpc_port: u16,
    push_port: u16,
    fetch_port: u16,
    replicate_port: u16,
}

impl From<Id> for WorkerId {
    fn from(id: Id) -> Self {
        let Id { host, rpc_port, push_port, fetch_port, replicate_port } = id;
        Self { host: host.into(), rpc_port, push_port, fetch_port, replicate_port }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Exclude {
    pub(super) add: Option<Vec<Id>>,
    pub(super) remove: Option<Vec<Id>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendEvent {
    pub(super) event_type: String,
    pub(super) workers: Vec<Id>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Exit {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteApps {
    pub(super) apps: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfShuffles {
    pub(super) app_id: String,
    pub(super) shuffle_ids: Vec<i32>,
}

/// A worker as it is told.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkerData {
    pub(super) host: String,
    pub(super) rpc_port: u16,
    pub(super) push_port: u16,
    pub(super) fetch_port: u16,
    pub(super) replicate_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) internal_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slot_used: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) disk_infos: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker_state_start_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network_location: Option<String>,
}

impl From<&WorkerId> for WorkerData {
    fn from(id: &WorkerId) -> Self {
        let WorkerId { host, rpc_port, push_port, fetch_port, replicate_port } = id.clone();
        let host = host.to_string();
        Self { host, rpc_port, push_port, fetch_port, replicate_port, ..Self::default() }
    }
}

impl From<&WorkerOfFleet> for WorkerData {
    fn from(worker: &WorkerOfFleet) -> Self {
        let disk = |disk: &pb::DiskInfo| (disk.mount_point.clone(), disk_text(disk));
        Self {
            disk_infos: worker.disks.iter().map(disk).collect(),
            network_location: Some(worker.rack.clone()),
            ..Self::from(&worker.id)
        }
    }
}

/// A disk in words: upstream has a text there, too, and nobody reads more than its sizes.
fn disk_text(disk: &pb::DiskInfo) -> String {
    let kind = match disk.storage_type {
        1 => "HDD",
        2 => "SSD",
        _ => "OTHER",
    };
    let (mount, usable, total) = (&disk.mount_point, disk.usable_space, disk.total_space);
    format!(
        "mountPoint: {mount}, usableSpace: {usable} B, totalSpace: {total} B, storageType: {kind}"
    )
}

/// As Celeborn's masters write it.
pub(super) fn state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Normal => "Normal",
        WorkerState::Idle => "Idle",
        WorkerState::Exit => "Exit",
        WorkerState::InDecommissionThenIdle => "InDecommissionThenIdle",
        WorkerState::InDecommission => "InDecommission",
        WorkerState::InGraceful => "InGraceFul",
        WorkerState::InExit => "InExit",
    }
}

/// The same of what is wanted.
pub(super) fn event(event: WorkerEventType) -> &'static str {
    match event {
        WorkerEventType::None => "None",
        WorkerEventType::Immediately => "Immediately",
        WorkerEventType::Decommission => "Decommission",
        WorkerEventType::DecommissionThenIdle => "DecommissionThenIdle",
        WorkerEventType::Graceful => "Graceful",
        WorkerEventType::Recommission => "Recommission",
    }
}

/// What a request calls it, in whatever case.
pub(super) fn event_of(name: &str) -> Option<WorkerEventType> {
    use WorkerEventType::{Decommission, DecommissionThenIdle, Graceful};
    use WorkerEventType::{Immediately, None as Nothing, Recommission};
    let all = [Nothing, Immediately, Decommission, DecommissionThenIdle, Graceful, Recommission];
    all.into_iter().find(|one| event(*one).eq_ignore_ascii_case(name))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workers {
    pub(super) workers: Vec<WorkerData>,
    pub(super) lost_workers: Vec<WorkerAt>,
    pub(super) excluded_workers: Vec<WorkerData>,
    pub(super) manual_excluded_workers: Vec<WorkerData>,
    pub(super) shutdown_workers: Vec<WorkerData>,
    pub(super) decommissioning_workers: Vec<WorkerData>,
}

#[derive(Serialize)]
pub(super) struct WorkerAt {
    pub(super) worker: WorkerData,
    pub(super) timestamp: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventInfo {
    pub(super) event_type: &'static str,
    pub(super) event_time: u64,
}

#[derive(Serialize)]
pub(super) struct EventOf {
    pub(super) worker: WorkerData,
    pub(super) event: EventInfo,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Events {
    pub(super) worker_events: Vec<EventOf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rack {
    pub(super) network_location: String,
    pub(super) workers: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Topology {
    pub(super) topologies: Vec<Rack>,
}

#[derive(Serialize)]
pub(super) struct Applications<T> {
    pub(super) applications: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Heard {
    pub(super) app_id: String,
    pub(super) last_heartbeat_timestamp: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppInfo {
    pub(super) app_id: String,
    pub(super) user_identifier: String,
    pub(super) extra_info: BTreeMap<String, String>,
    pub(super) registration_time: u64,
}

#[derive(Serialize)]
pub(super) struct Hostnames {
    pub(super) hostnames: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shuffles {
    pub(super) shuffle_ids: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Leader {
    pub(super) id: String,
    pub(super) address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MasterOf {
    pub(super) commit_index: u64,
    pub(super) id: String,
    pub(super) address: String,
    pub(super) client_address: String,
    pub(super) start_up_role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Masters {
    pub(super) group_id: String,
    pub(super) leader: Leader,
    pub(super) master_commit_info: Vec<MasterOf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnWorker {
    #[serde(flatten)]
    pub(super) worker: WorkerData,
    pub(super) is_registered: bool,
    pub(super) is_shutdown: bool,
    pub(super) is_decommissioning: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocationOf {
    pub(super) id_epoch: String,
    pub(super) host_and_ports: String,
    pub(super) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<String>,
    pub(super) storage: &'static str,
}

/// By shuffle, then by partition.
pub(super) type LocationsOf = BTreeMap<String, BTreeMap<String, LocationOf>>;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Partitions {
    pub(super) primary_partitions: LocationsOf,
    pub(super) replica_partitions: LocationsOf,
}

#[derive(Serialize)]
pub(super) struct Peers {
    pub(super) peers: Vec<WorkerAt>,
}
