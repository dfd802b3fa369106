//! Frames there and back, and bytes that are no frames.

use bytes::Bytes;
use dunlin_base::{
    Attempt, Error, Kind, PartitionId, ProcessId, QueryId, Result, StageEpoch, StageId,
};

use super::*;
use crate::block::{Block, BlockId, Codec, ShuffleId};
use crate::shuffle::{Ack, Durability, MapAttempt, Push, Pushed, ReadRequest, Refusal, Wait};

pub(super) const LIMITS: Limits = Limits { header_len_max: HEADER_LEN_MAX, body_len_max: 1 << 20 };

/// A generator of its own: these tests need nothing but different numbers.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn shuffle(n: u64) -> ShuffleId {
    let query = QueryId::from_u128(u128::from(n) << 70 | 5);
    ShuffleId { query, stage: StageId(n as u32), epoch: StageEpoch(2) }
}

fn block(chance: &mut Chance) -> Block {
    let id = BlockId {
        shuffle: shuffle(chance.below(9)),
        partition: PartitionId(chance.below(9) as u32),
        map: chance.below(1 << 32) as u32,
        attempt: Attempt(chance.below(9) as u32),
        batch: chance.below(9) as u32,
    };
    let body: Vec<u8> = (0..chance.below(200)).map(|n| n as u8).collect();
    Block::new(id, 3, Codec::Lz4, Bytes::from(body))
}

fn pushed(chance: &mut Chance) -> Pushed {
    use {Durability::*, Refusal::*};
    let refusal = [Large, Draining, Disk, Peer][chance.below(4) as usize];
    let durability = [Memory, Twice, Object][chance.below(3) as usize];
    let moves = (0..chance.below(3)).map(|n| PartitionId(n as u32)).collect();
    match chance.below(2) {
        0 => Pushed::Refused(refusal, moves),
        _ => Pushed::Stored(Ack { durability, slow: chance.below(2) == 1, moves }),
    }
}

pub(super) fn messages(chance: &mut Chance) -> Vec<Message> {
    let id = RequestId(chance.below(1 << 40));
    let worker = ProcessId::from_u128(1 << 100 | 3);
    let build = "b".repeat(200);
    let blocks: Vec<_> = (0..chance.below(5)).map(|_| block(chance)).collect();
    let attempt = MapAttempt { map: chance.below(99) as u32, attempt: Attempt(u32::MAX) };
    let partition = PartitionId(7);
    let read = |maps| Ask::Read(ReadRequest { shuffle: shuffle(4), partition, maps }, 1 << 50);
    let terms = Terms { calls_max: 1, reads_max: 2, bytes_max: 3, body_max: 4, reads_many: true };
    let part = |partition, maps| {
        let maps = Some(vec![attempt; maps]);
        ReadRequest { shuffle: shuffle(4), partition: PartitionId(partition), maps }
    };
    let many = (0..2 + chance.below(3) as u32).map(|n| part(n, 3 * n as usize)).collect();
    let (peer, user) = (Some(worker), Some("ada".into()));
    let asking = Push { blocks: blocks.clone(), peer, last_resort: true, user };
    let asks = [
        Ask::Push(Push::plain(blocks.clone()), Hears::Ends),
        Ask::Push(Push::plain(blocks.clone()), Hears::Pushed),
        Ask::Push(asking, Hears::Waiting),
        Ask::Seal(shuffle(1)),
        read(None),
        read(Some(vec![attempt; chance.below(50) as usize])),
        Ask::ReadMany(many, 7),
        Ask::Discard(shuffle(2), attempt),
        Ask::DeleteQuery(shuffle(3).query),
        Ask::Shuffles,
    ];
    let answers = [
        Answer::Done,
        Answer::Failed(Error::fenced("too late").with_hint("be earlier")),
        Answer::Opened,
        Answer::Blocks(blocks),
        Answer::Want(u64::MAX),
        Answer::Pushed(pushed(chance)),
        Answer::Waiting([Wait::Memory, Wait::Room, Wait::Peer][chance.below(3) as usize]),
        Answer::Shuffles((0..chance.below(20)).map(shuffle).collect()),
    ];
    let hello =
        Hello { version: 1, build: build.clone(), worker, token_hash: Bytes::from_static(b"t") };
    let others = [
        Message::Hello(hello),
        Message::Welcome(Welcome { version: 1, build, worker, terms }),
        Message::Goodbye(Error::lost("x".repeat(10_000))),
        Message::Ping,
        Message::Credit(id, 0),
        Message::Cancel(id),
    ];
    let asks = asks.into_iter().map(|ask| Message::Ask(id, ask));
    let answers = answers.into_iter().map(|answer| Message::Answer(id, answer));
    others.into_iter().chain(asks).chain(answers).collect()
}

