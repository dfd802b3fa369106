//! Between a worker and a master, and between tools and a master about workers.

use std::collections::BTreeMap;

use prost::Message;

use super::{DiskInfo, ResourceConsumption, WorkerEventType, WorkerInfo, WorkerState};

/// A worker is there.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterWorker {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub rpc_port: i32,
    #[prost(int32, tag = "3")]
    pub push_port: i32,
    #[prost(int32, tag = "4")]
    pub fetch_port: i32,
    #[prost(int32, tag = "5")]
    pub replicate_port: i32,
    #[prost(message, repeated, tag = "6")]
    pub disks: Vec<DiskInfo>,
    /// By user.
    #[prost(btree_map = "string, message", tag = "8")]
    pub user_resource_consumption: BTreeMap<String, ResourceConsumption>,
    /// The same in each try.
    #[prost(string, tag = "9")]
    pub request_id: String,
    #[prost(int32, tag = "10")]
    pub internal_port: i32,
    /// The rack.
    #[prost(string, tag = "11")]
    pub network_location: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterWorkerResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// A worker lives.
#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatFromWorker {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub rpc_port: i32,
    #[prost(int32, tag = "3")]
    pub push_port: i32,
    #[prost(int32, tag = "4")]
    pub fetch_port: i32,
    #[prost(int32, tag = "5")]
    pub replicate_port: i32,
    #[prost(message, repeated, tag = "6")]
    pub disks: Vec<DiskInfo>,
    /// All that it has data of.
    #[prost(string, repeated, tag = "7")]
    pub active_shuffle_keys: Vec<String>,
    #[prost(string, tag = "8")]
    pub request_id: String,
    #[prost(btree_map = "string, message", tag = "9")]
    pub user_resource_consumption: BTreeMap<String, ResourceConsumption>,
    /// Nobody reads it.
    #[prost(btree_map = "string, int64", tag = "10")]
    pub estimated_app_disk_usage: BTreeMap<String, i64>,
    #[prost(bool, tag = "11")]
    pub high_workload: bool,
    #[prost(message, optional, tag = "12")]
    pub worker_status: Option<WorkerStatus>,
}

/// What a worker is at.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerStatus {
    #[prost(enumeration = "WorkerState", tag = "1")]
    pub state: i32,
    /// Milliseconds of Unix time.
    #[prost(int64, tag = "2")]
    pub state_start_time: i64,
}

/// What a worker is to do.
#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatFromWorkerResponse {
    /// Delete these: no application has them any more.
    #[prost(string, repeated, tag = "1")]
    pub expired_shuffle_keys: Vec<String>,
    /// If not, register again.
    #[prost(bool, tag = "2")]
    pub registered: bool,
    #[prost(enumeration = "WorkerEventType", tag = "3")]
    pub worker_event_type: i32,
}

/// Workers stop. Answered with an empty message.
#[derive(Clone, PartialEq, Message)]
pub struct ReportWorkerUnavailable {
    #[prost(message, repeated, tag = "1")]
    pub unavailable: Vec<WorkerInfo>,
    #[prost(string, tag = "2")]
    pub request_id: String,
}

/// Workers are decommissioned. Answered with an empty message.
#[derive(Clone, PartialEq, Message)]
pub struct ReportWorkerDecommission {
    #[prost(message, repeated, tag = "1")]
    pub workers: Vec<WorkerInfo>,
    #[prost(string, tag = "2")]
    pub request_id: String,
}

/// A worker is gone.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerLost {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub rpc_port: i32,
    #[prost(int32, tag = "3")]
    pub push_port: i32,
    #[prost(int32, tag = "4")]
    pub fetch_port: i32,
    #[prost(int32, tag = "5")]
    pub replicate_port: i32,
    #[prost(string, tag = "6")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerLostResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
}

/// Workers are to change their state.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerEventRequest {
    #[prost(message, repeated, tag = "1")]
    pub workers: Vec<WorkerInfo>,
    #[prost(enumeration = "WorkerEventType", tag = "2")]
    pub worker_event_type: i32,
    #[prost(string, tag = "3")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerEventResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Workers are to get no new slots, or to get some again.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerExclude {
    #[prost(message, repeated, tag = "1")]
    pub workers_to_add: Vec<WorkerInfo>,
    #[prost(message, repeated, tag = "2")]
    pub workers_to_remove: Vec<WorkerInfo>,
    #[prost(string, tag = "3")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerExcludeResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
}

/// Forget what is known of lost workers.
#[derive(Clone, PartialEq, Message)]
pub struct RemoveWorkersUnavailableInfo {
    #[prost(message, repeated, tag = "1")]
    pub worker_info: Vec<WorkerInfo>,
    #[prost(string, tag = "2")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct RemoveWorkersUnavailableInfoResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
}

/// The secret of an application. `Debug` does not show it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct ApplicationMeta {
    #[prost(string, tag = "1")]
    pub app_id: String,
    #[prost(string, tag = "2")]
    pub secret: String,
}

impl std::fmt::Debug for ApplicationMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApplicationMeta({})", self.app_id)
    }
}

/// A worker wants that secret.
#[derive(Clone, PartialEq, Message)]
pub struct ApplicationMetaRequest {
    #[prost(string, tag = "1")]
    pub app_id: String,
}
