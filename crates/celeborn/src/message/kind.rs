//! The numbers of messages, all that 0.6 and 0.7 know.

macro_rules! message_types {
    ($($name:ident = $value:literal, $upstream:literal;)*) => {
        /// The type of a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum MessageType {
            $(#[doc = concat!("`", $upstream, "`.")] $name = $value,)*
        }

        impl MessageType {
            /// All types, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The type for a number from the wire, if there is one.
            pub fn of_number(number: i32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name that logs and documents of Celeborn have.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $upstream,)*
                }
            }
        }
    };
}

message_types! {
    RegisterWorker = 1, "REGISTER_WORKER";
    HeartbeatFromWorker = 2, "HEARTBEAT_FROM_WORKER";
    HeartbeatFromWorkerResponse = 3, "HEARTBEAT_FROM_WORKER_RESPONSE";
    RegisterShuffle = 4, "REGISTER_SHUFFLE";
    RegisterShuffleResponse = 5, "REGISTER_SHUFFLE_RESPONSE";
    RequestSlots = 6, "REQUEST_SLOTS";
    ReleaseSlots = 7, "RELEASE_SLOTS";
    ReleaseSlotsResponse = 8, "RELEASE_SLOTS_RESPONSE";
    RequestSlotsResponse = 9, "REQUEST_SLOTS_RESPONSE";
    ChangeLocation = 10, "CHANGE_LOCATION";
    ChangeLocationResponse = 11, "CHANGE_LOCATION_RESPONSE";
    MapperEnd = 12, "MAPPER_END";
    MapperEndResponse = 13, "MAPPER_END_RESPONSE";
    GetReducerFileGroup = 14, "GET_REDUCER_FILE_GROUP";
    GetReducerFileGroupResponse = 15, "GET_REDUCER_FILE_GROUP_RESPONSE";
    UnregisterShuffle = 16, "UNREGISTER_SHUFFLE";
    UnregisterShuffleResponse = 17, "UNREGISTER_SHUFFLE_RESPONSE";
    ApplicationLost = 18, "APPLICATION_LOST";
    ApplicationLostResponse = 19, "APPLICATION_LOST_RESPONSE";
    HeartbeatFromApplication = 20, "HEARTBEAT_FROM_APPLICATION";
    CheckQuota = 23, "CHECK_QUOTA";
    CheckQuotaResponse = 24, "CHECK_QUOTA_RESPONSE";
    ReportWorkerFailure = 25, "REPORT_WORKER_FAILURE";
    RegisterWorkerResponse = 26, "REGISTER_WORKER_RESPONSE";
    ReserveSlots = 28, "RESERVE_SLOTS";
    ReserveSlotsResponse = 29, "RESERVE_SLOTS_RESPONSE";
    CommitFiles = 30, "COMMIT_FILES";
    CommitFilesResponse = 31, "COMMIT_FILES_RESPONSE";
    Destroy = 32, "DESTROY";
    DestroyResponse = 33, "DESTROY_RESPONSE";
    RemoveExpiredShuffle = 39, "REMOVE_EXPIRED_SHUFFLE";
    OneWayMessageResponse = 40, "ONE_WAY_MESSAGE_RESPONSE";
    CheckWorkerTimeout = 41, "CHECK_WORKER_TIMEOUT";
    CheckApplicationTimeout = 42, "CHECK_APPLICATION_TIMEOUT";
    WorkerLost = 43, "WORKER_LOST";
    WorkerLostResponse = 44, "WORKER_LOST_RESPONSE";
    StageEnd = 45, "STAGE_END";
    StageEndResponse = 46, "STAGE_END_RESPONSE";
    PartitionSplit = 47, "PARTITION_SPLIT";
    RegisterMapPartitionTask = 48, "REGISTER_MAP_PARTITION_TASK";
    HeartbeatFromApplicationResponse = 49, "HEARTBEAT_FROM_APPLICATION_RESPONSE";
    CheckForDfsExpiredDirsTimeout = 50, "CHECK_FOR_DFS_EXPIRED_DIRS_TIMEOUT";
    OpenStream = 51, "OPEN_STREAM";
    StreamHandler = 52, "STREAM_HANDLER";
    CheckWorkersAvailable = 53, "CHECK_WORKERS_AVAILABLE";
    CheckWorkersAvailableResponse = 54, "CHECK_WORKERS_AVAILABLE_RESPONSE";
    RemoveWorkersUnavailableInfo = 55, "REMOVE_WORKERS_UNAVAILABLE_INFO";
    PushDataHandShake = 56, "PUSH_DATA_HAND_SHAKE";
    RegionStart = 57, "REGION_START";
    RegionFinish = 58, "REGION_FINISH";
    BacklogAnnouncement = 59, "BACKLOG_ANNOUNCEMENT";
    BufferStreamEnd = 60, "BUFFER_STREAM_END";
    ReadAddCredit = 61, "READ_ADD_CREDIT";
    StreamChunkSlice = 62, "STREAM_CHUNK_SLICE";
    ChunkFetchRequest = 63, "CHUNK_FETCH_REQUEST";
    TransportableError = 64, "TRANSPORTABLE_ERROR";
    WorkerExclude = 65, "WORKER_EXCLUDE";
    WorkerExcludeResponse = 66, "WORKER_EXCLUDE_RESPONSE";
    ReportShuffleFetchFailure = 67, "REPORT_SHUFFLE_FETCH_FAILURE";
    ReportShuffleFetchFailureResponse = 68, "REPORT_SHUFFLE_FETCH_FAILURE_RESPONSE";
    GetShuffleId = 69, "GET_SHUFFLE_ID";
    GetShuffleIdResponse = 70, "GET_SHUFFLE_ID_RESPONSE";
    SaslRequest = 71, "SASL_REQUEST";
    AuthenticationInitiationRequest = 72, "AUTHENTICATION_INITIATION_REQUEST";
    AuthenticationInitiationResponse = 73, "AUTHENTICATION_INITIATION_RESPONSE";
    RegisterApplicationRequest = 74, "REGISTER_APPLICATION_REQUEST";
    RegisterApplicationResponse = 75, "REGISTER_APPLICATION_RESPONSE";
    WorkerEventRequest = 76, "WORKER_EVENT_REQUEST";
    WorkerEventResponse = 77, "WORKER_EVENT_RESPONSE";
    ApplicationMeta = 78, "APPLICATION_META";
    ApplicationMetaRequest = 79, "APPLICATION_META_REQUEST";
    BatchOpenStream = 80, "BATCH_OPEN_STREAM";
    BatchOpenStreamResponse = 81, "BATCH_OPEN_STREAM_RESPONSE";
    ReportWorkerDecommission = 82, "REPORT_WORKER_DECOMMISSION";
    ReportBarrierStageAttemptFailure = 83, "REPORT_BARRIER_STAGE_ATTEMPT_FAILURE";
    ReportBarrierStageAttemptFailureResponse = 84, "REPORT_BARRIER_STAGE_ATTEMPT_FAILURE_RESPONSE";
    SegmentStart = 85, "SEGMENT_START";
    NotifyRequiredSegment = 86, "NOTIFY_REQUIRED_SEGMENT";
    BatchUnregisterShuffles = 87, "BATCH_UNREGISTER_SHUFFLES";
    BatchUnregisterShuffleResponse = 88, "BATCH_UNREGISTER_SHUFFLE_RESPONSE";
    ReviseLostShuffles = 89, "REVISE_LOST_SHUFFLES";
    ReviseLostShufflesResponse = 90, "REVISE_LOST_SHUFFLES_RESPONSE";
    PushMergedDataSplitPartitionInfo = 91, "PUSH_MERGED_DATA_SPLIT_PARTITION_INFO";
    GetStageEnd = 92, "GET_STAGE_END";
    GetStageEndResponse = 93, "GET_STAGE_END_RESPONSE";
    ReadReducerPartitionEnd = 94, "READ_REDUCER_PARTITION_END";
    ReadReducerPartitionEndResponse = 95, "READ_REDUCER_PARTITION_END_RESPONSE";
    RegisterApplicationInfo = 96, "REGISTER_APPLICATION_INFO";
}
