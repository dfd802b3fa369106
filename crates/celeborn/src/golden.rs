//! Bytes of others: what a stock client sent, what a JDK wrote, what Java's Roaring bitmaps are. The
//! files in `tests/fixtures` say in their first lines how they came about.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use crate::batch::batches;
use crate::bitmap::MapIds;
use crate::bitmap::tests::set;
use crate::frame::tests::{LIMITS, bytes_of, decode};
use crate::frame::{Frame, Mode, Slice, StreamId};
use crate::location::unpack;
use crate::message::Message;
use crate::pb;
use crate::rpc::{Content, Envelope, Form, NotLeader, TransportMessage, exists, exists_reply};

/// What a fixture holds, by name: names at the start of a line, and lines of digits below them.
fn read(name: &str) -> BTreeMap<String, Bytes> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(path).expect("is there");
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut last = String::new();
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).expect("digits");
        u8::from_str_radix(digits, 16).expect("hexadecimal")
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(digits) => {
                let bytes = digits.as_bytes().chunks(2).map(byte);
                found.get_mut(&last).expect("a name first").extend(bytes);
            }
            None => {
                last = line.to_owned();
                assert!(found.insert(last.clone(), Vec::new()).is_none(), "{last} twice");
            }
        }
    }
    found.into_iter().map(|(name, bytes)| (name, bytes.into())).collect()
}

/// The one frame of each name, which is written again as it came.
fn frames() -> BTreeMap<String, Frame> {
    let one = |(name, bytes): (String, Bytes)| {
        let mut frames = decode(&bytes, LIMITS).unwrap_or_else(|e| panic!("{name}: {e}"));
        let frame = frames.pop().expect("one");
        assert!(frames.is_empty());
        assert_eq!(bytes_of(&frame), bytes, "{name} is written otherwise");
        (name, frame)
    };
    read("client-0.5.4.hex").into_iter().map(one).collect()
}

/// What a request to a control port asks, which is written again as it came.
fn asked(frame: &Frame) -> Message {
    let (Frame::RpcRequest(_, body) | Frame::OneWay(body)) = frame else { panic!("{frame:?}") };
    let envelope = Envelope::decode(body.clone()).expect("an envelope");
    assert_eq!(envelope.encode().expect("as long as it was"), body);
    assert_eq!(envelope.endpoint, "MasterEndpoint");
    assert_eq!(envelope.sender.expect("a driver listens").port, 19_777);
    let content = Content::decode(envelope.content.clone()).expect("a content");
    assert_eq!(content.encode().expect("as long as it was"), envelope.content);
    let Content::Message(message, Form::OldJava) = content else { panic!("{content:?}") };
    again(message)
}

fn again(sent: TransportMessage) -> Message {
    let message = Message::decode(sent.clone()).expect("a message");
    assert_eq!(message.encode(), sent, "{:?} is written otherwise", message.kind());
    message
}

#[test]
fn frames_of_a_stock_client_are_read_and_written_as_they_are() {
    let frames = frames();
    assert_eq!(frames.len(), 34);
    let slice = Slice { stream: StreamId(77), chunk: 3, offset: 4, len: 5 };
    let failure = Frame::ChunkFetchFailure(slice, "über".into());
    assert_eq!(frames["chunk-fetch-failure"], failure);
    assert_eq!(frames["heartbeat"], Frame::Heartbeat);
    let Frame::PushMergedData(push) = &frames["push-merged-data"] else { panic!("a push") };
    assert_eq!((&*push.shuffle_key, push.mode), ("app-1-0", Mode::Primary));
    for (partition, bytes) in push.entries() {
        let batches: Vec<_> = batches(&bytes).map(|one| one.expect("whole").0).collect();
        let [batch] = &batches[..] else { panic!("one in {partition}") };
        assert_eq!((batch.map, batch.attempt, batch.batch, batch.len), (7, 0, 1, 4));
    }
}

