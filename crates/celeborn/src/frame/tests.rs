//! Frames of every type there and back, and bytes that are no frames.

use bytes::Bytes;
use dunlin_base::{Error, Kind, Result};

use super::*;
use crate::Text;

/// A port that takes all types of frames, within small limits.
pub(crate) const LIMITS: Limits =
    Limits { rpc_bytes_max: 4096, push_bytes_max: 4096, chunk_bytes_max: 4096 };

/// All frames of `bytes`, which must end with one.
pub(crate) fn decode(bytes: &[u8], limits: Limits) -> Result<Vec<Frame>> {
    let (mut decoder, mut left, mut frames) = (Decoder::new(limits), bytes, Vec::new());
    while left.len() >= decoder.wants() {
        let (piece, rest) = left.split_at(decoder.wants());
        left = rest;
        frames.extend(decoder.feed(Bytes::copy_from_slice(piece))?);
    }
    match decoder.at_start() && left.is_empty() {
        true => Ok(frames),
        false => Err(Error::invalid("cut")),
    }
}

pub(crate) fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.encode().expect("small").to_bytes().to_vec()
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn merged() -> PushMergedData {
    PushMergedData {
        id: RequestId(9),
        mode: Mode::Primary,
        shuffle_key: "app-1-0".into(),
        partitions: vec!["0-0".into(), "1-0".into(), "0-0".into()],
        offsets: vec![0, 4, 4],
        body: body("abcdefg"),
    }
}

/// One frame of each type at least.
pub(crate) fn frames() -> Vec<Frame> {
    let (id, stream) = (RequestId(7), StreamId(-3));
    let slice = Slice::whole(stream, 2);
    let open = || Open {
        shuffle_key: "app-1-0".into(),
        file_name: "0-0-0".into(),
        start: 0,
        end: i32::MAX,
    };
    let region = || Region {
        mode: Mode::Replica,
        shuffle_key: "app-1-0".into(),
        partition: "3-1".into(),
        attempt: 4,
    };
    let error: Text = "stream über is gone".into();
    let push = PushData {
        id,
        mode: Mode::Replica,
        shuffle_key: "app-1-0".into(),
        partition: "0-0".into(),
        body: body("batch"),
    };
    let mut frames = vec![
        Frame::ChunkFetchRequest(slice),
        Frame::ChunkFetchSuccess(slice, body("chunk")),
        Frame::ChunkFetchFailure(slice, error.clone()),
        Frame::RpcRequest(id, body("question")),
        Frame::RpcResponse(id, Bytes::new()),
        Frame::RpcFailure(id, error.clone()),
        Frame::OneWay(body("news")),
        Frame::PushData(push),
        Frame::PushMergedData(merged()),
        Frame::ReadData(stream, body("buffer")),
        Frame::SubPartitionReadData(stream, 5, body("buffer")),
        Frame::BacklogAnnouncement(stream, 6),
        Frame::TransportableError(stream, error),
        Frame::Heartbeat,
    ];
    let legacy = [
        Legacy::OpenStream(open()),
        Legacy::OpenStreamWithCredit(open(), 8),
        Legacy::StreamHandle(stream, 1),
        Legacy::ReadAddCredit(stream, 2),
        Legacy::BufferStreamEnd(stream),
        Legacy::RegionStart(region(), 1, true),
        Legacy::RegionFinish(region()),
        Legacy::PushDataHandShake(region(), 10, 32 << 10),
    ];
    frames.extend(legacy.map(Frame::Legacy));
    frames
}