pub(super) fn bytes_of(message: &Message) -> Vec<u8> {
    message.encode(&LIMITS).expect("within the limits").concat()
}

/// Feeds what is wanted until the bytes run out or are no frames.
pub(super) fn decode(mut bytes: &[u8], limits: Limits) -> Result<Vec<Message>> {
    let (mut decoder, mut messages) = (Decoder::new(limits), Vec::new());
    while bytes.len() >= decoder.wants() && !(bytes.is_empty() && decoder.at_start()) {
        let (piece, rest) = bytes.split_at(decoder.wants());
        bytes = rest;
        messages.extend(decoder.feed(Bytes::copy_from_slice(piece))?);
    }
    Ok(messages)
}

#[test]
fn every_message_comes_back_as_it_was() {
    let chance = &mut Chance(1);
    for _ in 0..200 {
        let sent = messages(chance);
        let types: std::collections::HashSet<_> = sent.iter().map(Message::frame_type).collect();
        assert_eq!(types.len(), FrameType::ALL.len(), "all types are tried");
        let bytes: Vec<u8> = sent.iter().flat_map(bytes_of).collect();
        let came = decode(&bytes, LIMITS).expect("own frames");
        assert_eq!(came.len(), sent.len());
        for (came, sent) in came.iter().zip(&sent) {
            assert_eq!(bytes_of(came), bytes_of(sent));
        }
    }
}

#[test]
fn errors_keep_kind_message_and_hint_within_bounds() {
    let kinds = [Kind::Retry, Kind::Fenced, Kind::Invalid, Kind::Exhausted, Kind::Lost, Kind::Bug];
    for kind in kinds {
        let sent = Error::new(kind, "ä".repeat(3000)).with_hint("do this");
        let bytes = bytes_of(&Message::Goodbye(sent.clone()));
        let came = decode(&bytes, Limits::HANDSHAKE).expect("small enough to be said first");
        let [Message::Goodbye(came)] = &came[..] else { panic!("{came:?}") };
        assert_eq!((came.kind(), came.hint()), (kind, Some("do this")));
        assert_eq!(came.message(), "ä".repeat(2048));
    }
}

#[test]
fn bodies_are_not_copied_on_the_way_out() {
    let block = block(&mut Chance(3));
    let sent =
        Message::Ask(RequestId(1), Ask::Push(Push::plain(vec![block.clone()]), Hears::Pushed));
    let pieces = sent.encode(&LIMITS).expect("within the limits");
    assert_eq!(pieces[1].as_ptr(), block.body.as_ptr());
}

#[test]
fn a_changed_bit_outside_the_bodies_is_always_noticed() {
    let chance = &mut Chance(4);
    for message in messages(chance) {
        let whole = bytes_of(&message);
        let bodies: usize = match &message {
            Message::Ask(_, Ask::Push(Push { blocks, .. }, _))
            | Message::Answer(_, Answer::Blocks(blocks)) => {
                blocks.iter().map(|block| block.body.len()).sum()
            }
            _ => 0,
        };
        for at in 0..whole.len() - bodies {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let came = decode(&changed, LIMITS);
                // A length that grew waits for bytes that do not come.
                assert!(came.is_err() || came.is_ok_and(|came| came.is_empty()), "byte {at}");
            }
        }
    }
}

#[test]
fn cut_frames_give_nothing_and_no_error() {
    for message in messages(&mut Chance(5)) {
        let whole = bytes_of(&message);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], LIMITS).expect("nothing wrong yet").is_empty());
        }
    }
}