#[test]
fn requests_of_a_stock_driver_mean_what_it_asked() {
    let frames = frames();
    let Frame::RpcRequest(_, body) = &frames["check-existence"] else { panic!("a question") };
    let envelope = Envelope::decode(body.clone()).expect("an envelope");
    assert_eq!(envelope.endpoint, crate::rpc::endpoint::VERIFIER);
    let check = Content::CheckExistence("MasterEndpoint".to_owned());
    assert_eq!(Content::decode(envelope.content).expect("a check"), check);
    let Message::HeartbeatFromApplication(beat) = asked(&frames["heartbeat-from-application"])
    else {
        panic!("a heartbeat")
    };
    assert_eq!((&*beat.app_id, beat.total_written, beat.should_response), ("app-1", 100, true));
    assert_eq!(beat.need_checked_worker_list[0].replicate_port, 4);
    let Message::RequestSlots(slots) = asked(&frames["request-slots"]) else { panic!("slots") };
    assert_eq!((&slots.partition_id_list[..], slots.max_workers), (&[0, 1, 2][..], 10_000));
    assert!(slots.packed && slots.should_replicate && !slots.should_rack_aware);
    let user = slots.user_identifier.expect("a user");
    assert_eq!((&*user.tenant_id, &*user.name), ("default", "default"));
    let Message::CommitFiles(commit) = asked(&frames["commit-files"]) else { panic!("a commit") };
    assert_eq!((&commit.map_attempts[..], commit.epoch), (&[0, -1, 3][..], 1));
    assert_eq!(commit.primary_ids, ["0-0", "1-0"]);
    assert_eq!(commit.replica_ids, ["2-0"]);
    for (name, number) in [
        ("check-workers-available", 53),
        ("one-way", 53),
        ("check-quota", 23),
        ("unregister-shuffle", 16),
        ("application-lost", 18),
        ("destroy", 32),
    ] {
        assert_eq!(asked(&frames[name]).kind() as i32, number, "{name}");
    }
}

#[test]
fn packed_locations_of_a_stock_driver_are_unpacked() {
    let Message::ReserveSlots(reserve) = asked(&frames()["reserve-slots"]) else { panic!("slots") };
    assert!(reserve.primary_locations.is_empty() && reserve.replica_locations.is_empty());
    assert_eq!((reserve.split_threshold, reserve.push_data_timeout), (1 << 30, 120_000));
    let all = unpack(reserve.partition_locations_pair.expect("locations")).expect("whole");
    let shown = |copy: &crate::location::Copy| {
        format!("{} of mode {} on {}", copy.partition, copy.mode.number(), copy.worker.host)
    };
    let shown: Vec<_> =
        all.iter().map(|one| (shown(&one.copy), one.peer.as_ref().map(shown))).collect();
    let is = |copy: &str, peer: Option<&str>| (copy.to_owned(), peer.map(str::to_owned));
    assert_eq!(
        shown,
        [
            is("0-0 of mode 0 on w1", Some("0-0 of mode 1 on w2")),
            is("1-0 of mode 0 on w1", None),
            is("2-0 of mode 1 on w1", Some("2-0 of mode 0 on w3")),
        ]
    );
    assert_eq!(&*all[0].copy.storage.mount_point, "/disk");
}

#[test]
fn reads_of_a_stock_executor_mean_what_it_asked() {
    let frames = frames();
    let bare = |name: &str| {
        let Frame::RpcRequest(_, body) = &frames[name] else { panic!("{name}") };
        let message = TransportMessage::from_bare(body.clone()).expect("a message");
        assert_eq!(message.to_bare().expect("as long as it was"), body);
        again(message)
    };
    let Message::BatchOpenStream(open) = bare("batch-open-stream") else { panic!("an open") };
    assert_eq!((&open.end_index[..], open.file_name.len()), (&[i32::MAX, 5][..], 2));
    let Message::OpenStream(open) = bare("open-stream") else { panic!("an open") };
    assert_eq!((&*open.shuffle_key, &*open.file_name), ("app-1-0", "0-0-0"));
    let Message::ChunkFetchRequest(fetch) = bare("fetch-chunk") else { panic!("a fetch") };
    let whole = pb::StreamChunkSlice { stream_id: 77, chunk_index: 3, offset: 0, len: i32::MAX };
    assert_eq!(fetch.stream_chunk_slice, Some(whole));
}

