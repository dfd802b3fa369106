//! Frames and blocks as the first build wrote them: `tests/fixtures/wire-1.hex` and `block-1.hex`,
//! of version 1 of the protocol and of blocks. What they are decoded to and what is written may never
//! change within a version. Set `DUNLIN_WRITE_FIXTURES` to write them anew, which is right only for
//! what was added.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use bytes::Bytes;
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, StageEpoch, StageId};

use super::tests::{LIMITS, bytes_of, decode};
use super::*;
use crate::block::{Block, BlockId, Codec, HEADER_LEN, ShuffleId};
use crate::shuffle::{Ack, Durability, MapAttempt, Push, Pushed, ReadRequest, Refusal, Wait};

/// Hexadecimal digits of a line.
const LINE: usize = 96;

/// What a fixture holds, by name: names at the start of a line, and lines of digits below them.
fn read(name: &str) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(path(name)).expect("is there");
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        match line.strip_prefix("  ") {
            Some(digits) => found.get_mut(&last).expect("a name first").push_str(digits),
            None => {
                last = line.to_owned();
                assert!(found.insert(last.clone(), String::new()).is_none(), "{last} twice");
            }
        }
    }
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).expect("digits");
        u8::from_str_radix(digits, 16).expect("hexadecimal")
    };
    let bytes = |digits: String| digits.as_bytes().chunks(2).map(byte).collect();
    found.into_iter().map(|(name, digits)| (name, bytes(digits))).collect()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Writes a fixture, if that is wanted.
fn write(name: &str, all: &[(&str, Vec<u8>)]) {
    if std::env::var_os("DUNLIN_WRITE_FIXTURES").is_none() {
        return;
    }
    let mut text = String::new();
    for (name, bytes) in all {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(name);
        text.push('\n');
        for line in digits.as_bytes().chunks(LINE) {
            text.push_str("  ");
            text.push_str(std::str::from_utf8(line).expect("digits"));
            text.push('\n');
        }
    }
    std::fs::write(path(name), text).expect("written");
}

fn shuffle() -> ShuffleId {
    let query = QueryId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    ShuffleId { query, stage: StageId(0x1112), epoch: StageEpoch(3) }
}

fn block(partition: u32, codec: Codec, body: &'static [u8]) -> Block {
    let (map, attempt, batch) = (0x2122, Attempt(4), 5);
    let id = BlockId { shuffle: shuffle(), partition: PartitionId(partition), map, attempt, batch };
    Block::new(id, 6, codec, Bytes::from_static(body))
}

fn asks() -> Vec<(&'static str, Message)> {
    let id = RequestId(0x0007_0000_0001);
    let worker = ProcessId::from_u128(0x31_3233_3435);
    let one = MapAttempt { map: 7, attempt: Attempt(1) };
    let two = MapAttempt { map: 8, attempt: Attempt(u32::MAX) };
    let read = |partition, maps| ReadRequest {
        shuffle: shuffle(),
        partition: PartitionId(partition),
        maps,
    };
    let blocks = vec![block(9, Codec::Columns, b"one body"), block(10, Codec::Plain, b"")];
    let asks = [
        ("push of an older client", Ask::Push(Push::plain(blocks.clone()), Hears::Ends)),
        (
            "push",
            Ask::Push(
                Push { blocks: blocks.clone(), peer: Some(worker), last_resort: true, user: None },
                Hears::Pushed,
            ),
        ),
        ("push of nothing", Ask::Push(Push::plain(Vec::new()), Hears::Pushed)),
        ("push that hears", Ask::Push(Push::plain(blocks), Hears::Waiting)),
        ("seal", Ask::Seal(shuffle())),
        ("read", Ask::Read(read(9, Some(vec![one, two])), 1 << 40)),
        ("read of no maps", Ask::Read(read(9, Some(Vec::new())), 0)),
        ("read that follows", Ask::Read(read(0, None), 5)),
        (
            "read of many",
            Ask::ReadMany(vec![read(9, Some(vec![one])), read(11, Some(vec![one, two]))], 6),
        ),
        ("discard", Ask::Discard(shuffle(), one)),
        ("delete query", Ask::DeleteQuery(shuffle().query)),
        ("shuffles", Ask::Shuffles),
    ];
    asks.into_iter().map(|(name, ask)| (name, Message::Ask(id, ask))).collect()
}