#[test]
fn random_bytes_are_refused_and_never_panic() {
    let chance = &mut Chance(6);
    for seed in 0..50_000_u64 {
        let mut bytes: Vec<u8> = (0..chance.below(200)).map(|_| chance.below(256) as u8).collect();
        if seed % 2 == 0 && bytes.len() > 17 {
            // A good type, small lengths and a good checksum, so that the message itself is tried.
            let kind = FrameType::ALL[chance.below(FrameType::ALL.len() as u64) as usize] as u8;
            let length = (bytes.len() - PREAMBLE_LEN) as u32;
            let preamble = Preamble { header_len: length, kind, body_len: 0 };
            bytes[..PREAMBLE_LEN].copy_from_slice(&preamble.encode());
            let check = preamble.check(&bytes[PREAMBLE_LEN + CHECK_LEN..]).to_le_bytes();
            bytes[PREAMBLE_LEN..PREAMBLE_LEN + CHECK_LEN].copy_from_slice(&check);
        }
        if let Err(error) = decode(&bytes, LIMITS) {
            assert_eq!(error.kind(), Kind::Invalid, "seed {seed}: {error}");
        }
    }
}

#[test]
fn what_a_decoder_wants_is_within_its_limits() {
    let chance = &mut Chance(7);
    for _ in 0..10_000 {
        let kind = chance.below(256) as u8;
        let (header_len, body_len) = (chance.below(1 << 32) as u32, chance.below(1 << 32) as u32);
        let shift = chance.below(32);
        let preamble = Preamble { header_len: header_len >> shift, kind, body_len };
        let mut decoder = Decoder::new(Limits::HANDSHAKE);
        if decoder.feed(Bytes::copy_from_slice(&preamble.encode())).is_ok() {
            assert!(decoder.wants() <= Limits::HANDSHAKE.header_len_max);
            assert_eq!(body_len, 0, "no bodies in the first exchange");
        }
    }
}

#[test]
fn types_that_are_not_ours_are_named() {
    let celeborn = FrameType::parse(11).expect_err("a push of Celeborn");
    assert!(celeborn.message().contains("Celeborn"), "{celeborn}");
    for byte in 64..=255 {
        let known = FrameType::ALL.iter().any(|kind| *kind as u8 == byte);
        assert_eq!(FrameType::parse(byte).is_ok(), known);
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_sender() {
    let small = Limits { header_len_max: 100, body_len_max: 100 };
    let chance = &mut Chance(8);
    let mut block = block(chance);
    block.body = Bytes::from(vec![0; 101]);
    let push = Message::Ask(RequestId(1), Ask::Push(Push::plain(vec![block]), Hears::Pushed));
    assert_eq!(push.encode(&small).expect_err("too large").kind(), Kind::Exhausted);
    let error = Message::Goodbye(Error::retry("x".repeat(200)));
    assert_eq!(error.encode(&small).expect_err("too large").kind(), Kind::Exhausted);
}

#[test]
fn small_bodies_come_in_one_piece() {
    let chance = &mut Chance(5);
    let sized = |chance: &mut Chance, length: usize| {
        let id = block(chance).id;
        Block::new(id, 1, Codec::Columns, Bytes::from(vec![chance.below(256) as u8; length]))
    };
    let lengths = [3, 0, 8 << 10, 20 << 10, 5, 1, 9 << 10, 0];
    let blocks: Vec<_> = lengths.iter().map(|length| sized(chance, *length)).collect();
    let read = Message::Answer(RequestId(1), Answer::Blocks(blocks.clone()));
    let push = Message::Ask(RequestId(1), Ask::Push(Push::plain(blocks), Hears::Pushed));
    let joined = [3 + (8 << 10), 20 << 10, 6, 9 << 10, 0];
    for message in [read, push] {
        let bytes = bytes_of(&message);
        let (mut left, mut decoder) = (bytes.as_slice(), Decoder::new(LIMITS));
        let (mut pieces, mut came) = (Vec::new(), None);
        while came.is_none() {
            let (piece, rest) = left.split_at(decoder.wants());
            left = rest;
            pieces.push(piece.len());
            came = decoder.feed(Bytes::copy_from_slice(piece)).expect("an own frame");
        }
        assert_eq!(pieces[2..], joined, "after preamble and header");
        assert_eq!(came.map(|came| bytes_of(&came)), Some(bytes));
    }
}