/// An end of a stream has an id of its own and no answer: it is sent as a request all the same.
#[test]
fn the_end_of_a_stream_comes_as_a_request() {
    let Frame::RpcRequest(_, body) = &frames()["buffer-stream-end"] else { panic!("a request") };
    let message = TransportMessage::from_bare(body.clone()).expect("a message");
    let end = pb::BufferStreamEnd { stream_type: 0, stream_id: 77 };
    assert_eq!(again(message), end.into());
}

#[test]
fn java_writes_the_templates_as_they_are_here() {
    let java = read("java.hex");
    let content = |name: &str| Content::decode(java[name].clone()).expect("a content");
    let message = |number, payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        Content::Message(TransportMessage { number, payload }, Form::Java)
    };
    assert_eq!(content("java-message"), message(6, b"\x0a\x05app-1"));
    assert_eq!(content("java-message-empty"), message(53, b""));
    assert_eq!(content("java-message-null"), message(40, b""));
    for name in ["java-message", "java-message-empty", "check-existence"] {
        assert_eq!(content(name).encode().expect("small"), java[name], "{name}");
    }
    for (name, answer) in [("true", true), ("false", false)] {
        assert_eq!(exists_reply(answer), java[name]);
        assert_eq!(exists(&java[name]).expect("an answer"), answer);
    }
}

/// A Java master's own has a stack trace after the message, and itself as its cause; ours has neither,
/// which is read alike. The classes before that are the same to the last byte.
#[test]
fn a_redirect_begins_as_java_writes_it() {
    let text = |text: &str| text.to_owned();
    let (leader, internal_leader) = (text("b:2"), text("c:3"));
    let not = NotLeader { message: text("Master:a:1 is not the leader."), leader, internal_leader };
    let (ours, java) = (not.encode().expect("small"), &read("java.hex")["not-leader-with-trace"]);
    let same = ours.iter().zip(java).take_while(|(a, b)| a == b).count();
    assert_eq!((ours[same], &java[same..same + 5]), (b'p', &b"q\0\x7e\0\x0a"[..]));
    assert!(ours[same..].starts_with(b"pt\0\x1dMaster"));
    assert!(java.ends_with(b"t\0\x03c:3t\0\x03b:2") && ours.ends_with(b"t\0\x03c:3t\0\x03b:2"));
}

#[test]
fn sets_of_maps_are_those_of_java() {
    let java = read("roaring.hex");
    let of = |name: &str| MapIds::decode(&java[name]).expect("a set");
    let arrays = set([5, 3, 70_000, (1 << 24) - 1]);
    let expected = [("maps-one", set([0])), ("maps-arrays", arrays)];
    let bitmap = [("maps-bitmap", set((0..5_000).map(|map| map * 3)))];
    for (name, expected) in expected.into_iter().chain(bitmap) {
        assert_eq!(of(name), expected, "{name}");
        assert_eq!(expected.encode(), java[name], "{name}");
    }
    assert_eq!(of("maps-runs"), set((3..12).chain([40])));
    let runs = (0..5).flat_map(|high| (100..3_000).map(move |low| high << 16 | low));
    assert_eq!(of("maps-runs-with-offsets"), set(runs.chain([7])));
}

/// A field that is not known here, or under another number, would be missing in what is written.
#[test]
fn messages_have_every_field_of_celeborn() {
    let all = read("messages.hex");
    for (number, payload) in &all {
        let number = number.parse().expect("a number");
        again(TransportMessage { number, payload: payload.clone() });
    }
    // All but the one without a payload.
    assert_eq!(all.len(), Message::examples().len() - 1);
}
