//! From a message to the pieces of its frame. Bodies of blocks are pieces as they are.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::{ByteCount, Error, PartitionId, ProcessId, QueryId, Result};

use crate::block::{Block, HEADER_LEN, ShuffleId};
use crate::shuffle::{Ack, Durability, MapAttempt, Push, Pushed, ReadRequest, Refusal, Wait};

use super::decoder::Limits;
use super::failure::{cut, to_wire};
use super::frame::{CHECK_LEN, FrameType, PREAMBLE_LEN, Preamble};
use super::message::{Answer, Ask, Hears, Hello, Message, RequestId, Welcome};
use super::v1;

/// "DLNW".
pub(super) const MAGIC: u32 = 0x444c_4e57;

/// Bytes of a map attempt.
pub(super) const ATTEMPT_LEN: usize = 8;

/// Bytes of a build's name.
pub(super) const BUILD_MAX: usize = 128;

impl Message {
    /// The frame, in pieces that follow one another. `Exhausted` names the limit if the frame is
    /// larger than the receiver takes.
    pub fn encode(&self, limits: &Limits) -> Result<Vec<Bytes>> {
        let kind = self.frame_type();
        match self {
            Self::Hello(hello) => frame(kind, &hello.to_wire(), &[], limits),
            Self::Welcome(welcome) => frame(kind, &welcome.to_wire(), &[], limits),
            Self::Goodbye(error) => {
                frame(kind, &v1::Goodbye { failure: Some(to_wire(error)) }, &[], limits)
            }
            Self::Ping => frame(kind, &v1::Ping {}, &[], limits),
            Self::Ask(request, ask) => ask.encode(*request, limits),
            Self::Answer(request, answer) => encode_answer(*request, answer, kind, limits),
            Self::Credit(request, bytes) => {
                frame(kind, &v1::Amount { request: request.0, bytes: *bytes }, &[], limits)
            }
            Self::Cancel(request) => frame(kind, &v1::Plain { request: request.0 }, &[], limits),
        }
    }
}

impl Ask {
    /// The frame of [`Message::Ask`], without giving the request away.
    pub fn encode(&self, id: RequestId, limits: &Limits) -> Result<Vec<Bytes>> {
        encode_ask(id, self, self.frame_type(), limits)
    }
}

fn encode_ask(id: RequestId, ask: &Ask, kind: FrameType, limits: &Limits) -> Result<Vec<Bytes>> {
    let request = id.0;
    match ask {
        Ask::Push(push, hears) => {
            frame(kind, &push_to_wire(request, push, *hears), &push.blocks, limits)
        }
        Ask::Seal(id) => frame(kind, &v1::Seal { request, shuffle: shuffle(*id) }, &[], limits),
        Ask::Read(ReadRequest { shuffle: id, partition, maps }, credit) => {
            let follow = maps.is_none();
            let maps = attempts(maps.as_deref().unwrap_or_default());
            let (shuffle, partition, credit) = (shuffle(*id), partition.0, *credit);
            let also = Bytes::new();
            let read = v1::Read { request, shuffle, partition, follow, maps, credit, also };
            frame(kind, &read, &[], limits)
        }
        Ask::ReadMany(reads, credit) => {
            frame(kind, &many_to_wire(request, reads, *credit)?, &[], limits)
        }
        Ask::Discard(id, MapAttempt { map, attempt }) => {
            let (map, attempt) = (*map, attempt.0);
            let discard = v1::Discard { request, shuffle: shuffle(*id), map, attempt };
            frame(kind, &discard, &[], limits)
        }
        Ask::DeleteQuery(id) => {
            frame(kind, &v1::DeleteQuery { request, query: query(*id) }, &[], limits)
        }
        Ask::Shuffles => frame(kind, &v1::Plain { request }, &[], limits),
    }
}

fn encode_answer(
    id: RequestId,
    answer: &Answer,
    kind: FrameType,
    limits: &Limits,
) -> Result<Vec<Bytes>> {
    let request = id.0;
    match answer {
        Answer::Done | Answer::Opened => frame(kind, &v1::Plain { request }, &[], limits),
        Answer::Failed(error) => {
            frame(kind, &v1::Failed { request, failure: Some(to_wire(error)) }, &[], limits)
        }
        Answer::Blocks(blocks) => {
            frame(kind, &v1::Blocks { request, heads: heads(blocks) }, blocks, limits)
        }
        Answer::Pushed(pushed) => frame(kind, &pushed_to_wire(request, pushed), &[], limits),
        Answer::Waiting(why) => {
            let why = match why {
                Wait::Memory => 0,
                Wait::Room => 1,
                Wait::Peer => 2,
            };
            frame(kind, &v1::Waiting { request, why }, &[], limits)
        }
        Answer::Want(bytes) => frame(kind, &v1::Amount { request, bytes: *bytes }, &[], limits),
        Answer::Shuffles(ids) => {
            let mut bytes = BytesMut::with_capacity(ids.len() * 24);
            for id in ids {
                bytes.put_slice(&id.query.to_u128().to_be_bytes());
                bytes.put_u32_le(id.stage.0);
                bytes.put_u32_le(id.epoch.0);
            }
            frame(kind, &v1::ShuffleList { request, ids: bytes.freeze() }, &[], limits)
        }
    }
}

fn push_to_wire(request: u64, push: &Push, hears: Hears) -> v1::Push {
    let Push { blocks, peer, last_resort, user } = push;
    v1::Push {
        request,
        heads: heads(blocks),
        peer: peer.map(process).unwrap_or_default(),
        wants_pushed: hears >= Hears::Pushed,
        last_resort: *last_resort,
        user: user.as_deref().unwrap_or_default().to_owned(),
        wants_waiting: hears >= Hears::Waiting,
    }
}

