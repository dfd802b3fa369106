//! Whose a message is.

use crate::ids::ShuffleKey;

use super::Message;

impl Message {
    /// The application that a request to a master or a worker names, by itself or with a shuffle of it.
    /// `None`: it is about none. A server that asks who clients are compares it with who asks.
    pub fn application(&self) -> Option<&str> {
        Some(match self {
            Self::RegisterApplicationInfo(asked) => &asked.app_id,
            Self::RegisterApplicationRequest(asked) => &asked.id,
            Self::HeartbeatFromApplication(asked) => &asked.app_id,
            Self::ApplicationLost(asked) => &asked.app_id,
            Self::ApplicationMetaRequest(asked) => &asked.app_id,
            Self::RequestSlots(asked) => &asked.application_id,
            Self::UnregisterShuffle(asked) => &asked.app_id,
            Self::BatchUnregisterShuffles(asked) => &asked.app_id,
            Self::ReviseLostShuffles(asked) => &asked.app_id,
            Self::ReserveSlots(asked) => &asked.application_id,
            Self::CommitFiles(asked) => &asked.application_id,
            Self::Destroy(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::OpenStream(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::BatchOpenStream(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::PushDataHandShake(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::RegionStart(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::RegionFinish(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            Self::SegmentStart(asked) => ShuffleKey::application_of(&asked.shuffle_key),
            _ => return None,
        })
    }
}