fn answers() -> Vec<(&'static str, Message)> {
    let id = RequestId(2);
    let moves = vec![PartitionId(1), PartitionId(0x4142)];
    let ack = |durability, slow| {
        Answer::Pushed(Pushed::Stored(Ack { durability, slow, moves: Vec::new() }))
    };
    let refused = |why| Answer::Pushed(Pushed::Refused(why, moves.clone()));
    let stored = Ack { durability: Durability::Object, slow: true, moves: moves.clone() };
    let answers = [
        ("done", Answer::Done),
        ("failed", Answer::Failed(Error::lost("it is gone").with_hint("make it anew"))),
        ("opened", Answer::Opened),
        (
            "blocks",
            Answer::Blocks(vec![block(9, Codec::Lz4, b"a body"), block(9, Codec::Columns, b"x")]),
        ),
        ("want", Answer::Want(1 << 33)),
        ("list of shuffles", Answer::Shuffles(vec![shuffle(), shuffle()])),
        ("stored in memory", ack(Durability::Memory, false)),
        ("stored twice", ack(Durability::Twice, true)),
        ("stored in an object", Answer::Pushed(Pushed::Stored(stored))),
        ("refused as large", refused(Refusal::Large)),
        ("refused as draining", refused(Refusal::Draining)),
        ("refused by a disk", refused(Refusal::Disk)),
        ("refused by a peer", refused(Refusal::Peer)),
        ("waiting for memory", Answer::Waiting(Wait::Memory)),
        ("waiting for room", Answer::Waiting(Wait::Room)),
        ("waiting for a peer", Answer::Waiting(Wait::Peer)),
    ];
    answers.into_iter().map(|(name, answer)| (name, Message::Answer(id, answer))).collect()
}

fn messages() -> Vec<(&'static str, Message)> {
    let worker = ProcessId::from_u128(0x31_3233_3435);
    let (version, build, token_hash) = (1, "a build".to_owned(), Bytes::from_static(b"hash"));
    let terms = Terms {
        calls_max: 256,
        reads_max: 1024,
        bytes_max: 1 << 28,
        body_max: 1 << 27,
        reads_many: true,
    };
    let hello = Hello { version, build: build.clone(), worker, token_hash };
    let error = |kind: fn(&str) -> Error| Message::Goodbye(kind("why"));
    let others = [
        ("hello", Message::Hello(hello)),
        ("welcome", Message::Welcome(Welcome { version, build, worker, terms })),
        ("goodbye retry", error(|text| Error::retry(text))),
        ("goodbye fenced", error(|text| Error::fenced(text))),
        ("goodbye invalid", error(|text| Error::invalid(text))),
        ("goodbye exhausted", error(|text| Error::exhausted(text))),
        ("goodbye lost", error(|text| Error::lost(text))),
        ("goodbye bug", error(|text| Error::bug(text))),
        ("ping", Message::Ping),
        ("credit", Message::Credit(RequestId(3), 1 << 20)),
        ("cancel", Message::Cancel(RequestId(4))),
    ];
    others.into_iter().chain(asks()).chain(answers()).collect()
}

