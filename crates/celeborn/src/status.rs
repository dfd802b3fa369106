//! Codes of success and failure. A number that a client does not know makes it throw, so only these
//! exist.

macro_rules! status_codes {
    ($($name:ident = $value:literal, $upstream:literal;)*) => {
        /// What became of a request: a number in most answers, one byte in the answer to a push, and
        /// a name at the beginning of a failed push.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum StatusCode {
            $(#[doc = concat!("`", $upstream, "`.")] $name = $value,)*
        }

        impl StatusCode {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code for a number from the wire, if there is one.
            pub fn of_number(number: i32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name that clients look for in the text of a failure.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $upstream,)*
                }
            }
        }
    };
}

impl StatusCode {
    /// The number, as messages have it.
    pub fn number(self) -> i32 {
        i32::from(self as u8)
    }

    /// The code whose name a text begins with: why a push failed.
    pub fn of_failure(text: &str) -> Option<Self> {
        let named = Self::ALL.iter().filter(|code| text.starts_with(code.name()));
        named.max_by_key(|code| code.name().len()).copied()
    }

    /// The text of a failed push: the code's name, then what a person wants to know.
    pub fn failure(self, detail: &str) -> String {
        format!("{}: {detail}", self.name())
    }
}

status_codes! {
    Success = 0, "SUCCESS";
    PartialSuccess = 1, "PARTIAL_SUCCESS";
    RequestFailed = 2, "REQUEST_FAILED";
    ShuffleAlreadyRegistered = 3, "SHUFFLE_ALREADY_REGISTERED";
    ShuffleUnregistered = 4, "SHUFFLE_UNREGISTERED";
    ReserveSlotsFailed = 5, "RESERVE_SLOTS_FAILED";
    SlotNotAvailable = 6, "SLOT_NOT_AVAILABLE";
    WorkerNotFound = 7, "WORKER_NOT_FOUND";
    PartitionNotFound = 8, "PARTITION_NOT_FOUND";
    ReplicaPartitionNotFound = 9, "REPLICA_PARTITION_NOT_FOUND";
    DeleteFilesFailed = 10, "DELETE_FILES_FAILED";
    PartitionExists = 11, "PARTITION_EXISTS";
    ReviveFailed = 12, "REVIVE_FAILED";
    ReplicateDataFailed = 13, "REPLICATE_DATA_FAILED";
    NumMapperZero = 14, "NUM_MAPPER_ZERO";
    MapEnded = 15, "MAP_ENDED";
    StageEnded = 16, "STAGE_ENDED";
    PushDataFailNonCriticalCausePrimary = 17, "PUSH_DATA_FAIL_NON_CRITICAL_CAUSE_PRIMARY";
    PushDataWriteFailReplica = 18, "PUSH_DATA_WRITE_FAIL_REPLICA";
    PushDataWriteFailPrimary = 19, "PUSH_DATA_WRITE_FAIL_PRIMARY";
    PushDataFailPartitionNotFound = 20, "PUSH_DATA_FAIL_PARTITION_NOT_FOUND";
    HardSplit = 21, "HARD_SPLIT";
    SoftSplit = 22, "SOFT_SPLIT";
    StageEndTimeout = 23, "STAGE_END_TIMEOUT";
    ShuffleDataLost = 24, "SHUFFLE_DATA_LOST";
    WorkerShutdown = 25, "WORKER_SHUTDOWN";
    NoAvailableWorkingDir = 26, "NO_AVAILABLE_WORKING_DIR";
    WorkerExcluded = 27, "WORKER_EXCLUDED";
    WorkerUnknown = 28, "WORKER_UNKNOWN";
    CommitFileException = 29, "COMMIT_FILE_EXCEPTION";
    PushDataSuccessPrimaryCongested = 30, "PUSH_DATA_SUCCESS_PRIMARY_CONGESTED";
    PushDataSuccessReplicaCongested = 31, "PUSH_DATA_SUCCESS_REPLICA_CONGESTED";
    PushDataHandshakeFailReplica = 32, "PUSH_DATA_HANDSHAKE_FAIL_REPLICA";
    PushDataHandshakeFailPrimary = 33, "PUSH_DATA_HANDSHAKE_FAIL_PRIMARY";
    RegionStartFailReplica = 34, "REGION_START_FAIL_REPLICA";
    RegionStartFailPrimary = 35, "REGION_START_FAIL_PRIMARY";
    RegionFinishFailReplica = 36, "REGION_FINISH_FAIL_REPLICA";
    RegionFinishFailPrimary = 37, "REGION_FINISH_FAIL_PRIMARY";
    PushDataCreateConnectionFailPrimary = 38, "PUSH_DATA_CREATE_CONNECTION_FAIL_PRIMARY";
    PushDataCreateConnectionFailReplica = 39, "PUSH_DATA_CREATE_CONNECTION_FAIL_REPLICA";
    PushDataConnectionExceptionPrimary = 40, "PUSH_DATA_CONNECTION_EXCEPTION_PRIMARY";
    PushDataConnectionExceptionReplica = 41, "PUSH_DATA_CONNECTION_EXCEPTION_REPLICA";
    PushDataTimeoutPrimary = 42, "PUSH_DATA_TIMEOUT_PRIMARY";
    PushDataTimeoutReplica = 43, "PUSH_DATA_TIMEOUT_REPLICA";
    PushDataPrimaryWorkerExcluded = 44, "PUSH_DATA_PRIMARY_WORKER_EXCLUDED";
    PushDataReplicaWorkerExcluded = 45, "PUSH_DATA_REPLICA_WORKER_EXCLUDED";
    FetchDataTimeout = 46, "FETCH_DATA_TIMEOUT";
    ReviveInitialized = 47, "REVIVE_INITIALIZED";
    DestroySlotsMockFailure = 48, "DESTROY_SLOTS_MOCK_FAILURE";
    CommitFilesMockFailure = 49, "COMMIT_FILES_MOCK_FAILURE";
    PushDataFailNonCriticalCauseReplica = 50, "PUSH_DATA_FAIL_NON_CRITICAL_CAUSE_REPLICA";
    OpenStreamFailed = 51, "OPEN_STREAM_FAILED";
    SegmentStartFailReplica = 52, "SEGMENT_START_FAIL_REPLICA";
    SegmentStartFailPrimary = 53, "SEGMENT_START_FAIL_PRIMARY";
    NoSplit = 54, "NO_SPLIT";
    WorkerUnresponsive = 55, "WORKER_UNRESPONSIVE";
    ReadReducerPartitionEndFailed = 56, "READ_REDUCER_PARTITION_END_FAILED";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_a_gap() {
        assert_eq!(StatusCode::ALL.len(), 57);
        for (number, code) in (0..).zip(StatusCode::ALL) {
            assert_eq!(StatusCode::of_number(number), Some(*code));
            assert_eq!(code.number(), number);
        }
        assert_eq!((StatusCode::of_number(57), StatusCode::of_number(-1)), (None, None));
        assert_eq!(StatusCode::ReadReducerPartitionEndFailed.number(), 56);
    }

    #[test]
    fn a_failure_is_known_by_how_its_text_begins() {
        for code in StatusCode::ALL {
            assert_eq!(StatusCode::of_failure(&code.failure("disk 3")), Some(*code));
        }
        let text = "HARD_SPLIT_OF_SOMETHING";
        assert_eq!(StatusCode::of_failure(text), Some(StatusCode::HardSplit));
        assert_eq!(StatusCode::of_failure("disk 3: HARD_SPLIT"), None);
    }
}
