//! From a header section to a message, without the bodies of its blocks. Every length comes from
//! bytes that are there, so nothing unfolds.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, Result, StageEpoch, StageId};

use crate::block::{Block, HEADER_LEN, ShuffleId};
use crate::shuffle::{Ack, Durability, MapAttempt, Push, Pushed, ReadRequest, Refusal, Wait};

use super::encode::{ATTEMPT_LEN, BUILD_MAX, MAGIC};
use super::failure::{cut, from_wire};
use super::frame::FrameType;
use super::message::{Answer, Ask, Hears, Hello, Message, RequestId, Terms, Welcome};
use super::v1;

/// A header's meaning.
pub(super) enum Parsed {
    /// All of the message.
    Whole(Message),
    /// Blocks whose bodies follow, and the lengths of these.
    Blocks { request: RequestId, of: Carrier, blocks: Vec<Block>, lengths: Vec<usize> },
}

/// What the blocks of a frame are for.
#[derive(Debug)]
pub(super) enum Carrier {
    /// The push, whose blocks come.
    Push(Push, Hears),
    Read,
}

/// The message of a header section whose checksum was right. `Invalid` otherwise than well formed.
pub(super) fn parse(kind: FrameType, message: Bytes) -> Result<Parsed> {
    let message = match kind {
        FrameType::Push => {
            let (request, of, heads) = push(decode(kind, message)?)?;
            return blocks(request, of, heads);
        }
        FrameType::Blocks => {
            let v1::Blocks { request, heads } = decode(kind, message)?;
            return blocks(request, Carrier::Read, heads);
        }
        FrameType::Hello => Message::Hello(hello(decode(kind, message)?)?),
        FrameType::Welcome => Message::Welcome(welcome(decode(kind, message)?)?),
        FrameType::Goodbye => {
            Message::Goodbye(from_wire(decode::<v1::Goodbye>(kind, message)?.failure))
        }
        FrameType::Ping => {
            decode::<v1::Ping>(kind, message)?;
            Message::Ping
        }
        FrameType::Credit => {
            let v1::Amount { request, bytes } = decode(kind, message)?;
            Message::Credit(RequestId(request), bytes)
        }
        FrameType::Cancel => Message::Cancel(plain(kind, message)?),
        FrameType::Seal
        | FrameType::Read
        | FrameType::Discard
        | FrameType::DeleteQuery
        | FrameType::Shuffles => ask(kind, message)?,
        FrameType::Done
        | FrameType::Failed
        | FrameType::Opened
        | FrameType::Want
        | FrameType::Pushed
        | FrameType::Waiting
        | FrameType::ShuffleList => answer(kind, message)?,
    };
    Ok(Parsed::Whole(message))
}

fn ask(kind: FrameType, message: Bytes) -> Result<Message> {
    let (request, ask) = match kind {
        FrameType::Seal => {
            let v1::Seal { request, shuffle: id } = decode(kind, message)?;
            (request, Ask::Seal(shuffle(id)?))
        }
        FrameType::Read => {
            let read: v1::Read = decode(kind, message)?;
            let first = read_request(&read)?;
            let ask = match read.also.is_empty() {
                true => Ask::Read(first, read.credit),
                false => Ask::ReadMany(read_many(first, read.also)?, read.credit),
            };
            (read.request, ask)
        }
        FrameType::Discard => {
            let v1::Discard { request, shuffle: id, map, attempt } = decode(kind, message)?;
            (request, Ask::Discard(shuffle(id)?, MapAttempt { map, attempt: Attempt(attempt) }))
        }
        FrameType::DeleteQuery => {
            let v1::DeleteQuery { request, query: id } = decode(kind, message)?;
            (request, Ask::DeleteQuery(query(&id)?))
        }
        _ => (plain(kind, message)?.0, Ask::Shuffles),
    };
    Ok(Message::Ask(RequestId(request), ask))
}