fn only(mut messages: Vec<Message>) -> Message {
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

#[test]
fn frames_of_the_first_build_are_understood_and_written_as_then() {
    let all: Vec<_> = messages();
    let bytes: Vec<_> = all.iter().map(|(name, message)| (*name, bytes_of(message))).collect();
    write("wire-1.hex", &bytes);
    let fixture = read("wire-1.hex");
    assert_eq!(fixture.len(), all.len(), "each has its frame");
    let types: HashSet<_> = all.iter().map(|(_, message)| message.frame_type()).collect();
    assert_eq!(types.len(), FrameType::ALL.len(), "each type has a frame");
    for (name, message) in &all {
        let old = &fixture[*name];
        let came = only(decode(old, LIMITS).unwrap_or_else(|e| panic!("{name}: {e}")));
        assert_eq!(format!("{came:?}"), format!("{message:?}"), "{name} means what it meant");
        assert_eq!(&bytes_of(&came), old, "{name} is written as it was");
        assert_eq!(&bytes_of(message), old, "{name} is written as it was");
    }
}

/// The frame with these bytes behind its message, as a later build may send it.
fn with_fields(frame: &[u8], fields: &[u8]) -> Vec<u8> {
    let (head, rest) = frame.split_first_chunk::<PREAMBLE_LEN>().expect("a frame");
    let mut preamble = Preamble::decode(*head);
    let (header, bodies) = rest.split_at(preamble.header_len as usize);
    let message = [&header[CHECK_LEN..], fields].concat();
    preamble.header_len += fields.len() as u32;
    let check = preamble.check(&message).to_le_bytes();
    [&preamble.encode()[..], &check, &message, bodies].concat()
}

#[test]
fn fields_of_a_later_build_are_passed_over_in_every_frame() {
    // Field 900 as a number, 901 as 8 bytes, 902 as bytes, 903 as 4 bytes.
    let (number, eight) = ([0xa0, 0x38, 0x96, 0x01], [0xa9, 0x38, 1, 2, 3, 4, 5, 6, 7, 8]);
    let (bytes, four) = ([0xb2, 0x38, 3, b'n', b'e', b'w'], [0xbd, 0x38, 1, 2, 3, 4]);
    let all = [&number[..], &eight, &bytes, &four].concat();
    for (name, frame) in read("wire-1.hex") {
        let plain = only(decode(&frame, LIMITS).expect("known"));
        for fields in [&number[..], &eight, &bytes, &four, &all] {
            let later = with_fields(&frame, fields);
            let came = decode(&later, LIMITS).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(format!("{:?}", only(came)), format!("{plain:?}"), "{name}");
        }
    }
}

#[test]
fn what_a_later_worker_says_of_a_push_is_taken_as_what_is_safe() {
    let all = read("wire-1.hex");
    let pushed = |name: &str, fields: &[u8]| {
        let came = only(decode(&with_fields(&all[name], fields), LIMITS).expect("known"));
        let Message::Answer(_, Answer::Pushed(pushed)) = came else { panic!("{came:?}") };
        pushed
    };
    // Of a field that comes twice the last counts: durability 9, refusal 9.
    let stored = pushed("stored in an object", &[0x10, 9]);
    assert!(matches!(stored, Pushed::Stored(ack) if ack.durability == Durability::Memory));
    let refused = pushed("refused as large", &[0x20, 9]);
    assert!(matches!(refused, Pushed::Refused(Refusal::Peer, moves) if moves.len() == 2));
    // Reason 9.
    let waiting =
        only(decode(&with_fields(&all["waiting for room"], &[0x10, 9]), LIMITS).expect("known"));
    assert!(matches!(waiting, Message::Answer(_, Answer::Waiting(Wait::Memory))), "{waiting:?}");
}

#[test]
fn who_does_not_say_that_it_knows_the_answers_of_a_push_is_not_taken_to_know_them() {
    let all = read("wire-1.hex");
    let hears = |name: &str, fields: &[u8]| match only(
        decode(&with_fields(&all[name], fields), LIMITS).expect("known"),
    ) {
        Message::Ask(_, Ask::Push(_, hears)) => hears,
        other => panic!("{other:?}"),
    };
    assert_eq!(hears("push of an older client", &[]), Hears::Ends);
    assert_eq!(hears("push of nothing", &[]), Hears::Pushed);
    assert_eq!(hears("push that hears", &[]), Hears::Waiting);
    // `wants_waiting` alone, as no build says it.
    assert_eq!(hears("push of an older client", &[0x38, 1]), Hears::Ends);
}

#[test]
fn a_type_of_a_later_build_is_one_clear_error() {
    for kind in [104, 200, 255] {
        let ping = &read("wire-1.hex")["ping"];
        let head = ping.first_chunk::<PREAMBLE_LEN>().expect("a frame");
        let preamble = Preamble { kind, ..Preamble::decode(*head) };
        let bytes = [&preamble.encode()[..], &ping[PREAMBLE_LEN..]].concat();
        let error = decode(&bytes, LIMITS).expect_err("not known here");
        assert_eq!(error.message(), format!("unknown frame type {kind}"));
        assert_eq!(error.kind(), dunlin_base::Kind::Invalid);
    }
}

#[test]
fn blocks_of_the_first_build_are_understood_and_written_as_then() {
    let all = [
        ("ipc", block(1, Codec::Plain, b"a body")),
        ("ipc in lz4", block(u32::MAX, Codec::Lz4, b"")),
        ("columns", block(0, Codec::Columns, &[0; 100])),
    ];
    let bytes = |block: &Block| [&block.header()[..], &block.body].concat();
    let stored: Vec<_> = all.iter().map(|(name, block)| (*name, bytes(block))).collect();
    write("block-1.hex", &stored);
    let fixture = read("block-1.hex");
    assert_eq!(fixture.len(), all.len());
    for (name, block) in &all {
        let old = &fixture[*name];
        let (found, length) = Block::parse_header(old).expect("known");
        assert_eq!(length, old.len() - HEADER_LEN, "{name}");
        let found = Block { body: Bytes::copy_from_slice(&old[HEADER_LEN..]), ..found };
        found.verify().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(format!("{found:?}"), format!("{block:?}"), "{name}");
        assert_eq!(&bytes(&found), old, "{name}");
    }
}
