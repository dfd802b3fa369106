//! Between a driver and a master, about the application as a whole.

use std::collections::BTreeMap;

use prost::Message;

use super::{UserIdentifier, WorkerInfo};

/// An application says once who it is. Answered with an empty message.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterApplicationInfo {
    #[prost(string, tag = "1")]
    pub app_id: String,
    #[prost(message, optional, tag = "2")]
    pub user_identifier: Option<UserIdentifier>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub extra_info: BTreeMap<String, String>,
    /// The same in each try.
    #[prost(string, tag = "4")]
    pub request_id: String,
}

/// An application lives, every ten seconds.
#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatFromApplication {
    #[prost(string, tag = "1")]
    pub app_id: String,
    /// Bytes since the last.
    #[prost(int64, tag = "2")]
    pub total_written: i64,
    /// Since the last.
    #[prost(int64, tag = "3")]
    pub file_count: i64,
    #[prost(string, tag = "4")]
    pub request_id: String,
    /// Does the master know these?
    #[prost(message, repeated, tag = "5")]
    pub need_checked_worker_list: Vec<WorkerInfo>,
    /// The answer is to be a [`HeartbeatFromApplicationResponse`], else an empty message.
    #[prost(bool, tag = "6")]
    pub should_response: bool,
    #[prost(int64, tag = "7")]
    pub shuffle_count: i64,
    /// By reason.
    #[prost(btree_map = "string, int64", tag = "8")]
    pub shuffle_fallback_counts: BTreeMap<String, i64>,
    #[prost(int64, tag = "9")]
    pub application_count: i64,
    /// By reason.
    #[prost(btree_map = "string, int64", tag = "10")]
    pub application_fallback_counts: BTreeMap<String, i64>,
    #[prost(message, optional, tag = "11")]
    pub heartbeat_info: Option<HeartbeatInfo>,
}

/// Numbers of an application since 0.7. No client fills it.
#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatInfo {
    #[prost(string, tag = "1")]
    pub app_id: String,
    #[prost(int64, tag = "2")]
    pub total_written: i64,
    #[prost(int64, tag = "3")]
    pub file_count: i64,
    #[prost(int64, tag = "4")]
    pub shuffle_count: i64,
    #[prost(btree_map = "string, int64", tag = "5")]
    pub shuffle_fallback_counts: BTreeMap<String, i64>,
}

/// The state of the cluster, for one application.
#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatFromApplicationResponse {
    /// As [`StatusCode`](crate::status::StatusCode) numbers them.
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub excluded_workers: Vec<WorkerInfo>,
    /// Of those that it asked about.
    #[prost(message, repeated, tag = "3")]
    pub unknown_workers: Vec<WorkerInfo>,
    /// They stop, or are decommissioned.
    #[prost(message, repeated, tag = "4")]
    pub shutting_workers: Vec<WorkerInfo>,
    /// Of the application.
    #[prost(int32, repeated, tag = "5")]
    pub registered_shuffles: Vec<i32>,
    /// Set it always: a client of 0.6 takes a missing one for a refusal.
    #[prost(message, optional, tag = "6")]
    pub check_quota_response: Option<CheckQuotaResponse>,
}

/// May the user store more?
#[derive(Clone, PartialEq, Message)]
pub struct CheckQuota {
    #[prost(message, optional, tag = "1")]
    pub user_identifier: Option<UserIdentifier>,
}

/// If not, the client does not use Celeborn for the shuffle.
#[derive(Clone, PartialEq, Message)]
pub struct CheckQuotaResponse {
    #[prost(bool, tag = "1")]
    pub available: bool,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// Is there any worker?
#[derive(Clone, PartialEq, Message)]
pub struct CheckWorkersAvailable {}

/// If not, the client does not use Celeborn for the shuffle.
#[derive(Clone, PartialEq, Message)]
pub struct CheckWorkersAvailableResponse {
    #[prost(bool, tag = "1")]
    pub available: bool,
}

/// A shuffle is of no use any more.
#[derive(Clone, PartialEq, Message)]
pub struct UnregisterShuffle {
    #[prost(string, tag = "1")]
    pub app_id: String,
    #[prost(int32, tag = "2")]
    pub shuffle_id: i32,
    /// The same in each try.
    #[prost(string, tag = "3")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct UnregisterShuffleResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Shuffles are of no use any more.
#[derive(Clone, PartialEq, Message)]
pub struct BatchUnregisterShuffles {
    #[prost(string, tag = "1")]
    pub app_id: String,
    /// The same in each try.
    #[prost(string, tag = "2")]
    pub request_id: String,
    #[prost(int32, repeated, tag = "3")]
    pub shuffle_ids: Vec<i32>,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct BatchUnregisterShuffleResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    /// Those that are gone now.
    #[prost(int32, repeated, tag = "2")]
    pub shuffle_ids: Vec<i32>,
}

/// The master does not know shuffles that the application has: it shall.
#[derive(Clone, PartialEq, Message)]
pub struct ReviseLostShuffles {
    #[prost(string, tag = "1")]
    pub app_id: String,
    #[prost(int32, repeated, tag = "2")]
    pub lost_shuffles: Vec<i32>,
    /// The same in each try.
    #[prost(string, tag = "3")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct ReviseLostShufflesResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// An application has ended.
#[derive(Clone, PartialEq, Message)]
pub struct ApplicationLost {
    #[prost(string, tag = "1")]
    pub app_id: String,
    /// The same in each try.
    #[prost(string, tag = "2")]
    pub request_id: String,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct ApplicationLostResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
}
