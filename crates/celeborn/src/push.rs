//! The answers to a push. A failed push is a [`Frame::RpcFailure`](crate::frame::Frame::RpcFailure)
//! whose text [`StatusCode::failure`](crate::status::StatusCode::failure) makes.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::{Error, Result};

use crate::message::Message;
use crate::pb;
use crate::rpc::TransportMessage;
use crate::status::StatusCode;

/// A partition goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// From the next batch on: this one was stored.
    Soft,
    /// From this batch on: it was not stored.
    Hard,
}

impl Split {
    fn code(self) -> StatusCode {
        match self {
            Self::Soft => StatusCode::SoftSplit,
            Self::Hard => StatusCode::HardSplit,
        }
    }

    fn of_number(number: i32) -> Option<Self> {
        match StatusCode::of_number(number)? {
            StatusCode::SoftSplit => Some(Self::Soft),
            StatusCode::HardSplit => Some(Self::Hard),
            _ => None,
        }
    }
}

/// What became of a push that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushReply {
    /// All of it is stored.
    Stored,
    /// It is stored; the worker of the first copy has too much to do.
    StoredButCongested,
    /// It is stored; the worker of the second copy has too much to do.
    StoredButReplicaCongested,
    /// Nothing is stored, nor is it wanted: another attempt of this map has ended.
    MapEnded,
    /// The answer to a push for one partition.
    Split(Split),
    /// The answer to a merged push: entries that go on elsewhere, by their places in it. All others
    /// are stored. Not empty.
    SplitEntries(Vec<(u32, Split)>),
}

impl PushReply {
    /// The body of the response to a push for one partition. `Bug` for split entries, which it cannot
    /// have.
    pub fn encode(&self) -> Result<Bytes> {
        match self {
            Self::Stored => Ok(Bytes::new()),
            _ => self.code().map(one_byte),
        }
    }

    /// The body of the response to a merged push: never empty, or the client waits for ever. `Bug` for
    /// a split without entries.
    pub fn encode_merged(&self) -> Result<Bytes> {
        let Self::SplitEntries(entries) = self else {
            return match self {
                Self::Split(_) => Err(Error::bug("a split of a merged push names no entry")),
                _ => self.code().map(one_byte),
            };
        };
        let Some(first) = entries.iter().map(|(_, split)| *split).max_by_key(|s| *s as u8) else {
            return Err(Error::bug("a split of a merged push has no entry"));
        };
        let place = |place: &u32| i32::try_from(*place).map_err(|_| Error::bug("too many entries"));
        let message = pb::PushMergedDataSplitPartitionInfo {
            split_partition_indexes: entries
                .iter()
                .map(|(at, _)| place(at))
                .collect::<Result<_>>()?,
            status_codes: entries.iter().map(|(_, split)| split.code().number()).collect(),
        };
        let mut bytes = BytesMut::new();
        bytes.put_u8(first.code() as u8);
        Message::from(message).encode().put_bare(&mut bytes)?;
        Ok(bytes.freeze())
    }

    /// What the body of a response says, of a merged push or not: a client, or the worker of the first
    /// copy, wants to know. `Invalid` if it is malformed. A merged push that is answered with a split
    /// of no named entry is [`PushReply::Split`]: of all of them.
    pub fn decode(body: &Bytes) -> Result<Self> {
        let Some(first) = body.first() else { return Ok(Self::Stored) };
        let rest = body.slice(1..);
        match StatusCode::of_number(i32::from(*first)) {
            Some(StatusCode::Success) => Ok(Self::Stored),
            Some(StatusCode::PushDataSuccessPrimaryCongested) => Ok(Self::StoredButCongested),
            Some(StatusCode::PushDataSuccessReplicaCongested) => {
                Ok(Self::StoredButReplicaCongested)
            }
            Some(StatusCode::MapEnded) => Ok(Self::MapEnded),
            Some(code @ (StatusCode::SoftSplit | StatusCode::HardSplit)) => {
                let split = if code == StatusCode::SoftSplit { Split::Soft } else { Split::Hard };
                // Java's workers add the reason in a byte of its own.
                if rest.len() < 2 { Ok(Self::Split(split)) } else { entries(rest) }
            }
            _ => Err(Error::invalid(format!("a push is answered with status {first}"))),
        }
    }