fn answer(kind: FrameType, message: Bytes) -> Result<Message> {
    let (request, answer) = match kind {
        FrameType::Failed => {
            let v1::Failed { request, failure } = decode(kind, message)?;
            (request, Answer::Failed(from_wire(failure)))
        }
        FrameType::Want => {
            let v1::Amount { request, bytes } = decode(kind, message)?;
            (request, Answer::Want(bytes))
        }
        FrameType::ShuffleList => {
            let v1::ShuffleList { request, ids } = decode(kind, message)?;
            (request, Answer::Shuffles(shuffle_list(ids)?))
        }
        FrameType::Pushed => {
            let answer: v1::Pushed = decode(kind, message)?;
            (answer.request, Answer::Pushed(pushed(answer)))
        }
        FrameType::Waiting => {
            let v1::Waiting { request, why } = decode(kind, message)?;
            (request, Answer::Waiting(wait(why)))
        }
        FrameType::Opened => (plain(kind, message)?.0, Answer::Opened),
        _ => (plain(kind, message)?.0, Answer::Done),
    };
    Ok(Message::Answer(RequestId(request), answer))
}

fn decode<T: prost::Message + Default>(kind: FrameType, message: Bytes) -> Result<T> {
    T::decode(message).map_err(|e| {
        Error::invalid(format!("the header of a {kind:?} frame is malformed: {e}")).with_source(e)
    })
}

fn plain(kind: FrameType, message: Bytes) -> Result<RequestId> {
    Ok(RequestId(decode::<v1::Plain>(kind, message)?.request))
}

fn push(push: v1::Push) -> Result<(u64, Carrier, Bytes)> {
    let v1::Push { request, heads, peer, wants_pushed, last_resort, user, wants_waiting } = push;
    let peer = if peer.is_empty() { None } else { Some(process(&peer)?) };
    let user: Option<Arc<str>> = (!user.is_empty()).then(|| user.into());
    let hears = match (wants_pushed, wants_waiting) {
        (false, _) => Hears::Ends,
        (true, false) => Hears::Pushed,
        (true, true) => Hears::Waiting,
    };
    let push = Push { peer, last_resort, user, ..Push::plain(Vec::new()) };
    Ok((request, Carrier::Push(push, hears), heads))
}

/// What else a worker of a later build waits for is its own affair, as memory is.
fn wait(why: u32) -> Wait {
    match why {
        1 => Wait::Room,
        2 => Wait::Peer,
        _ => Wait::Memory,
    }
}

fn hello(hello: v1::Hello) -> Result<Hello> {
    let v1::Hello { magic, version, build, worker, token_hash } = hello;
    if magic != MAGIC {
        return Err(Error::invalid("a connection to the shuffle begins with the wrong magic"));
    }
    let build = cut(&build, BUILD_MAX).to_owned();
    Ok(Hello { version, build, worker: process(&worker)?, token_hash })
}

fn welcome(welcome: v1::Welcome) -> Result<Welcome> {
    let v1::Welcome { version, build, worker, .. } = welcome;
    let v1::Welcome { calls_max, reads_max, bytes_max, body_max, reads_many, .. } = welcome;
    Ok(Welcome {
        version,
        build: cut(&build, BUILD_MAX).to_owned(),
        worker: process(&worker)?,
        terms: Terms { calls_max, reads_max, bytes_max, body_max, reads_many },
    })
}

fn read_request(read: &v1::Read) -> Result<ReadRequest> {
    let v1::Read { shuffle: id, partition, follow, maps, .. } = read;
    let wrong = !maps.len().is_multiple_of(ATTEMPT_LEN) || (*follow && !maps.is_empty());
    if wrong {
        return Err(malformed_read());
    }
    let maps = (!follow).then(|| attempts(maps));
    Ok(ReadRequest { shuffle: shuffle(id.clone())?, partition: PartitionId(*partition), maps })
}