fn many_to_wire(request: u64, reads: &[ReadRequest], credit: u64) -> Result<v1::Read> {
    let Some((first, rest)) = reads.split_first() else {
        return Err(Error::bug("a read of no partition"));
    };
    if reads.iter().any(|read| read.shuffle != first.shuffle || read.maps.is_none()) {
        return Err(Error::bug("one read of several shuffles, or one that follows among others"));
    }
    let maps = |read: &ReadRequest| attempts(read.maps.as_deref().unwrap_or_default());
    let mut also = BytesMut::new();
    for read in rest {
        let maps = maps(read);
        also.put_u32_le(read.partition.0);
        also.put_u32_le((maps.len() / ATTEMPT_LEN) as u32);
        also.put_slice(&maps);
    }
    Ok(v1::Read {
        request,
        shuffle: shuffle(first.shuffle),
        partition: first.partition.0,
        follow: false,
        maps: maps(first),
        credit,
        also: also.freeze(),
    })
}

fn pushed_to_wire(request: u64, pushed: &Pushed) -> v1::Pushed {
    let answer = v1::Pushed { request, ..v1::Pushed::default() };
    let numbers = |moves: &[PartitionId]| moves.iter().map(|partition| partition.0).collect();
    match pushed {
        Pushed::Stored(Ack { durability, slow, moves }) => {
            let durability = match durability {
                Durability::Memory => 0,
                Durability::Twice => 1,
                Durability::Object => 2,
            };
            v1::Pushed { durability, slow: *slow, moves: numbers(moves), ..answer }
        }
        Pushed::Refused(why, moves) => {
            let refusal = match why {
                Refusal::Large => 1,
                Refusal::Draining => 2,
                Refusal::Disk => 3,
                Refusal::Peer => 4,
            };
            v1::Pushed { refusal, moves: numbers(moves), ..answer }
        }
    }
}

impl Hello {
    fn to_wire(&self) -> v1::Hello {
        v1::Hello {
            magic: MAGIC,
            version: self.version,
            build: cut(&self.build, BUILD_MAX).to_owned(),
            worker: process(self.worker),
            token_hash: self.token_hash.clone(),
        }
    }
}

impl Welcome {
    fn to_wire(&self) -> v1::Welcome {
        v1::Welcome {
            version: self.version,
            build: cut(&self.build, BUILD_MAX).to_owned(),
            worker: process(self.worker),
            calls_max: self.terms.calls_max,
            reads_max: self.terms.reads_max,
            bytes_max: self.terms.bytes_max,
            body_max: self.terms.body_max,
            reads_many: self.terms.reads_many,
        }
    }
}

/// Joins preamble, checksum and message, and puts the bodies behind them.
fn frame(
    kind: FrameType,
    message: &impl prost::Message,
    blocks: &[Block],
    limits: &Limits,
) -> Result<Vec<Bytes>> {
    let header_len = CHECK_LEN + message.encoded_len();
    let body_len: usize = blocks.iter().map(|block| block.body.len()).sum();
    let header_len = within("header", kind, header_len, limits.header_len_max)?;
    let body_len = within("body", kind, body_len, limits.body_len_max)?;
    let preamble = Preamble { header_len, kind: kind as u8, body_len };
    let start = PREAMBLE_LEN + CHECK_LEN;
    let mut head = BytesMut::with_capacity(PREAMBLE_LEN + header_len as usize);
    head.put_slice(&preamble.encode());
    head.put_bytes(0, CHECK_LEN);
    message
        .encode(&mut head)
        .map_err(|e| Error::bug(format!("cannot encode a {kind:?} frame: {e}")))?;
    let check = preamble.check(&head[start..]);
    head[PREAMBLE_LEN..start].copy_from_slice(&check.to_le_bytes());
    let bodies = blocks.iter().map(|block| block.body.clone()).filter(|body| !body.is_empty());
    Ok(std::iter::once(head.freeze()).chain(bodies).collect())
}

fn within(part: &str, kind: FrameType, length: usize, max: usize) -> Result<u32> {
    let fits = u32::try_from(length).ok().filter(|_| length <= max);
    fits.ok_or_else(|| {
        let [length, max] = [length, max].map(|n| ByteCount(n as u64));
        let text = format!("the {part} of a {kind:?} frame takes {length}, the limit is {max}");
        Error::exhausted(text)
            .with_hint("raise the limit on frames of the shuffle, or lower the size of blocks")
    })
}

fn heads(blocks: &[Block]) -> Bytes {
    let mut heads = BytesMut::with_capacity(blocks.len() * HEADER_LEN);
    for block in blocks {
        heads.put_slice(&block.header());
    }
    heads.freeze()
}

fn attempts(maps: &[MapAttempt]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(maps.len() * ATTEMPT_LEN);
    for MapAttempt { map, attempt } in maps {
        bytes.put_u32_le(*map);
        bytes.put_u32_le(attempt.0);
    }
    bytes.freeze()
}

fn shuffle(id: ShuffleId) -> Option<v1::Shuffle> {
    Some(v1::Shuffle { query: query(id.query), stage: id.stage.0, epoch: id.epoch.0 })
}

fn query(id: QueryId) -> Bytes {
    Bytes::copy_from_slice(&id.to_u128().to_be_bytes())
}

fn process(id: ProcessId) -> Bytes {
    Bytes::copy_from_slice(&id.to_u128().to_be_bytes())
}
