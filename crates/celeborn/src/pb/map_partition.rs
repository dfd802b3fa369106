//! Map partitions, which Flink writes and reads.

use prost::Message;

use super::LocationMode;

/// A map partition begins.
#[derive(Clone, PartialEq, Message)]
pub struct PushDataHandShake {
    #[prost(enumeration = "LocationMode", tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub shuffle_key: String,
    #[prost(string, tag = "3")]
    pub partition_unique_id: String,
    #[prost(int32, tag = "4")]
    pub attempt_id: i32,
    #[prost(int32, tag = "5")]
    pub num_partitions: i32,
    /// Bytes.
    #[prost(int32, tag = "6")]
    pub buffer_size: i32,
}

/// A region begins.
#[derive(Clone, PartialEq, Message)]
pub struct RegionStart {
    #[prost(enumeration = "LocationMode", tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub shuffle_key: String,
    #[prost(string, tag = "3")]
    pub partition_unique_id: String,
    #[prost(int32, tag = "4")]
    pub attempt_id: i32,
    #[prost(int32, tag = "5")]
    pub current_region_index: i32,
    /// It goes to all subpartitions.
    #[prost(bool, tag = "6")]
    pub is_broadcast: bool,
}

/// A region ends.
#[derive(Clone, PartialEq, Message)]
pub struct RegionFinish {
    #[prost(enumeration = "LocationMode", tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub shuffle_key: String,
    #[prost(string, tag = "3")]
    pub partition_unique_id: String,
    #[prost(int32, tag = "4")]
    pub attempt_id: i32,
}

/// A segment begins.
#[derive(Clone, PartialEq, Message)]
pub struct SegmentStart {
    #[prost(enumeration = "LocationMode", tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub shuffle_key: String,
    #[prost(string, tag = "3")]
    pub partition_unique_id: String,
    #[prost(int32, tag = "4")]
    pub attempt_id: i32,
    #[prost(int32, tag = "5")]
    pub sub_partition_id: i32,
    #[prost(int32, tag = "6")]
    pub segment_id: i32,
}

/// So many buffers wait for credit.
#[derive(Clone, PartialEq, Message)]
pub struct BacklogAnnouncement {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(int32, tag = "2")]
    pub backlog: i32,
}

/// So many more buffers may come.
#[derive(Clone, PartialEq, Message)]
pub struct ReadAddCredit {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(int32, tag = "2")]
    pub credit: i32,
}

/// Which segment a reader wants next.
#[derive(Clone, PartialEq, Message)]
pub struct NotifyRequiredSegment {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(int32, tag = "2")]
    pub required_segment_id: i32,
    #[prost(int32, tag = "3")]
    pub sub_partition_id: i32,
}

/// A stream has failed.
#[derive(Clone, PartialEq, Message)]
pub struct TransportableError {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(string, tag = "2")]
    pub message: String,
}
