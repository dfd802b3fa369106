//! Messages with their types, as far as a server of ours has to do with them.

use bytes::Bytes;
use dunlin_base::Error;
use prost::Message as _;

use crate::pb;
use crate::rpc::TransportMessage;

use super::kind::MessageType;

/// Why there is no [`Message`]. The first two are to be answered with a failure, and the connection
/// goes on; after the third one it is better closed.
#[derive(Clone, Debug)]
pub enum Undecoded {
    /// There is no type of this number in 0.6 and 0.7.
    Unknown(i32),
    /// A message that stays within an application, or within a master: it came to the wrong place.
    NotServed(MessageType),
    /// The payload is no such message.
    Malformed(MessageType, Error),
}

impl From<Undecoded> for Error {
    /// Of kind `invalid`.
    fn from(undecoded: Undecoded) -> Self {
        match undecoded {
            Undecoded::Unknown(number) => Self::invalid(format!("unknown message type {number}"))
                .with_hint("Celeborn clients of 0.6 and 0.7 work"),
            Undecoded::NotServed(kind) => {
                Self::invalid(format!("a {} is not for a server", kind.name()))
            }
            Undecoded::Malformed(kind, error) => {
                error.context(format!("a {} is malformed", kind.name()))
            }
        }
    }
}

macro_rules! messages {
    ($($name:ident($body:ident),)*) => {
        /// A message of which we know the meaning. Large ones are in boxes, so that all of them are,
        /// and a message is cheap to move.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $(#[doc = concat!("As [`MessageType::", stringify!($name), "`].")]
            $name(Box<pb::$body>),)*
            /// The answer to what has none of its own. No payload.
            OneWayMessageResponse,
        }

        impl Message {
            /// The type of the message.
            pub fn kind(&self) -> MessageType {
                match self {
                    $(Self::$name(_) => MessageType::$name,)*
                    Self::OneWayMessageResponse => MessageType::OneWayMessageResponse,
                }
            }

            /// The meaning of a message. May take some hundred times the memory of its payload if that
            /// is made for it: a receiver bounds the payload first.
            pub fn decode(message: TransportMessage) -> Result<Self, Undecoded> {
                let TransportMessage { number, payload } = message;
                match MessageType::of_number(number).ok_or(Undecoded::Unknown(number))? {
                    $(kind @ MessageType::$name => body(kind, payload).map(Self::$name),)*
                    MessageType::OneWayMessageResponse => Ok(Self::OneWayMessageResponse),
                    kind => Err(Undecoded::NotServed(kind)),
                }
            }

            /// Number and payload, for any form.
            pub fn encode(&self) -> TransportMessage {
                let payload = match self {
                    $(Self::$name(body) => body.encode_to_vec(),)*
                    Self::OneWayMessageResponse => Vec::new(),
                };
                TransportMessage { number: self.kind() as i32, payload: payload.into() }
            }

            /// One message of each type, with nothing in it.
            #[cfg(test)]
            pub(crate) fn examples() -> Vec<Self> {
                vec![$(Self::$name(Box::default()),)* Self::OneWayMessageResponse]
            }
        }

        $(impl From<pb::$body> for Message {
            fn from(body: pb::$body) -> Self {
                Self::$name(Box::new(body))
            }
        })*
    };
}

fn body<T: prost::Message + Default>(kind: MessageType, bytes: Bytes) -> Result<Box<T>, Undecoded> {
    T::decode(bytes).map(Box::new).map_err(|error| {
        Undecoded::Malformed(kind, Error::invalid(error.to_string()).with_source(error))
    })
}

messages! {
    RegisterWorker(RegisterWorker),
    HeartbeatFromWorker(HeartbeatFromWorker),
    HeartbeatFromWorkerResponse(HeartbeatFromWorkerResponse),
    RequestSlots(RequestSlots),
    RequestSlotsResponse(RequestSlotsResponse),
    UnregisterShuffle(UnregisterShuffle),
    UnregisterShuffleResponse(UnregisterShuffleResponse),
    ApplicationLost(ApplicationLost),
    ApplicationLostResponse(ApplicationLostResponse),
    HeartbeatFromApplication(HeartbeatFromApplication),
    CheckQuota(CheckQuota),
    CheckQuotaResponse(CheckQuotaResponse),
    ReportWorkerFailure(ReportWorkerUnavailable),
    RegisterWorkerResponse(RegisterWorkerResponse),
    ReserveSlots(ReserveSlots),
    ReserveSlotsResponse(ReserveSlotsResponse),
    CommitFiles(CommitFiles),
    CommitFilesResponse(CommitFilesResponse),
    Destroy(DestroyWorkerSlots),
    DestroyResponse(DestroyWorkerSlotsResponse),
    WorkerLost(WorkerLost),
    WorkerLostResponse(WorkerLostResponse),
    HeartbeatFromApplicationResponse(HeartbeatFromApplicationResponse),
    OpenStream(OpenStream),
    StreamHandler(StreamHandler),
    CheckWorkersAvailable(CheckWorkersAvailable),
    CheckWorkersAvailableResponse(CheckWorkersAvailableResponse),
    RemoveWorkersUnavailableInfo(RemoveWorkersUnavailableInfo),
    PushDataHandShake(PushDataHandShake),
    RegionStart(RegionStart),
    RegionFinish(RegionFinish),
    BacklogAnnouncement(BacklogAnnouncement),
    BufferStreamEnd(BufferStreamEnd),
    ReadAddCredit(ReadAddCredit),
    StreamChunkSlice(StreamChunkSlice),
    ChunkFetchRequest(ChunkFetchRequest),
    TransportableError(TransportableError),
    WorkerExclude(WorkerExclude),
    WorkerExcludeResponse(WorkerExcludeResponse),
    SaslRequest(SaslRequest),
    AuthenticationInitiationRequest(AuthenticationInitiationRequest),
    AuthenticationInitiationResponse(AuthenticationInitiationResponse),
    RegisterApplicationRequest(RegisterApplicationRequest),
    RegisterApplicationResponse(RegisterApplicationResponse),
    WorkerEventRequest(WorkerEventRequest),
    WorkerEventResponse(WorkerEventResponse),
    ApplicationMeta(ApplicationMeta),
    ApplicationMetaRequest(ApplicationMetaRequest),
    BatchOpenStream(OpenStreamList),
    BatchOpenStreamResponse(OpenStreamListResponse),
    ReportWorkerDecommission(ReportWorkerDecommission),
    SegmentStart(SegmentStart),
    NotifyRequiredSegment(NotifyRequiredSegment),
    BatchUnregisterShuffles(BatchUnregisterShuffles),
    BatchUnregisterShuffleResponse(BatchUnregisterShuffleResponse),
    ReviseLostShuffles(ReviseLostShuffles),
    ReviseLostShufflesResponse(ReviseLostShufflesResponse),
    PushMergedDataSplitPartitionInfo(PushMergedDataSplitPartitionInfo),
    RegisterApplicationInfo(RegisterApplicationInfo),
}