/// `first` and the partitions after it.
fn read_many(first: ReadRequest, mut also: Bytes) -> Result<Vec<ReadRequest>> {
    if first.maps.is_none() {
        return Err(malformed_read());
    }
    let shuffle = first.shuffle;
    let mut reads = vec![first];
    while !also.is_empty() {
        if also.len() < 2 * size_of::<u32>() {
            return Err(malformed_read());
        }
        let partition = PartitionId(also.get_u32_le());
        let length = (also.get_u32_le() as usize).saturating_mul(ATTEMPT_LEN);
        if length > also.len() {
            return Err(malformed_read());
        }
        let maps = Some(attempts(&also.split_to(length)));
        reads.push(ReadRequest { shuffle, partition, maps });
    }
    Ok(reads)
}

fn attempts(maps: &[u8]) -> Vec<MapAttempt> {
    let attempt = |mut pair: &[u8]| {
        let map = pair.get_u32_le();
        MapAttempt { map, attempt: Attempt(pair.get_u32_le()) }
    };
    maps.chunks_exact(ATTEMPT_LEN).map(attempt).collect()
}

fn malformed_read() -> Error {
    Error::invalid("the maps of a Read frame are malformed")
}

fn blocks(request: u64, of: Carrier, heads: Bytes) -> Result<Parsed> {
    if !heads.len().is_multiple_of(HEADER_LEN) {
        return Err(Error::invalid("the block heads of a frame are cut"));
    }
    let count = heads.len() / HEADER_LEN;
    let (mut blocks, mut lengths) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for head in heads.chunks_exact(HEADER_LEN) {
        let (block, length) = Block::parse_header(head)
            .map_err(|e| Error::invalid(format!("a frame of blocks: {e}")).with_source(e))?;
        blocks.push(block);
        lengths.push(length);
    }
    Ok(Parsed::Blocks { request: RequestId(request), of, blocks, lengths })
}

/// What a worker of a later build says beyond this is answered with what is safe: less durable,
/// elsewhere.
fn pushed(answer: v1::Pushed) -> Pushed {
    let moves = answer.moves.into_iter().map(PartitionId).collect();
    let refusal = match answer.refusal {
        0 => None,
        1 => Some(Refusal::Large),
        2 => Some(Refusal::Draining),
        3 => Some(Refusal::Disk),
        _ => Some(Refusal::Peer),
    };
    if let Some(refusal) = refusal {
        return Pushed::Refused(refusal, moves);
    }
    let durability = match answer.durability {
        1 => Durability::Twice,
        2 => Durability::Object,
        _ => Durability::Memory,
    };
    Pushed::Stored(Ack { durability, slow: answer.slow, moves })
}

fn shuffle_list(ids: Bytes) -> Result<Vec<ShuffleId>> {
    if !ids.len().is_multiple_of(24) {
        return Err(Error::invalid("a list of shuffles is cut"));
    }
    let id = |mut id: &[u8]| ShuffleId {
        query: QueryId::from_u128(id.get_u128()),
        stage: StageId(id.get_u32_le()),
        epoch: StageEpoch(id.get_u32_le()),
    };
    Ok(ids.chunks_exact(24).map(id).collect())
}

fn shuffle(id: Option<v1::Shuffle>) -> Result<ShuffleId> {
    let v1::Shuffle { query: of, stage, epoch } =
        id.ok_or_else(|| Error::invalid("a frame names no shuffle"))?;
    Ok(ShuffleId { query: query(&of)?, stage: StageId(stage), epoch: StageEpoch(epoch) })
}

fn query(bytes: &[u8]) -> Result<QueryId> {
    number(bytes).map(QueryId::from_u128)
}

fn process(bytes: &[u8]) -> Result<ProcessId> {
    number(bytes).map(ProcessId::from_u128)
}

fn number(bytes: &[u8]) -> Result<u128> {
    let bytes = bytes.try_into();
    bytes.map(u128::from_be_bytes).map_err(|_| Error::invalid("an id in a frame is not 16 bytes"))
}
