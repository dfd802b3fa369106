//! Slots: where the partitions of a shuffle go. Between a driver and a master, and a driver and
//! workers.

use std::collections::BTreeMap;

use prost::Message;

use super::{
    PackedPartitionLocationsPair, PackedWorkerResource, PartitionLocation, StorageInfo,
    UserIdentifier, WorkerInfo, WorkerResource,
};

/// To a master: choose workers for partitions.
#[derive(Clone, PartialEq, Message)]
pub struct RequestSlots {
    #[prost(string, tag = "1")]
    pub application_id: String,
    #[prost(int32, tag = "2")]
    pub shuffle_id: i32,
    #[prost(int32, repeated, tag = "3")]
    pub partition_id_list: Vec<i32>,
    /// Of the driver.
    #[prost(string, tag = "4")]
    pub hostname: String,
    /// Two copies of each.
    #[prost(bool, tag = "5")]
    pub should_replicate: bool,
    /// The same in each try.
    #[prost(string, tag = "6")]
    pub request_id: String,
    /// Not used.
    #[prost(int32, tag = "7")]
    pub storage_type: i32,
    #[prost(message, optional, tag = "8")]
    pub user_identifier: Option<UserIdentifier>,
    /// The copies in two racks, if there are two.
    #[prost(bool, tag = "9")]
    pub should_rack_aware: bool,
    #[prost(int32, tag = "10")]
    pub max_workers: i32,
    /// As [`Available`](crate::storage::Available) has it.
    #[prost(int32, tag = "11")]
    pub available_storage_types: i32,
    #[prost(message, repeated, tag = "12")]
    pub excluded_worker_set: Vec<WorkerInfo>,
    /// The answer is better in packed form.
    #[prost(bool, tag = "13")]
    pub packed: bool,
    /// Which tags a worker must have.
    #[prost(string, tag = "14")]
    pub tags_expr: String,
}

/// The chosen workers. A client reads the packed form only if the plain one is empty.
#[derive(Clone, PartialEq, Message)]
pub struct RequestSlotsResponse {
    /// As [`StatusCode`](crate::status::StatusCode) numbers them.
    #[prost(int32, tag = "1")]
    pub status: i32,
    /// By worker id.
    #[prost(btree_map = "string, message", tag = "2")]
    pub worker_resource: BTreeMap<String, WorkerResource>,
    /// By worker id.
    #[prost(btree_map = "string, message", tag = "3")]
    pub packed_worker_resource: BTreeMap<String, PackedWorkerResource>,
}

/// To a worker: partitions are going to come.
#[derive(Clone, PartialEq, Message)]
pub struct ReserveSlots {
    #[prost(string, tag = "1")]
    pub application_id: String,
    #[prost(int32, tag = "2")]
    pub shuffle_id: i32,
    /// Clients before 0.6 list locations here and in the next.
    #[prost(message, repeated, tag = "3")]
    pub primary_locations: Vec<PartitionLocation>,
    #[prost(message, repeated, tag = "4")]
    pub replica_locations: Vec<PartitionLocation>,
    /// Bytes after which a partition is to go on elsewhere.
    #[prost(int64, tag = "5")]
    pub split_threshold: i64,
    /// 0 soft, 1 hard.
    #[prost(int32, tag = "6")]
    pub split_mode: i32,
    /// 0 reduce, 1 map.
    #[prost(int32, tag = "7")]
    pub partition_type: i32,
    /// The maps of each partition are wanted with its commit.
    #[prost(bool, tag = "8")]
    pub range_read_filter: bool,
    #[prost(message, optional, tag = "9")]
    pub user_identifier: Option<UserIdentifier>,
    /// Milliseconds for a push to the second copy.
    #[prost(int64, tag = "10")]
    pub push_data_timeout: i64,
    #[prost(bool, tag = "11")]
    pub partition_split_enabled: bool,
    /// No client sets it: it is in each location.
    #[prost(int32, tag = "12")]
    pub available_storage_types: i32,
    /// Clients since 0.6 list locations here.
    #[prost(message, optional, tag = "13")]
    pub partition_locations_pair: Option<PackedPartitionLocationsPair>,
    #[prost(bool, tag = "14")]
    pub is_segment_granularity_visible: bool,
}

/// The answer to that: all or nothing.
#[derive(Clone, PartialEq, Message)]
pub struct ReserveSlotsResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// To a worker: partitions are complete.
#[derive(Clone, PartialEq, Message)]
pub struct CommitFiles {
    #[prost(string, tag = "1")]
    pub application_id: String,
    #[prost(int32, tag = "2")]
    pub shuffle_id: i32,
    /// As [`PartitionKey`](crate::ids::PartitionKey) has it.
    #[prost(string, repeated, tag = "3")]
    pub primary_ids: Vec<String>,
    /// The same, of which the worker has the second copy.
    #[prost(string, repeated, tag = "4")]
    pub replica_ids: Vec<String>,
    /// The attempt of each map that counts, or -1.
    #[prost(int32, repeated, tag = "5")]
    pub map_attempts: Vec<i32>,
    /// Of the commit, not of partitions: a repeated one gets the same answer.
    #[prost(int64, tag = "6")]
    pub epoch: i64,
    /// A test of the client wants a failure.
    #[prost(bool, tag = "7")]
    pub mock_failure: bool,
}

/// What became of them. Partitions without a byte are in no list.
#[derive(Clone, PartialEq, Message)]
pub struct CommitFilesResponse {
    /// As [`StatusCode`](crate::status::StatusCode) numbers them.
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, repeated, tag = "2")]
    pub committed_primary_ids: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub committed_replica_ids: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub failed_primary_ids: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub failed_replica_ids: Vec<String>,
    /// One for each committed id: a driver does not live through a missing one.
    #[prost(btree_map = "string, message", tag = "6")]
    pub committed_primary_storage_infos: BTreeMap<String, StorageInfo>,
    /// The same.
    #[prost(btree_map = "string, message", tag = "7")]
    pub committed_replica_storage_infos: BTreeMap<String, StorageInfo>,
    /// Bytes of files that are not small.
    #[prost(int64, tag = "8")]
    pub total_written: i64,
    /// Of these files.
    #[prost(int32, tag = "9")]
    pub file_count: i32,
    /// As [`MapIds`](crate::bitmap::MapIds) has it, if they are wanted.
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub map_id_bitmap: BTreeMap<String, Vec<u8>>,
}

/// To a worker: partitions are of no use any more.
#[derive(Clone, PartialEq, Message)]
pub struct DestroyWorkerSlots {
    #[prost(string, tag = "1")]
    pub shuffle_key: String,
    #[prost(string, repeated, tag = "2")]
    pub primary_locations: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub replica_location: Vec<String>,
    /// A test of the client wants a failure.
    #[prost(bool, tag = "4")]
    pub mock_failure: bool,
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct DestroyWorkerSlotsResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, repeated, tag = "2")]
    pub failed_primaries: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub failed_replicas: Vec<String>,
}