    fn code(&self) -> Result<StatusCode> {
        Ok(match self {
            Self::Stored => StatusCode::Success,
            Self::StoredButCongested => StatusCode::PushDataSuccessPrimaryCongested,
            Self::StoredButReplicaCongested => StatusCode::PushDataSuccessReplicaCongested,
            Self::MapEnded => StatusCode::MapEnded,
            Self::Split(split) => split.code(),
            Self::SplitEntries(_) => return Err(Error::bug("one partition has no split entries")),
        })
    }
}

fn one_byte(code: StatusCode) -> Bytes {
    Bytes::copy_from_slice(&[code as u8])
}

fn entries(bytes: Bytes) -> Result<PushReply> {
    let malformed = || Error::invalid("the split entries of a merged push are malformed");
    let message = Message::decode(TransportMessage::from_bare(bytes)?)?;
    let Message::PushMergedDataSplitPartitionInfo(info) = message else { return Err(malformed()) };
    let (places, codes) = (info.split_partition_indexes, info.status_codes);
    if places.len() != codes.len() || places.is_empty() {
        return Err(malformed());
    }
    let entry = |(place, code)| Some((u32::try_from(place).ok()?, Split::of_number(code)?));
    let entries: Option<_> = places.into_iter().zip(codes).map(entry).collect();
    entries.map(PushReply::SplitEntries).ok_or_else(malformed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The answers of one byte, with that byte.
    const PLAIN: [(PushReply, u8); 4] = [
        (PushReply::StoredButCongested, 30),
        (PushReply::StoredButReplicaCongested, 31),
        (PushReply::MapEnded, 15),
        (PushReply::Stored, 0),
    ];

    pub(crate) fn merged() -> PushReply {
        PushReply::SplitEntries(vec![(1, Split::Soft), (4, Split::Hard)])
    }

    #[test]
    fn the_answers_of_one_byte_are_those_that_clients_know() {
        for (reply, byte) in PLAIN {
            let merged = reply.encode_merged().expect("one byte");
            assert_eq!(merged[..], [byte]);
            assert_eq!(PushReply::decode(&merged).expect("its own"), reply);
            if reply != PushReply::Stored {
                assert_eq!(reply.encode().expect("one byte"), merged);
            }
        }
        for (split, byte) in [(Split::Hard, 21), (Split::Soft, 22)] {
            let reply = PushReply::Split(split).encode().expect("one byte");
            assert_eq!(reply[..], [byte]);
            assert_eq!(PushReply::decode(&reply).expect("its own"), PushReply::Split(split));
        }
    }

    #[test]
    fn a_stored_push_has_an_empty_answer_and_a_merged_one_has_not() {
        assert!(PushReply::Stored.encode().expect("nothing").is_empty());
        assert_eq!(PushReply::Stored.encode_merged().expect("one byte")[..], [0]);
        assert_eq!(PushReply::decode(&Bytes::new()).expect("nothing"), PushReply::Stored);
    }

    #[test]
    fn split_entries_come_after_the_worst_of_them() {
        let bytes = merged().encode_merged().expect("small");
        assert_eq!(bytes[..], *b"\x15\0\0\0\x5b\0\0\0\x08\x0a\x02\x01\x04\x12\x02\x16\x15");
        assert_eq!(PushReply::decode(&bytes).expect("its own"), merged());
        let soft = PushReply::SplitEntries(vec![(0, Split::Soft)]);
        assert_eq!(soft.encode_merged().expect("small")[0], 22);
    }

    #[test]
    fn what_cannot_be_said_is_a_bug() {
        assert!(merged().encode().is_err());
        assert!(PushReply::Split(Split::Hard).encode_merged().is_err());
        assert!(PushReply::SplitEntries(Vec::new()).encode_merged().is_err());
    }

    #[test]
    fn answers_of_another_status_or_with_half_an_entry_are_refused() {
        let bytes = merged().encode_merged().expect("small");
        for wrong in [&b"\x13"[..], b"\xff", &bytes[..bytes.len() - 1]] {
            assert!(PushReply::decode(&Bytes::copy_from_slice(wrong)).is_err());
        }
    }
}