/// A frame from its three parts.
fn raw(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend([header, body].concat());
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    let error = decode(bytes, LIMITS).expect_err("is malformed");
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn frames_of_every_type_come_back_from_their_bytes() {
    let frames = frames();
    let bytes: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
    assert_eq!(decode(&bytes, LIMITS).expect("its own"), frames);
    let all = |kind: &FrameType| frames.iter().any(|frame| frame.kind() == *kind);
    assert!(FrameType::ALL.iter().all(all), "a type has no example");
}

#[test]
fn a_heartbeat_is_ten_bytes() {
    assert_eq!(bytes_of(&Frame::Heartbeat), [0, 0, 0, 1, 22, 0, 0, 0, 0, 0]);
}

#[test]
fn lengths_are_of_the_header_and_of_the_body_and_not_of_the_whole() {
    let push = Frame::RpcRequest(RequestId(258), body("xyz"));
    let bytes = [0, 0, 0, 12, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3];
    assert_eq!(bytes_of(&push), [&bytes[..], b"xyz"].concat());
}

#[test]
fn entries_of_a_merged_push_share_its_body() {
    let push = merged();
    let entries: Vec<_> = push.entries().map(|(of, bytes)| (of.to_string(), bytes)).collect();
    let is = |of: &str, text| (of.to_owned(), body(text));
    assert_eq!(entries, [is("0-0", "abcd"), is("1-0", ""), is("0-0", "efg")]);
    assert_eq!(entries[2].1.as_ptr(), push.body[4..].as_ptr());
}

#[test]
fn merged_pushes_whose_entries_are_not_in_order_are_refused() {
    let with = |offsets: &[u32]| {
        let partitions = vec![Text::from("0-0"); offsets.len()];
        let push = PushMergedData { partitions, offsets: offsets.to_vec(), ..merged() };
        bytes_of(&Frame::PushMergedData(push))
    };
    assert!(decode(&with(&[0, 7]), LIMITS).is_ok());
    for offsets in [&[1, 2][..], &[0, 3, 2], &[0, 8], &[]] {
        refusal(&with(offsets));
    }
    let unequal = PushMergedData { offsets: vec![0], ..merged() };
    assert!(Frame::PushMergedData(unequal).encode().is_err());
}

#[test]
fn a_header_with_too_little_or_too_much_is_refused() {
    for frame in frames() {
        let bytes = bytes_of(&frame);
        let end = bytes.len() - frame.body().len();
        let kind = frame.kind() as u8;
        let shorter = raw(kind, &bytes[PREAMBLE_LEN..end - 1], &[]);
        let longer = raw(kind, &[&bytes[PREAMBLE_LEN..end], &[0]].concat(), &[]);
        refusal(&shorter);
        refusal(&longer);
    }
}

#[test]
fn a_body_is_refused_before_it_is_read_if_it_is_too_long_or_has_no_place() {
    for kind in FrameType::ALL {
        let mut decoder = Decoder::new(LIMITS);
        let header_len = kind.header_len().0 as u32;
        let mut preamble = header_len.to_be_bytes().to_vec();
        preamble.push(*kind as u8);
        let longest = kind.body_len_max(LIMITS).unwrap_or(0) as u32;
        preamble.extend((longest + 1).to_be_bytes());
        let error = decoder.feed(preamble.into()).expect_err("too long");
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(decoder.wants(), 0, "nothing more is wanted");
    }
}

#[test]
fn types_without_a_frame_and_unknown_ones_are_refused() {
    for kind in [23, 24] {
        assert!(refusal(&raw(kind, &[0; 8], &[])).contains("as a message only"));
    }
    for kind in [8, 10, 26, 64, 255] {
        assert!(refusal(&raw(kind, &[0; 8], &[])).contains("unknown"));
    }
}

#[test]
fn the_frame_is_known_before_its_body_is_there() {
    let bytes = bytes_of(&Frame::PushMergedData(merged()));
    let mut decoder = Decoder::new(LIMITS);
    let head = bytes.len() - merged().body.len();
    assert_eq!(decoder.feed(Bytes::copy_from_slice(&bytes[..9])).expect("a preamble"), None);
    assert_eq!(decoder.feed(Bytes::copy_from_slice(&bytes[9..head])).expect("a header"), None);
    assert_eq!(decoder.wants(), 7);
    let Some(Frame::PushMergedData(push)) = decoder.body_due() else { panic!("a push") };
    assert_eq!((push.id, push.body.len()), (RequestId(9), 0));
    assert!(!decoder.at_start());
}

#[test]
fn a_long_error_is_cut_and_a_long_name_is_not() {
    let error = Text::from("ü".repeat(1 << 20));
    let bytes = bytes_of(&Frame::RpcFailure(RequestId(1), error));
    let frames = decode(&bytes, LIMITS).expect("cut to what is taken");
    let [Frame::RpcFailure(_, text)] = &frames[..] else { panic!("a failure") };
    assert_eq!(text.len(), 1 << 20);
    let partitions = vec![Text::from("x".repeat(MERGED_HEADER_LEN_MAX))];
    let push = PushMergedData { partitions, offsets: vec![0], ..merged() };
    let error = Frame::PushMergedData(push).encode().expect_err("too long");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn a_decoder_that_refused_something_stays_broken() {
    let mut decoder = Decoder::new(LIMITS);
    assert!(decoder.feed(Bytes::from_static(&[0, 0, 0, 1, 99, 0, 0, 0, 0])).is_err());
    let error = decoder.feed(Bytes::new()).expect_err("nothing says where the next begins");
    assert_eq!(error.kind(), Kind::Invalid);
}
