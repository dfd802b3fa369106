//! Reading, on a worker's fetch port, and what a merged push is answered with.

use prost::Message;

use super::StreamType;

/// A file is to be read.
#[derive(Clone, PartialEq, Message)]
pub struct OpenStream {
    #[prost(string, tag = "1")]
    pub shuffle_key: String,
    /// As [`FileName`](crate::ids::FileName) has it.
    #[prost(string, tag = "2")]
    pub file_name: String,
    /// From this map on; greater than the next for a part of the chunks.
    #[prost(int32, tag = "3")]
    pub start_index: i32,
    /// To before this map; `i32::MAX` for all.
    #[prost(int32, tag = "4")]
    pub end_index: i32,
    /// Buffers at first, of a map partition.
    #[prost(int32, tag = "5")]
    pub initial_credit: i32,
    /// The client is on this machine, and reads the file itself.
    #[prost(bool, tag = "6")]
    pub read_local_shuffle: bool,
}

/// It can be.
#[derive(Clone, PartialEq, Message)]
pub struct StreamHandler {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(int32, tag = "2")]
    pub num_chunks: i32,
    /// For a client that reads the file itself, as the next.
    #[prost(int64, repeated, tag = "3")]
    pub chunk_offsets: Vec<i64>,
    #[prost(string, tag = "4")]
    pub full_path: String,
}

/// Files are to be read. Entry `i` of each list is of file `i`.
#[derive(Clone, PartialEq, Message)]
pub struct OpenStreamList {
    #[prost(string, tag = "1")]
    pub shuffle_key: String,
    #[prost(string, repeated, tag = "2")]
    pub file_name: Vec<String>,
    #[prost(int32, repeated, tag = "3")]
    pub start_index: Vec<i32>,
    #[prost(int32, repeated, tag = "4")]
    pub end_index: Vec<i32>,
    #[prost(int32, repeated, tag = "5")]
    pub initial_credit: Vec<i32>,
    #[prost(bool, repeated, tag = "6")]
    pub read_local_shuffle: Vec<bool>,
}

/// Which of them can be: as many, in the same order.
#[derive(Clone, PartialEq, Message)]
pub struct OpenStreamListResponse {
    #[prost(message, repeated, tag = "2")]
    pub stream_handler_opt: Vec<StreamHandlerOpt>,
}

/// Whether one of them can be.
#[derive(Clone, PartialEq, Message)]
pub struct StreamHandlerOpt {
    /// As [`StatusCode`](crate::status::StatusCode) numbers them.
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, optional, tag = "2")]
    pub stream_handler: Option<StreamHandler>,
    #[prost(string, tag = "3")]
    pub error_msg: String,
}

/// As values: [`Slice`](crate::frame::Slice).
#[derive(Clone, PartialEq, Message)]
pub struct StreamChunkSlice {
    #[prost(int64, tag = "1")]
    pub stream_id: i64,
    #[prost(int32, tag = "2")]
    pub chunk_index: i32,
    #[prost(int32, tag = "3")]
    pub offset: i32,
    #[prost(int32, tag = "4")]
    pub len: i32,
}

/// A chunk is wanted. Answered by a frame, and not by a response.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkFetchRequest {
    #[prost(message, optional, tag = "1")]
    pub stream_chunk_slice: Option<StreamChunkSlice>,
}

/// A file is read. Not answered.
#[derive(Clone, PartialEq, Message)]
pub struct BufferStreamEnd {
    #[prost(enumeration = "StreamType", tag = "1")]
    pub stream_type: i32,
    #[prost(int64, tag = "2")]
    pub stream_id: i64,
}

/// Which entries of a merged push go elsewhere from now on.
#[derive(Clone, PartialEq, Message)]
pub struct PushMergedDataSplitPartitionInfo {
    /// Places in the push.
    #[prost(int32, repeated, tag = "1")]
    pub split_partition_indexes: Vec<i32>,
    /// One for each of them: a soft or a hard split.
    #[prost(int32, repeated, tag = "2")]
    pub status_codes: Vec<i32>,
}
