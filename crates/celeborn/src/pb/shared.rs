//! Structures that several messages share.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::LocationMode;

/// Where a file is and how it is cut into chunks. A missing one means a file in memory to a client,
/// so set it always. As values: [`StorageInfo`](crate::storage::StorageInfo).
#[derive(Clone, PartialEq, Message)]
pub struct StorageInfo {
    /// As [`StorageType`](crate::storage::StorageType) numbers them.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub mount_point: String,
    /// The file is committed.
    #[prost(bool, tag = "3")]
    pub final_result: bool,
    /// Whole, for files that clients read themselves; else empty.
    #[prost(string, tag = "4")]
    pub file_path: String,
    /// As [`Available`](crate::storage::Available) has it.
    #[prost(int32, tag = "5")]
    pub available_storage_types: i32,
    /// Bytes.
    #[prost(int64, tag = "6")]
    pub file_size: i64,
    /// From 0 to the length of the file: one more than there are chunks.
    #[prost(int64, repeated, tag = "7")]
    pub chunk_offsets: Vec<i64>,
}

/// A copy of a partition on a worker. As values: [`Location`](crate::location::Location).
#[derive(Clone, PartialEq, Message)]
pub struct PartitionLocation {
    #[prost(enumeration = "LocationMode", tag = "1")]
    pub mode: i32,
    /// Of the partition.
    #[prost(int32, tag = "2")]
    pub id: i32,
    /// Grows when the partition goes on elsewhere.
    #[prost(int32, tag = "3")]
    pub epoch: i32,
    #[prost(string, tag = "4")]
    pub host: String,
    #[prost(int32, tag = "5")]
    pub rpc_port: i32,
    #[prost(int32, tag = "6")]
    pub push_port: i32,
    #[prost(int32, tag = "7")]
    pub fetch_port: i32,
    #[prost(int32, tag = "8")]
    pub replicate_port: i32,
    /// The other copy, whose own peer is not set.
    #[prost(message, optional, boxed, tag = "9")]
    pub peer: Option<Box<PartitionLocation>>,
    #[prost(message, optional, tag = "10")]
    pub storage_info: Option<StorageInfo>,
    /// As [`MapIds`](crate::bitmap::MapIds) has it; empty for none.
    #[prost(bytes = "bytes", tag = "11")]
    pub map_id_bitmap: Bytes,
}

/// The locations that a worker was given, in plain form.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerResource {
    #[prost(message, repeated, tag = "1")]
    pub primary_partitions: Vec<PartitionLocation>,
    #[prost(message, repeated, tag = "2")]
    pub replica_partitions: Vec<PartitionLocation>,
    /// The rack.
    #[prost(string, tag = "3")]
    pub network_location: String,
}

/// Locations as columns: entry `i` of each list is of location `i`.
#[derive(Clone, PartialEq, Message)]
pub struct PackedPartitionLocations {
    #[prost(int32, repeated, tag = "1")]
    pub ids: Vec<i32>,
    #[prost(int32, repeated, tag = "2")]
    pub epoches: Vec<i32>,
    /// Indexes into the next.
    #[prost(int32, repeated, tag = "3")]
    pub worker_ids: Vec<i32>,
    /// As [`WorkerId`](crate::ids::WorkerId) has it.
    #[prost(string, repeated, tag = "4")]
    pub worker_ids_set: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub map_id_bit_map: Vec<Bytes>,
    #[prost(int32, repeated, tag = "6")]
    pub types: Vec<i32>,
    /// Indexes into the next.
    #[prost(int32, repeated, tag = "7")]
    pub mount_points: Vec<i32>,
    #[prost(string, repeated, tag = "8")]
    pub mount_points_set: Vec<String>,
    #[prost(bool, repeated, tag = "9")]
    pub final_result: Vec<bool>,
    /// Without the mount point; empty for none.
    #[prost(string, repeated, tag = "10")]
    pub file_paths: Vec<String>,
    #[prost(int32, repeated, tag = "11")]
    pub available_storage_types: Vec<i32>,
    #[prost(int32, repeated, tag = "12")]
    pub modes: Vec<i32>,
    /// Bytes. This and the next may be absent as a whole.
    #[prost(int64, repeated, tag = "13")]
    pub file_sizes: Vec<i64>,
    #[prost(message, repeated, tag = "14")]
    pub chunks_offsets: Vec<ChunkOffsets>,
}

/// Chunks of one location among packed ones.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkOffsets {
    #[prost(int64, repeated, tag = "1")]
    pub chunk_offset: Vec<i64>,
}

/// Packed locations and which of them are copies of each other.
#[derive(Clone, PartialEq, Message)]
pub struct PackedPartitionLocationsPair {
    #[prost(message, optional, tag = "1")]
    pub locations: Option<PackedPartitionLocations>,
    /// For each location the index of its peer, or `i32::MAX`.
    #[prost(int32, repeated, tag = "2")]
    pub peer_indexes: Vec<i32>,
    /// So many are listed; those after them are there as peers only.
    #[prost(int32, tag = "3")]
    pub input_location_size: i32,
}

/// The locations that a worker was given, in packed form.
#[derive(Clone, PartialEq, Message)]
pub struct PackedWorkerResource {
    #[prost(message, optional, tag = "1")]
    pub location_pairs: Option<PackedPartitionLocationsPair>,
    /// The rack.
    #[prost(string, tag = "2")]
    pub network_location: String,
}

/// A disk of a worker.
#[derive(Clone, PartialEq, Message)]
pub struct DiskInfo {
    #[prost(string, tag = "1")]
    pub mount_point: String,
    /// Bytes.
    #[prost(int64, tag = "2")]
    pub usable_space: i64,
    /// Nanoseconds.
    #[prost(int64, tag = "3")]
    pub avg_flush_time: i64,
    #[prost(int64, tag = "4")]
    pub used_slots: i64,
    /// 0 is healthy.
    #[prost(int32, tag = "5")]
    pub status: i32,
    /// Nanoseconds.
    #[prost(int64, tag = "6")]
    pub avg_fetch_time: i64,
    /// As [`StorageType`](crate::storage::StorageType) numbers them.
    #[prost(int32, tag = "7")]
    pub storage_type: i32,
    /// Bytes.
    #[prost(int64, tag = "8")]
    pub total_space: i64,
}

/// A worker. The first five fields are its identity.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerInfo {
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
    #[prost(btree_map = "string, message", tag = "7")]
    pub user_resource_consumption: BTreeMap<String, ResourceConsumption>,
    #[prost(int32, tag = "8")]
    pub internal_port: i32,
    /// The rack.
    #[prost(string, tag = "9")]
    pub network_location: String,
    /// When its machine is to go, in milliseconds of Unix time; 0 for never.
    #[prost(int64, tag = "10")]
    pub next_interruption_notice: i64,
}

/// Whom an application belongs to.
#[derive(Clone, PartialEq, Message)]
pub struct UserIdentifier {
    #[prost(string, tag = "1")]
    pub tenant_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
}

/// What somebody has stored.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceConsumption {
    #[prost(int64, tag = "1")]
    pub disk_bytes_written: i64,
    #[prost(int64, tag = "2")]
    pub disk_file_count: i64,
    #[prost(int64, tag = "3")]
    pub hdfs_bytes_written: i64,
    #[prost(int64, tag = "4")]
    pub hdfs_file_count: i64,
    /// By application; these have none of their own.
    #[prost(btree_map = "string, message", tag = "5")]
    pub sub_resource_consumptions: BTreeMap<String, ResourceConsumption>,
}
